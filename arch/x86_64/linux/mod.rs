//! What is different on this CPU under Linux. See `arch/README.md`.

pub(crate) mod context;
pub(crate) mod nr;
pub(crate) mod syscall;
pub(crate) mod thread;

/// Bytes of a page (linux/arch/x86/include/asm/page_types.h, `PAGE_SHIFT`).
pub(crate) const PAGE: usize = 4096;

/// What a signal frame needs where the kernel does not say (AT_MINSIGSTKSZ is
/// Linux 5.14): AVX-512 state and the frame around it.
pub(crate) const MIN_SIGNAL_STACK: usize = 4096;

/// Whether `sigaction` must name the code that ends a handler
/// (linux/arch/x86/kernel/signal_64.c refuses to deliver without).
pub(crate) const SA_RESTORER: usize = 0x0400_0000;
