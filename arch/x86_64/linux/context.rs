//! The registers in a signal's `ucontext_t`: linux/arch/x86/include/uapi/asm/
//! sigcontext.h, `struct sigcontext_64`, after the 40 bytes of uc_flags, uc_link
//! and uc_stack (linux/include/uapi/asm-generic/ucontext.h).

use crate::arch::linux::needm_siglanding;

/// Bytes of a signal's frame below the context: the return address.
pub(crate) const FRAME_HEAD: usize = 8;

/// uc_stack: after uc_flags and uc_link.
const STACK: usize = 2;

/// Registers that `needm_sigjump` loads.
pub(crate) const SAVED: usize = 6;

const GREGS: usize = 5;
const R12: usize = GREGS + 4;
const R13: usize = GREGS + 5;
const R14: usize = GREGS + 6;
const R15: usize = GREGS + 7;
const RBP: usize = GREGS + 10;
const RBX: usize = GREGS + 11;
const RSP: usize = GREGS + 15;
const RIP: usize = GREGS + 16;
const RDI: usize = GREGS + 8;
const EFLAGS: usize = GREGS + 17;
/// The trap, alignment-check and direction flags (linux/arch/x86/include/uapi/asm/
/// processor-flags.h), as Linux clears them, or needm, for a handler.
const CLEARED: usize = 1 << 8 | 1 << 10 | 1 << 18;
/// The address of the floating-point state; 0 has a return clear that, as Linux does for a handler.
const FPSTATE: usize = GREGS + 23;
/// uc_sigmask: after the 256 bytes of the registers.
const SIGMASK: usize = GREGS + 32;

/// A `ucontext_t` as Linux lays it out.
#[repr(C)]
pub(crate) struct Context {
    words: [usize; SIGMASK + 1],
}

impl Context {
    /// The instruction that was interrupted, or that faulted.
    pub(crate) fn pc(&self) -> usize {
        self.words[RIP]
    }

    /// The stack pointer there.
    pub(crate) fn sp(&self) -> usize {
        self.words[RSP]
    }

    /// The signals blocked there.
    pub(crate) fn mask(&self) -> u64 {
        self.words[SIGMASK] as u64
    }

    /// The callee-saved registers there, in `needm_sigjump`'s order.
    pub(crate) fn saved(&self) -> [usize; SAVED] {
        [RBX, RBP, R12, R13, R14, R15].map(|register| self.words[register])
    }

    /// Has a return to here go on in `needm_siglanding` with the fault frame at `frame`.
    pub(crate) fn resume_at(&mut self, frame: usize) {
        self.words[RIP] = needm_siglanding as *const () as usize;
        self.words[RSP] = frame;
        self.words[RDI] = frame;
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
