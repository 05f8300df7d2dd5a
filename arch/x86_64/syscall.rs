//! System calls: `syscall`, number in rax, arguments in rdi, rsi, rdx, r10, r8,
//! r9; rcx and r11 are lost (syscall(2), "Architecture calling conventions").

use core::arch::asm;

/// A system call, the errors as small negative numbers.
///
/// # Safety
/// The arguments must be right for `nr`; what the call does to memory is the
/// caller's to answer for.
pub(crate) unsafe fn syscall(nr: usize, a: [usize; 6]) -> isize {
    let result;
    // SAFETY: the kernel keeps every register but the two named as lost; what
    // the call itself does is the caller's duty.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr as isize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}
