// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls: `ecall`, number in a7, arguments in a0 to a5; all but a0 are kept (syscall(2),
//! "Architecture calling conventions"), except the vector registers (linux/Documentation/arch/
//! riscv/vector.rst, 3).

use core::arch::asm;

use crate::arch::linux::slots::Slots;

/// A system call; errors are small negative numbers.
///
/// # Safety
/// The arguments are what the call `nr` takes, and what it does to memory and to this thread is
/// sound.
pub(crate) unsafe fn syscall(nr: usize, a: &Slots) -> isize {
    let result;
    // SAFETY: Linux keeps every register but a0 and the vector registers, which are outputs here.
    // Linux uses no stack of this thread's (nostack). What the call itself does is sound by this
    // function's own contract.
    unsafe {
        asm!(
            "ecall",
            in("a7") nr,
            inlateout("a0") a.a0.word() as isize => result,
            in("a1") a.a1.word(), in("a2") a.a2.word(), in("a3") a.a3.word(),
            in("a4") a.a4.word(), in("a5") a.a5.word(),
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _,
            out("v6") _, out("v7") _, out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _, out("v16") _, out("v17") _,
            out("v18") _, out("v19") _, out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _,
            out("v30") _, out("v31") _,
            options(nostack),
        );
    }
    result
}
