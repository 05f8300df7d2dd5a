// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests to valgrind: rotations that together change nothing, then the `or` of a register
//! with itself. Valgrind takes the sequence for a call (include/valgrind.h, PLAT_arm_linux).

use core::arch::asm;

/// What valgrind answers to a request; 0 without valgrind.
///
/// # Safety
/// What the request says is true: valgrind then believes it of this program's memory.
pub(crate) unsafe fn valgrind_request(request: &[usize; 6]) -> usize {
    let answer;
    // SAFETY: without valgrind the instructions change nothing: in all they rotate r12 by twice its
    // 32 bits. With it, valgrind reads the six words, which are borrowed here, and writes r3,
    // which is an output.
    unsafe {
        asm!(
            "mov r12, r12, ror #3",
            "mov r12, r12, ror #13",
            "mov r12, r12, ror #29",
            "mov r12, r12, ror #19",
            "orr r10, r10, r10",
            in("r4") request.as_ptr(), inlateout("r3") 0_usize => answer,
            options(nostack),
        );
    }
    answer
}
