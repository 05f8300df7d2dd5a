//! The thread pointer, in the coprocessor's register TPIDRURO, which only the system
//! writes. ELF Handling For Thread-Local Storage, 3 "Run-Time Handling of TLS", variant
//! I; Addenda to, and Errata in, the ABI for the Arm Architecture.

/// Whether thread-local storage starts above the thread pointer, after [`TCB`]; if
/// not, it ends there.
pub(crate) const TLS_ABOVE: bool = true;

/// Bytes at the thread pointer that belong to the host: two words, by the ABI.
pub(crate) const TCB: usize = 8;

/// Whether the word at the thread pointer is the thread pointer.
pub(crate) const TCB_SELF: bool = false;

/// Sets this thread's thread pointer; the system's answer, negative if it refused, or
/// if it does not keep the pointer where entry code reads it.
///
/// # Safety
/// Thread-local storage is laid out around `pointer`, for this thread alone, and
/// nothing in what was there before is needed any more.
#[cfg(feature = "freestanding")]
pub(crate) unsafe fn set_thread_pointer(pointer: usize) -> isize {
    // SAFETY: passed on.
    let answer = unsafe { super::syscall::syscall(super::nr::SET_TLS, &(pointer,).into()) };
    let read: usize;
    // SAFETY: reads a register that user code may read.
    unsafe {
        core::arch::asm!("mrc p15, 0, {}, c13, c0, 3", out(reg) read, options(nomem, nostack));
    }
    // A system that keeps it in its helper page alone would leave every thread with
    // the same storage.
    if read == pointer { answer } else { -1 }
}
