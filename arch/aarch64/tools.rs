// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests to valgrind: rotations that together change nothing, then the `or` of a register
//! with itself. Valgrind takes the sequence for a call (include/valgrind.h, PLAT_arm64_linux).

use core::arch::asm;

/// What valgrind answers to a request; 0 without valgrind.
///
/// # Safety
/// What the request says is true: valgrind then believes it of this program's memory.
pub(crate) unsafe fn valgrind_request(request: &[usize; 6]) -> usize {
    let answer;
    // SAFETY: without valgrind the instructions change nothing: in all they rotate x12 by twice its
    // 64 bits. With it, valgrind reads the six words, which are borrowed here, and writes x3,
    // which is an output.
    unsafe {
        asm!(
            "ror x12, x12, #3",
            "ror x12, x12, #13",
            "ror x12, x12, #51",
            "ror x12, x12, #61",
            "orr x10, x10, x10",
            in("x4") request.as_ptr(), inlateout("x3") 0_usize => answer,
            options(nostack),
        );
    }
    answer
}
