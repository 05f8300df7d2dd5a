// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls: `syscall`, number in rax, arguments in rdi, rsi, rdx, r10, r8,
//! r9; rcx and r11 are lost (syscall(2), "Architecture calling conventions").

use core::arch::asm;

use crate::arch::linux::slots::Slots;

/// A system call; errors are small negative numbers.
///
/// # Safety
/// The arguments are what the call `nr` takes, and what it does to memory and to this thread is
/// sound.
pub(crate) unsafe fn syscall(nr: usize, a: &Slots) -> isize {
    let result;
    // SAFETY: Linux keeps every register but rax, rcx and r11, and all three are outputs here; it
    // uses no stack of this thread's (nostack). What the call itself does is sound by this
    // function's own contract.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr.cast_signed() => result,
            in("rdi") a.a0.word(), in("rsi") a.a1.word(), in("rdx") a.a2.word(),
            in("r10") a.a3.word(), in("r8") a.a4.word(), in("r9") a.a5.word(),
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}
