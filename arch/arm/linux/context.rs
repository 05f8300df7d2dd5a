// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers in a signal's `ucontext_t`: linux/arch/arm/include/uapi/asm/
//! sigcontext.h, `struct sigcontext`, after the 20 bytes of uc_flags, uc_link and
//! uc_stack (linux/arch/arm/include/asm/ucontext.h).

use crate::arch::linux::needm_siglanding;

/// Bytes of a signal's frame below the context: `siginfo_t`.
pub(crate) const FRAME_HEAD: usize = 128;

/// Bytes from the context to the signal's `siginfo_t`.
pub(crate) const INFO: isize = -128;

/// uc_stack: after uc_flags and uc_link.
const STACK: usize = 2;

/// Registers that `needm_sigjump` loads.
pub(crate) const SAVED: usize = 9;

/// r0: after trap_no, error_code and oldmask.
const R0: usize = 5 + 3;
const R4: usize = R0 + 4;
const SP: usize = R0 + 13;
const LR: usize = R0 + 14;
const PC: usize = R0 + 15;
const CPSR: usize = R0 + 16;
/// Thumb state and its If-Then blocks (linux/arch/arm/include/uapi/asm/ptrace.h).
const THUMB: usize = 0x0600_fc20;
/// What `needm_sigjump` stores below the frame.
const BELOW: usize = 16;
/// uc_sigmask: after cpsr and fault_address.
const SIGMASK: usize = R0 + 18;

/// A `ucontext_t` as Linux lays it out.
#[repr(C)]
pub(crate) struct Context {
    words: [usize; SIGMASK + 2],
}

impl Context {
    /// The instruction that was interrupted, or that faulted. An even address
    /// for Thumb code, too: that bit is in cpsr, and nothing here goes back there.
    pub(crate) fn pc(&self) -> usize {
        self.words[PC]
    }

    /// The stack pointer there.
    pub(crate) fn sp(&self) -> usize {
        self.words[SP]
    }

    /// The signals blocked there.
    pub(crate) fn mask(&self) -> u64 {
        self.words[SIGMASK] as u64 | (self.words[SIGMASK + 1] as u64) << 32
    }

    /// The callee-saved registers there, in `needm_sigjump`'s order: r4 to r11, lr.
    pub(crate) fn saved(&self) -> [usize; SAVED] {
        core::array::from_fn(|n| self.words[if n < SAVED - 1 { R4 + n } else { LR }])
    }

    /// The registers of a system call's arguments there: r0 to r3.
    pub(crate) fn arguments(&self) -> [usize; 4] {
        core::array::from_fn(|n| self.words[R0 + n])
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
        words[R0] = frame;
        words[CPSR] &= !THUMB;
    }

    /// Has the copy of a signal's frame whose context this is, `by` bytes above the original, refer
    /// to itself. The frame ends at `end`.
    ///
    /// # Safety
    /// The whole frame has been copied, as Linux wrote it.
    pub(crate) unsafe fn relocate(context: *mut Self, by: usize, _end: usize) {
        // Its floating-point state is in it.
        let _ = (context, by);
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
        words[SIGMASK + 1] |= (signals >> 32) as usize;
    }
}
