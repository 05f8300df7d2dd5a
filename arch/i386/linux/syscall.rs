//! System calls: `int $0x80`, number in eax, arguments in ebx, ecx, edx, esi, edi,
//! ebp; all but eax are kept (syscall(2), "Architecture calling conventions").
//!
//! The vDSO's entry would be faster, but it is found through the auxiliary vector,
//! and nothing here is called often.

use core::arch::naked_asm;

use crate::arch::linux::slots::Slots;

/// A system call, the errors as small negative numbers.
///
/// # Safety
/// The arguments must be right for `nr`; what the call does to memory is the
/// caller's to answer for.
pub(crate) unsafe fn syscall(nr: usize, a: &Slots) -> isize {
    let words = [a.a0.word(), a.a1.word(), a.a2.word(), a.a3.word(), a.a4.word(), a.a5.word()];
    // SAFETY: the routine reads six words there; the rest is the caller's duty.
    unsafe { int80(nr, &words) }
}

/// `fn int80(nr (esp+4), a (esp+8)) -> isize (eax)`
///
/// A routine of its own, since it takes every register, the frame pointer and the
/// one that the compiler keeps for itself (esi) among them: pushed by inline
/// assembly they would leave the compiler's unwind tables wrong for just as long as
/// a thread sleeps here.
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
