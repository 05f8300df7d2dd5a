//! System calls: `syscall`, number in rax, arguments in rdi, rsi, rdx, r10, r8,
//! r9; rcx and r11 are lost (syscall(2), "Architecture calling conventions").

use core::arch::asm;

use crate::arch::linux::slots::Slots;

/// A system call, the errors as small negative numbers.
///
/// # Safety
/// The arguments must be right for `nr`; what the call does to memory is the
/// caller's to answer for.
pub(crate) unsafe fn syscall(nr: usize, a: &Slots) -> isize {
    let result;
    // SAFETY: the kernel keeps every register but the two named as lost; what
    // the call itself does is the caller's duty.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr as isize => result,
            in("rdi") a.a0.word(), in("rsi") a.a1.word(), in("rdx") a.a2.word(),
            in("r10") a.a3.word(), in("r8") a.a4.word(), in("r9") a.a5.word(),
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}
