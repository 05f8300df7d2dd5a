// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread pointer, in the register TPIDR_EL0, which user code may write. ELF Handling For
//! Thread-Local Storage, 3 "Run-Time Handling of TLS", variant I; ELF for the Arm 64-bit
//! Architecture, "Thread Local Storage".

/// Whether thread-local storage starts above the thread pointer, after [`TCB`] bytes; if not, it
/// ends at the pointer.
pub(crate) const TLS_ABOVE: bool = true;

/// Bytes at the thread pointer that belong to the host: two words, by the ABI.
pub(crate) const TCB: usize = 16;

/// Whether the word at the thread pointer is the thread pointer.
pub(crate) const TCB_SELF: bool = false;

/// Sets this thread's thread pointer. The answer is 0, because nothing can refuse it.
///
/// # Safety
/// Thread-local storage is laid out around `pointer`, for this thread alone, and no code uses the
/// storage that the thread had before.
#[cfg(feature = "freestanding")]
pub(crate) unsafe fn set_thread_pointer(pointer: usize) -> isize {
    // SAFETY: user code may write TPIDR_EL0 (Arm Architecture Reference Manual for A-profile,
    // TPIDR_EL0). It changes the thread pointer alone, and the storage around the new one is
    // laid out, by this function's own contract.
    unsafe { core::arch::asm!("msr tpidr_el0, {}", in(reg) pointer, options(nostack)) };
    0
}
