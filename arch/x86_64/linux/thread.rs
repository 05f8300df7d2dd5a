// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread pointer, and where thread-local storage lies around it: ELF Handling For
//! Thread-Local Storage, 3 "Run-Time Handling of TLS", variant II: below it, and the
//! pointer points to itself.

/// Whether thread-local storage starts above the thread pointer, after [`TCB`] bytes; if not, it
/// ends at the pointer.
pub(crate) const TLS_ABOVE: bool = false;

/// Bytes at the thread pointer that belong to the host: the pointer itself, and the words that
/// compilers know of, of which the stack protector's, fs:40, is the farthest (GCC manual, "x86
/// Options", -mstack-protector-guard).
pub(crate) const TCB: usize = 64;

/// Whether the word at the thread pointer is the thread pointer.
pub(crate) const TCB_SELF: bool = true;

/// `ARCH_SET_FS` (linux/arch/x86/include/uapi/asm/prctl.h).
#[cfg(feature = "freestanding")]
const ARCH_SET_FS: usize = 0x1002;

/// Sets this thread's thread pointer; the answer of Linux, negative if it refused.
///
/// # Safety
/// Thread-local storage is laid out around `pointer`, for this thread alone, and no code uses the
/// storage that the thread had before.
#[cfg(feature = "freestanding")]
pub(crate) unsafe fn set_thread_pointer(pointer: usize) -> isize {
    // SAFETY: the call takes these two arguments (arch_prctl(2)), and writes no memory. It changes
    // the thread pointer alone, and the storage around the new one is laid out, by this function's
    // own contract.
    unsafe { super::syscall::syscall(super::nr::ARCH_PRCTL, &(ARCH_SET_FS, pointer).into()) }
}
