//! i386 under Linux: `arch/README.md` says what a room defines.

pub(crate) mod context;
pub(crate) mod nr;
pub(crate) mod syscall;
pub(crate) mod thread;

/// What a signal frame needs, for Linux before 5.14, which does not say (`AT_MINSIGSTKSZ`,
/// linux/arch/x86/include/uapi/asm/auxvec.h): AVX-512 state, which 32-bit frames hold in full,
/// 2,688 bytes (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, 13.4
/// "XSAVE Area"), and the frame around it.
pub(crate) const MIN_SIGNAL_STACK: usize = 4096;

/// The flag of `sigaction` which says that it names the code a handler returns to
/// (linux/arch/x86/include/uapi/asm/signal.h). Linux has such code itself, but in the vDSO, which
/// not every process has.
pub(crate) const SA_RESTORER: usize = 0x0400_0000;

/// The command of `membarrier` by which a Linux is known whose barrier is complete on this CPU:
/// none, because it always was.
pub(crate) const MEMBARRIER_SIGN: Option<usize> = None;
