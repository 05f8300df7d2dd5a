//! System calls: `svc 0`, number in r7, arguments in r0 to r5; all but r0 are kept
//! (syscall(2), "Architecture calling conventions").

use core::arch::asm;

use crate::arch::linux::slots::Slots;

/// A system call, the errors as small negative numbers.
///
/// # Safety
/// The arguments must be right for `nr`; what the call does to memory is the
/// caller's to answer for.
pub(crate) unsafe fn syscall(nr: usize, a: &Slots) -> isize {
    let result;
    // SAFETY: the kernel keeps every register but the result; r7, which cannot be
    // named since Thumb code has its frame pointer there, is put back. What the
    // call itself does is the caller's duty.
    unsafe {
        asm!(
            "mov {kept}, r7",
            "mov r7, {nr}",
            "svc 0",
            "mov r7, {kept}",
            nr = in(reg) nr,
            kept = out(reg) _,
            inlateout("r0") a.a0.word() as isize => result,
            in("r1") a.a1.word(), in("r2") a.a2.word(), in("r3") a.a3.word(),
            in("r4") a.a4.word(), in("r5") a.a5.word(),
            options(nostack),
        );
    }
    result
}
