// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls: `int $0x80`, number in eax, arguments in ebx, ecx, edx, esi, edi,
//! ebp; all but eax are kept (syscall(2), "Architecture calling conventions").
//!
//! The vDSO's entry would be faster, but only the auxiliary vector says where it is, and no path
//! that is called often makes a system call.

use core::arch::naked_asm;

use crate::arch::linux::slots::Slots;

/// A system call; errors are small negative numbers.
///
/// # Safety
/// The arguments are what the call `nr` takes, and what it does to memory and to this thread is
/// sound.
pub(crate) unsafe fn syscall(nr: usize, a: &Slots) -> isize {
    let words = [a.a0.word(), a.a1.word(), a.a2.word(), a.a3.word(), a.a4.word(), a.a5.word()];
    // SAFETY: `int80` reads six words at its second argument, and keeps the registers that the C
    // ABI says it keeps. What the call itself does is sound by this function's own contract.
    unsafe { int80(nr, &words) }
}

/// `fn int80(nr (esp+4), a (esp+8)) -> isize (eax)`
///
/// ```text
///         a
///         nr              <- CFA
///         return address
///         ebp ebx esi edi <- esp
/// ```
///
/// A routine of its own with its own CFI, because a call takes all registers, ebp and esi among
/// them, which the compiler keeps for itself. If inline assembly pushed them, the compiler's unwind
/// tables would be wrong while a thread sleeps here. Clobbers the caller-saved registers.
///
/// # Safety
/// As for [`syscall`].
#[unsafe(naked)]
unsafe extern "C" fn int80(nr: usize, a: &[usize; 6]) -> isize {
    naked_asm!(
        ".cfi_startproc",
        "push ebp",
        ".cfi_def_cfa_offset 8",
        ".cfi_offset ebp, -8",
        "push ebx",
        ".cfi_def_cfa_offset 12",
        ".cfi_offset ebx, -12",
        "push esi",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset esi, -16",
        "push edi",
        ".cfi_def_cfa_offset 20",
        ".cfi_offset edi, -20",
        "mov eax, [esp + 20]",
        "mov ebp, [esp + 24]",
        "mov ebx, [ebp]",
        "mov ecx, [ebp + 4]",
        "mov edx, [ebp + 8]",
        "mov esi, [ebp + 12]",
        "mov edi, [ebp + 16]",
        "mov ebp, [ebp + 20]",
        "int 0x80",
        "pop edi",
        ".cfi_def_cfa_offset 16",
        ".cfi_restore edi",
        "pop esi",
        ".cfi_def_cfa_offset 12",
        ".cfi_restore esi",
        "pop ebx",
        ".cfi_def_cfa_offset 8",
        ".cfi_restore ebx",
        "pop ebp",
        ".cfi_def_cfa_offset 4",
        ".cfi_restore ebp",
        "ret",
        ".cfi_endproc",
    )
}
