// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread pointer, in the coprocessor's register TPIDRURO, which only the system
//! writes. ELF Handling For Thread-Local Storage, 3 "Run-Time Handling of TLS", variant
//! I; Addenda to, and Errata in, the ABI for the Arm Architecture.

/// Whether thread-local storage starts above the thread pointer, after [`TCB`] bytes; if not, it
/// ends at the pointer.
pub(crate) const TLS_ABOVE: bool = true;

/// Bytes at the thread pointer that belong to the host: two words, by the ABI.
pub(crate) const TCB: usize = 8;

/// Whether the word at the thread pointer is the thread pointer.
pub(crate) const TCB_SELF: bool = false;

/// Sets this thread's thread pointer; the answer of Linux, negative if it refused, or if it does
/// not keep the pointer where entry code reads it.
///
/// # Safety
/// Thread-local storage is laid out around `pointer`, for this thread alone, and no code uses the
/// storage that the thread had before.
#[cfg(feature = "freestanding")]
pub(crate) unsafe fn set_thread_pointer(pointer: usize) -> isize {
    // SAFETY: the call takes this one argument (linux/arch/arm/kernel/traps.c, `arm_syscall`), and
    // writes no memory of the program. It changes the thread pointer alone, and the storage around
    // the new one is laid out, by this function's own contract.
    let answer = unsafe { super::syscall::syscall(super::nr::SET_TLS, &(pointer,).into()) };
    let read: usize;
    // SAFETY: reads TPIDRURO, which user code may read (ARM Architecture Reference
    // Manual, ARMv7-A and ARMv7-R edition, B4.1, TPIDRURO), and changes nothing.
    unsafe {
        core::arch::asm!("mrc p15, 0, {}, c13, c0, 3", out(reg) read, options(nomem, nostack));
    }
    // A Linux that keeps the pointer in its helper page alone, for processors without the register,
    // would leave every thread with the same storage.
    if read == pointer { answer } else { -1 }
}
