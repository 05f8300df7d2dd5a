// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls: `svc 0`, number in r7, arguments in r0 to r5; all but r0 are kept
//! (syscall(2), "Architecture calling conventions").

use core::arch::asm;

use crate::arch::linux::slots::Slots;

/// A system call; errors are small negative numbers.
///
/// # Safety
/// The arguments are what the call `nr` takes, and what it does to memory and to this thread is
/// sound.
pub(crate) unsafe fn syscall(nr: usize, a: &Slots) -> isize {
    let result;
    // SAFETY: Linux keeps every register but r0, which is an output here. r7 cannot be named,
    // because Thumb code has its frame pointer there, but it is put back before the end. Linux
    // uses no stack of this thread's (nostack). What the call itself does is sound by this
    // function's own contract.
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
