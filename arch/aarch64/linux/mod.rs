//! AArch64 under Linux: `arch/README.md` says what a room defines.

pub(crate) mod context;
pub(crate) mod nr;
pub(crate) mod syscall;
pub(crate) mod thread;

/// What a signal frame needs if Linux does not say (`AT_MINSIGSTKSZ`, linux/arch/arm64/include/
/// uapi/asm/auxvec.h): `MINSIGSTKSZ` (asm/signal.h beside it). That has no room for long
/// scalable vectors: Linux says what those take.
pub(crate) const MIN_SIGNAL_STACK: usize = 5120;

/// The flag of `sigaction` which says that it names the code a handler returns to
/// (linux/include/uapi/asm-generic/signal-defs.h). Linux has such code itself, in the vDSO, but a
/// process may be without one.
pub(crate) const SA_RESTORER: usize = 0x0400_0000;

/// The command of `membarrier` by which a Linux is known whose barrier is complete on this CPU:
/// none, because it always was.
pub(crate) const MEMBARRIER_SIGN: Option<usize> = None;
