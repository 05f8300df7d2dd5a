//! The registers in a signal's `ucontext_t`: linux/arch/riscv/include/uapi/asm/ucontext.h and
//! sigcontext.h: 40 bytes of uc_flags, uc_link and uc_stack, 128 for uc_sigmask, and then,
//! 16-aligned, `struct user_regs_struct` (ptrace.h there): pc, and x1 to x31 in their order.

/// Registers that `needm_sigjump` loads.
pub(crate) const SAVED: usize = 13;

const SIGMASK: usize = 5;
const PC: usize = 22;
/// x1, x2, x8 and x18: each is as many words behind the pc as its number says.
const RA: usize = PC + 1;
const SP: usize = PC + 2;
const S0: usize = PC + 8;
const S2: usize = PC + 18;

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
}
