//! The thread pointer, and where thread-local storage lies around it: ELF Handling For
//! Thread-Local Storage, 3 "Run-Time Handling of TLS", variant II: below it, and the
//! pointer points to itself.

/// Whether thread-local storage starts above the thread pointer, after [`TCB`]; if
/// not, it ends there.
pub(crate) const TLS_ABOVE: bool = false;

/// Bytes at the thread pointer that belong to the host. The first word is the pointer
/// itself; compilers know of fs:40, a stack protector's word.
pub(crate) const TCB: usize = 64;

/// Whether the word at the thread pointer is the thread pointer.
pub(crate) const TCB_SELF: bool = true;

/// `ARCH_SET_FS` (linux/arch/x86/include/uapi/asm/prctl.h).
#[cfg(feature = "freestanding")]
const ARCH_SET_FS: usize = 0x1002;

/// Sets this thread's thread pointer; the system's answer, negative if it refused.
///
/// # Safety
/// Thread-local storage is laid out around `pointer`, for this thread alone, and
/// nothing in what was there before is needed any more.
#[cfg(feature = "freestanding")]
pub(crate) unsafe fn set_thread_pointer(pointer: usize) -> isize {
    // SAFETY: passed on.
    unsafe { super::syscall::syscall(super::nr::ARCH_PRCTL, &(ARCH_SET_FS, pointer).into()) }
}
