//! What is different on this CPU under Linux. See `arch/README.md`.

pub(crate) mod context;
pub(crate) mod nr;
pub(crate) mod syscall;
pub(crate) mod thread;

/// Bytes of a page (linux/arch/arm64/include/asm/page-def.h, `PAGE_SHIFT`).
pub(crate) const PAGE: usize = 4096;

/// What a signal frame needs where Linux does not say (AT_MINSIGSTKSZ is Linux 4.19 here):
/// `MINSIGSTKSZ` (linux/arch/arm64/include/uapi/asm/signal.h). It does not count the scalable
/// vectors; a Linux that knows those says what they take.
pub(crate) const MIN_SIGNAL_STACK: usize = 5120;

/// Whether `sigaction` must name the code that ends a handler: here it need not, because the
/// vDSO has it, but a process may be without one.
pub(crate) const SA_RESTORER: usize = 0x0400_0000;
