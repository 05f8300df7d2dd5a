//! The registers in a signal's `ucontext_t`: linux/arch/arm64/include/uapi/asm/ucontext.h and
//! sigcontext.h. After the 40 bytes of uc_flags, uc_link and uc_stack comes uc_sigmask with
//! room for 1024 signals; then, aligned to 16 bytes, fault_address, x0 to x30, sp, pc.

/// Registers that `needm_sigjump` loads.
pub(crate) const SAVED: usize = 12;

const SIGMASK: usize = 5;
/// After fault_address: 40 and 128 bytes, aligned, are 176.
const X0: usize = 176 / 8 + 1;
const X19: usize = X0 + 19;
const SP: usize = X0 + 31;
const PC: usize = X0 + 32;

/// A `ucontext_t` as Linux lays it out.
#[repr(C, align(16))]
pub(crate) struct Context {
    words: [usize; PC + 1],
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
}
