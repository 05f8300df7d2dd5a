// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers in a signal's `ucontext_t`: linux/arch/riscv/include/uapi/asm/ucontext.h and
//! sigcontext.h: 40 bytes of uc_flags, uc_link and uc_stack, 128 for uc_sigmask, and then,
//! 16-aligned, `struct user_regs_struct` (ptrace.h there): pc, and x1 to x31 in their order.

use crate::arch::linux::needm_siglanding;

/// Bytes of a signal's frame below the context: `siginfo_t`.
pub(crate) const FRAME_HEAD: usize = 128;

/// Bytes from the context to the signal's `siginfo_t`.
pub(crate) const INFO: isize = -128;

/// uc_stack: after uc_flags and uc_link.
const STACK: usize = 2;

/// Registers that `needm_sigjump` loads.
pub(crate) const SAVED: usize = 13;

const SIGMASK: usize = 5;
const PC: usize = 22;
/// x1, x2, x8 and x18: each is as many words behind the pc as its number says.
const RA: usize = PC + 1;
const SP: usize = PC + 2;
const S0: usize = PC + 8;
const A0: usize = PC + 10;
const S2: usize = PC + 18;
/// What `needm_sigjump` stores below the frame.
const BELOW: usize = 16;

/// Bytes from the context to the head of the first record of further state: behind pc and
/// registers, and room for those of floating point but two words (`struct __riscv_extra_ext_header`).
const RECORDS: usize = (PC + 32) * 8 + 520;
/// That of the vector state, which Linux writes first, and the bytes from its head to the address of the vectors
/// (`struct __riscv_v_ext_state`).
const V_MAGIC: u32 = 0x5346_5457;
const VECTORS: usize = 8 + 5 * 8;

/// The head of a record (`struct __riscv_ctx_hdr`).
#[repr(C)]
struct Record {
    magic: u32,
    size: u32,
}

/// A `ucontext_t` as Linux lays it out.
#[repr(C, align(16))]
pub(crate) struct Context {
    words: [usize; PC + 32],
}

impl Context {
    /// The instruction that was interrupted, or that faulted.
    pub(crate) fn pc(&self) -> usize {
        self.words[PC]
    }

    /// The stack pointer there.
    pub(crate) fn sp(&self) -> usize {
        self.words[SP]
    }

    /// The signals blocked there.
    pub(crate) fn mask(&self) -> u64 {
        self.words[SIGMASK] as u64
    }

    /// The callee-saved registers there, in `needm_sigjump`'s order: s0 to s11, ra.
    pub(crate) fn saved(&self) -> [usize; SAVED] {
        core::array::from_fn(|n| {
            self.words[match n {
                0 | 1 => S0 + n,
                2..12 => S2 + n - 2,
                _ => RA,
            }]
        })
    }

    /// The registers of a system call's arguments there: a0 to a3.
    pub(crate) fn arguments(&self) -> [usize; 4] {
        core::array::from_fn(|n| self.words[A0 + n])
    }

    /// Loads the floating-point control of the code that was interrupted. Linux gives a handler
    /// its own on x86 only: here that code's is still in the register.
    pub(crate) fn load_fp_control(&self) {}

    /// Loads the memory-protection keys of the code that was interrupted: needm knows of none here.
    #[allow(clippy::unused_self)] // as on other CPUs
    pub(crate) fn load_protection_keys(&self) {}

    /// Has a return to here go on in `needm_siglanding` with the fault frame at `frame`.
    ///
    /// # Safety
    /// Linux wrote the context, or it is a copy.
    pub(crate) unsafe fn resume_at(context: *mut Self, frame: usize, leaves_fp: bool) {
        let _ = leaves_fp; // the return restores that, and nothing that must not be
        // SAFETY: the caller promises the context.
        let words = unsafe { &mut (*context).words };
        words[PC] = needm_siglanding as *const () as usize;
        words[SP] = frame - BELOW;
        words[A0] = frame;
    }

    /// Has the copy of a signal's frame whose context this is, `by` bytes above the original, refer
    /// to itself. The frame ends at `end`.
    ///
    /// # Safety
    /// The whole frame has been copied, as Linux wrote it.
    pub(crate) unsafe fn relocate(context: *mut Self, by: usize, end: usize) {
        if context as usize + RECORDS + VECTORS >= end {
            return; // as qemu writes it
        }
        // The first record, if Linux has written any: what it has not written qemu leaves as it was.
        let first = context.cast::<Record>().wrapping_byte_add(RECORDS);
        let address = first.wrapping_byte_add(VECTORS).cast::<usize>();
        // SAFETY: the caller promises the frame, and so the record.
        unsafe {
            if (*first).magic == V_MAGIC && (*first).size as usize > VECTORS {
                *address = (*address).wrapping_add(by);
            }
        }
    }

    /// The signal stack at the time: its flags, its lowest address and bytes.
    pub(crate) fn signal_stack(&self) -> (usize, usize, usize) {
        (self.words[STACK + 1], self.words[STACK], self.words[STACK + 2])
    }

    /// Whether it leads to no other context (uc_link), which is how Linux leaves it.
    pub(crate) fn has_no_link(&self) -> bool {
        self.words[STACK - 1] == 0
    }

    /// Has a return to here block these signals as well.
    ///
    /// # Safety
    /// Linux wrote the context.
    #[allow(clippy::cast_possible_truncation)] // word by word
    pub(crate) unsafe fn block(context: *mut Self, signals: u64) {
        // SAFETY: the caller promises the context.
        let words = unsafe { &mut (*context).words };
        words[SIGMASK] |= signals as usize;
    }
}
