//! The registers in a signal's `ucontext_t`: linux/arch/x86/include/uapi/asm/
//! sigcontext.h, `struct sigcontext_64`, after the 40 bytes of uc_flags, uc_link
//! and uc_stack (linux/include/uapi/asm-generic/ucontext.h).

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
}
