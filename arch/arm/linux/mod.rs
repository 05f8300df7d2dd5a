//! What is different on this CPU under Linux. See `arch/README.md`.

pub(crate) mod context;
pub(crate) mod nr;
pub(crate) mod syscall;
pub(crate) mod thread;

/// Bytes of a page (linux/arch/arm/include/asm/page.h, `PAGE_SHIFT`).
pub(crate) const PAGE: usize = 4096;

/// What a signal frame needs where the kernel does not say, which on ARM it never
/// does: `MINSIGSTKSZ` (include/uapi/asm-generic/signal.h); the frame is below 1 KiB.
pub(crate) const MIN_SIGNAL_STACK: usize = 2048;

/// Whether `sigaction` must name the code that ends a handler: here it need not,
/// but the kernel's own is in a page that not every process has.
pub(crate) const SA_RESTORER: usize = 0x0400_0000;
