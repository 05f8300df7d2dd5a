//! The registers in a signal's `ucontext_t`: linux/arch/x86/include/uapi/asm/
//! sigcontext.h, `struct sigcontext_32`, after the 20 bytes of uc_flags, uc_link
//! and uc_stack (linux/include/uapi/asm-generic/ucontext.h).

use crate::arch::linux::needm_siglanding;

/// Bytes of a signal's frame below the context: the return address, the arguments, `siginfo_t`.
pub(crate) const FRAME_HEAD: usize = 144;

/// uc_stack: after uc_flags and uc_link.
const STACK: usize = 2;

/// Registers that `needm_sigjump` loads.
pub(crate) const SAVED: usize = 4;

const GREGS: usize = 5;
const EDI: usize = GREGS + 4;
const ESI: usize = GREGS + 5;
const EBP: usize = GREGS + 6;
const ESP: usize = GREGS + 7;
const EBX: usize = GREGS + 8;
const EIP: usize = GREGS + 14;
const EAX: usize = GREGS + 11;
const EFLAGS: usize = GREGS + 16;
/// The trap, alignment-check and direction flags (linux/arch/x86/include/uapi/asm/
/// processor-flags.h), as Linux clears them, or needm, for a handler.
const CLEARED: usize = 1 << 8 | 1 << 10 | 1 << 18;
/// The address of the floating-point state; 0 has a return clear that, as Linux does for a handler.
const FPSTATE: usize = GREGS + 19;
/// Bytes of a call's arguments in `needm_sigjump`.
const ARGS: usize = 16;
/// uc_sigmask: after the 22 words of the registers.
const SIGMASK: usize = GREGS + 22;

/// A `ucontext_t` as Linux lays it out.
#[repr(C)]
pub(crate) struct Context {
    words: [usize; SIGMASK + 2],
}

impl Context {
    /// The instruction that was interrupted, or that faulted.
    pub(crate) fn pc(&self) -> usize {
        self.words[EIP]
    }

    /// The stack pointer there.
    pub(crate) fn sp(&self) -> usize {
        self.words[ESP]
    }

    /// The signals blocked there.
    pub(crate) fn mask(&self) -> u64 {
        self.words[SIGMASK] as u64 | (self.words[SIGMASK + 1] as u64) << 32
    }

    /// The callee-saved registers there, in `needm_sigjump`'s order.
    pub(crate) fn saved(&self) -> [usize; SAVED] {
        [EBX, EBP, ESI, EDI].map(|register| self.words[register])
    }

    /// Has a return to here go on in `needm_siglanding` with the fault frame at `frame`.
    pub(crate) fn resume_at(&mut self, frame: usize) {
        self.words[EIP] = needm_siglanding as *const () as usize;
        self.words[ESP] = frame - ARGS;
        self.words[EAX] = frame;
        self.words[EFLAGS] &= !CLEARED;
        self.words[FPSTATE] = 0;
    }

    /// Has this copy of a signal's frame, `by` bytes above the original, refer to itself.
    pub(crate) fn relocate(&mut self, by: usize) {
        if self.words[FPSTATE] != 0 {
            self.words[FPSTATE] = self.words[FPSTATE].wrapping_add(by);
        }
    }

    /// The signal stack at the time: its flags, its lowest address and bytes.
    pub(crate) fn signal_stack(&self) -> (usize, usize, usize) {
        (self.words[STACK + 1], self.words[STACK], self.words[STACK + 2])
    }
}
