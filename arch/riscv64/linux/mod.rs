//! What is different on this CPU under Linux. See `arch/README.md`.

pub(crate) mod context;
pub(crate) mod nr;
pub(crate) mod syscall;
pub(crate) mod thread;

/// Bytes of a page (linux/arch/riscv/include/asm/page.h, `PAGE_SHIFT`).
pub(crate) const PAGE: usize = 4096;

/// What a signal frame needs where Linux does not say (AT_MINSIGSTKSZ is Linux 5.14, and on
/// RISC-V 6.5, as is vector state in the frame): `MINSIGSTKSZ`
/// (include/uapi/asm-generic/signal.h); the frame without vector state is below 1200 bytes.
pub(crate) const MIN_SIGNAL_STACK: usize = 2048;

/// Whether `sigaction` must name the code that ends a handler: here it cannot, since handlers
/// return into the vDSO (linux/arch/riscv/kernel/signal.c, `setup_rt_frame`).
pub(crate) const SA_RESTORER: usize = 0;
