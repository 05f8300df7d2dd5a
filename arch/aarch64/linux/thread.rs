//! The thread pointer, in the register TPIDR_EL0, which user code may write. ELF Handling For
//! Thread-Local Storage, 3 "Run-Time Handling of TLS", variant I; ELF for the Arm 64-bit
//! Architecture, "Thread-local storage".

/// Whether thread-local storage starts above the thread pointer, after [`TCB`]; if
/// not, it ends there.
pub(crate) const TLS_ABOVE: bool = true;

/// Bytes at the thread pointer that belong to the host: two words, by the ABI.
pub(crate) const TCB: usize = 16;

/// Whether the word at the thread pointer is the thread pointer.
pub(crate) const TCB_SELF: bool = false;

/// Sets this thread's thread pointer; always 0, because nothing can refuse it.
///
/// # Safety
/// Thread-local storage is laid out around `pointer`, for this thread alone, and
/// nothing in what was there before is needed any more.
#[cfg(feature = "freestanding")]
pub(crate) unsafe fn set_thread_pointer(pointer: usize) -> isize {
    // SAFETY: user code may write the register (Arm Architecture Reference Manual, D19.2
    // "TPIDR_EL0"), and only thread-local accesses read it, which the caller has prepared.
    unsafe { core::arch::asm!("msr tpidr_el0, {}", in(reg) pointer, options(nostack)) };
    0
}
