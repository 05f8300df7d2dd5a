// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls: `svc 0`, number in x8, arguments in x0 to x5; all but x0 are kept
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
    // SAFETY: Linux keeps every register but x0, which is an output here. Of the scalable vectors
    // it keeps what v0 to v31 are (linux/Documentation/arch/arm64/sve.rst, 3 "Exceptions"); the
    // rest is the compiler's only in functions that are built for them, and this crate has none.
    // Linux uses no stack of this thread's (nostack). What the call itself does is sound by this
    // function's own contract.
    unsafe {
        asm!(
            "svc 0",
            in("x8") nr,
            inlateout("x0") a.a0.word().cast_signed() => result,
            in("x1") a.a1.word(), in("x2") a.a2.word(), in("x3") a.a3.word(),
            in("x4") a.a4.word(), in("x5") a.a5.word(),
            options(nostack),
        );
    }
    result
}
