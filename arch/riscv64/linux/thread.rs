// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread pointer, the register tp, which user code may write. ELF Handling For
//! Thread-Local Storage, 3 "Run-Time Handling of TLS", variant I; RISC-V ELF psABI, "Thread
//! Local Storage": tp points behind the control block, to the storage itself.

/// Whether thread-local storage starts above the thread pointer, after [`TCB`] bytes; if not, it
/// ends at the pointer.
pub(crate) const TLS_ABOVE: bool = true;

/// Bytes at the thread pointer that belong to the host: none, because a control block is below
/// it.
pub(crate) const TCB: usize = 0;

/// Whether the word at the thread pointer is the thread pointer.
pub(crate) const TCB_SELF: bool = false;

/// Sets this thread's thread pointer; always 0, because nothing can refuse it.
///
/// # Safety
/// Thread-local storage is laid out around `pointer`, for this thread alone, and no code uses the
/// storage that the thread had before.
#[cfg(feature = "freestanding")]
pub(crate) unsafe fn set_thread_pointer(pointer: usize) -> isize {
    // SAFETY: tp is the thread pointer and nothing else (RISC-V Calling Conventions, "Integer
    // Register Convention"). No code uses the storage around the value that it had, by this
    // function's own contract.
    unsafe { core::arch::asm!("mv tp, {}", in(reg) pointer, options(nostack)) };
    0
}
