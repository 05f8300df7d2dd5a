//! The thread pointer, the register tp, which user code may write. ELF Handling For
//! Thread-Local Storage, 3 "Run-Time Handling of TLS", variant I; RISC-V ELF psABI, "Thread
//! Local Storage": tp points behind the control block, to the storage itself.

/// Whether thread-local storage starts above the thread pointer, after [`TCB`]; if
/// not, it ends there.
pub(crate) const TLS_ABOVE: bool = true;

/// Bytes at the thread pointer that belong to the host: none, since a control block would be
/// below it.
pub(crate) const TCB: usize = 0;

/// Whether the word at the thread pointer is the thread pointer.
pub(crate) const TCB_SELF: bool = false;

/// Sets this thread's thread pointer; 0, as nothing here can refuse it.
///
/// # Safety
/// Thread-local storage is laid out around `pointer`, for this thread alone, and
/// nothing in what was there before is needed any more.
#[cfg(feature = "freestanding")]
pub(crate) unsafe fn set_thread_pointer(pointer: usize) -> isize {
    // SAFETY: by the caller's promise no code relies on the value that tp had.
    unsafe { core::arch::asm!("mv tp, {}", in(reg) pointer, options(nostack)) };
    0
}
