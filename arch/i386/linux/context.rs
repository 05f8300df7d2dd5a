//! The registers in a signal's `ucontext_t`: linux/arch/x86/include/uapi/asm/
//! sigcontext.h, `struct sigcontext_32`, after the 20 bytes of uc_flags, uc_link
//! and uc_stack (linux/include/uapi/asm-generic/ucontext.h).

/// Registers that `needm_sigjump` loads.
pub(crate) const SAVED: usize = 4;

const GREGS: usize = 5;
const EDI: usize = GREGS + 4;
const ESI: usize = GREGS + 5;
const EBP: usize = GREGS + 6;
const ESP: usize = GREGS + 7;
const EBX: usize = GREGS + 8;
const EIP: usize = GREGS + 14;
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
}
