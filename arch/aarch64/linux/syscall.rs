//! System calls: `svc 0`, number in x8, arguments in x0 to x5; all but x0 are kept
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
    // SAFETY: Linux keeps every register but the result (arch/arm64/kernel/entry.S); the
    // scalable vectors, of which it keeps the low halves only, are not named here because
    // the C ABI lets every call change the rest. What the call itself does is the caller's
    // duty.
    unsafe {
        asm!(
            "svc 0",
            in("x8") nr,
            inlateout("x0") a.a0.word() as isize => result,
            in("x1") a.a1.word(), in("x2") a.a2.word(), in("x3") a.a3.word(),
            in("x4") a.a4.word(), in("x5") a.a5.word(),
            options(nostack),
        );
    }
    result
}
