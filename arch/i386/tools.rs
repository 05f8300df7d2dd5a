// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests to valgrind: rotations that together change nothing, then an exchange of a register
//! with itself. Valgrind takes the sequence for a call (include/valgrind.h, PLAT_x86_linux).

use core::arch::asm;

/// What valgrind answers to a request; 0 without valgrind.
///
/// # Safety
/// What the request says is true: valgrind then believes it of this program's memory.
pub(crate) unsafe fn valgrind_request(request: &[usize; 6]) -> usize {
    let answer;
    // SAFETY: without valgrind the instructions change nothing: in all they rotate edi by twice its
    // 32 bits. With it, valgrind reads the six words, which are borrowed here, and writes edx,
    // which is an output.
    unsafe {
        asm!(
            "rol edi, 3",
            "rol edi, 13",
            "rol edi, 29",
            "rol edi, 19",
            "xchg ebx, ebx",
            in("eax") request.as_ptr(), inlateout("edx") 0_usize => answer,
            options(nostack),
        );
    }
    answer
}
