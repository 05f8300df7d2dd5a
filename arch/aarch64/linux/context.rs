// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers in a signal's `ucontext_t`: linux/arch/arm64/include/uapi/asm/ucontext.h and
//! sigcontext.h. After the 40 bytes of uc_flags, uc_link and uc_stack comes uc_sigmask with
//! room for 1024 signals; then, aligned to 16 bytes, fault_address, x0 to x30, sp, pc.

use crate::arch::linux::needm_siglanding;
use core::ptr;

/// Bytes of a signal's frame below the context: `siginfo_t`.
pub(crate) const FRAME_HEAD: usize = 128;

/// Bytes from the context to the signal's `siginfo_t`.
pub(crate) const INFO: isize = -128;

/// uc_stack: after uc_flags and uc_link.
const STACK: usize = 2;

/// Registers that `needm_sigjump` loads.
pub(crate) const SAVED: usize = 12;

const SIGMASK: usize = 5;
/// After fault_address: 40 and 128 bytes, aligned, are 176.
const X0: usize = 176 / 8 + 1;
const X19: usize = X0 + 19;
const SP: usize = X0 + 31;
const PC: usize = X0 + 32;
const PSTATE: usize = X0 + 33;
/// The kind of the last branch, and tag checks that are off (linux/arch/arm64/include/uapi/asm/
/// ptrace.h), as Linux clears them for a handler.
const CLEARED: usize = 3 << 10 | 1 << 25;
/// What `needm_sigjump` stores below the frame.
const BELOW: usize = 16;

/// Bytes from the context to its records of further state, aligned to 16.
const RECORDS: usize = (PSTATE + 1) * 8 / 16 * 16 + 16;
/// The first, and the one whose second word is the address of more records.
const FPSIMD_MAGIC: u32 = 0x4650_8001;
const EXTRA_MAGIC: u32 = 0x4558_5401;

/// The head of a record (`struct _aarch64_ctx`). The last one has no magic number and no size.
#[repr(C)]
struct Record {
    magic: u32,
    size: u32,
}

/// A `ucontext_t` as Linux lays it out.
#[repr(C, align(16))]
pub(crate) struct Context {
    words: [usize; PSTATE + 1],
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

    /// The callee-saved registers there, in `needm_sigjump`'s order: x19 to x30.
    pub(crate) fn saved(&self) -> [usize; SAVED] {
        core::array::from_fn(|n| self.words[X19 + n])
    }

    /// Loads the floating-point control of the code that was interrupted. Linux gives a handler
    /// its own on x86 only: here that code's is still in the register.
    pub(crate) fn load_fp_control(&self) {}

    /// Loads the memory-protection keys of the code that was interrupted: needm knows of none here.
    #[allow(clippy::unused_self)] // as on other CPUs
    pub(crate) fn load_protection_keys(&self) {}

    /// The record with this magic number; null if there is none.
    ///
    /// # Safety
    /// Linux wrote the context, and the records behind it, or they are a copy.
    unsafe fn record(context: *mut Self, magic: u32) -> *mut Record {
        let mut at = context.cast::<Record>().wrapping_byte_add(RECORDS);
        loop {
            // SAFETY: the caller promises the records, of which this is one, up to the last.
            match unsafe { at.read() } {
                record if record.magic == magic => return at,
                Record { magic: 0, .. } | Record { size: 0, .. } => return ptr::null_mut(),
                record => at = at.wrapping_byte_add(record.size as usize),
            }
        }
    }

    /// The registers of a system call's arguments there: x0 to x3.
    pub(crate) fn arguments(&self) -> [usize; 4] {
        core::array::from_fn(|n| self.words[X0 + n])
    }

    /// Has a return to here go on in `needm_siglanding` with the fault frame at `frame`. Streaming
    /// mode and wide vectors are as for a handler.
    ///
    /// # Safety
    /// Linux wrote the context, and the records behind it, or they are a copy.
    pub(crate) unsafe fn resume_at(context: *mut Self, frame: usize, leaves_fp: bool) {
        let _ = leaves_fp; // the return restores that, and nothing that must not be
        // SAFETY: the caller promises the context, and a record ends where the next begins.
        unsafe {
            let words = &mut (*context).words;
            words[PC] = needm_siglanding as *const () as usize;
            words[SP] = frame - BELOW;
            words[X0] = frame;
            words[PSTATE] &= !CLEARED;
            let first = Self::record(context, FPSIMD_MAGIC);
            if !first.is_null() {
                let end = first.wrapping_byte_add((*first).size as usize);
                end.write(Record { magic: 0, size: 0 });
            }
        }
    }

    /// Has the copy of a signal's frame whose context this is, `by` bytes above the original, refer
    /// to itself. The frame ends at `end`.
    ///
    /// # Safety
    /// The whole frame has been copied, as Linux wrote it.
    pub(crate) unsafe fn relocate(context: *mut Self, by: usize, _end: usize) {
        // SAFETY: the caller promises the frame, and so its records.
        unsafe {
            let extra = Self::record(context, EXTRA_MAGIC);
            if !extra.is_null() {
                let address = extra.wrapping_add(1).cast::<usize>();
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
