// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests to valgrind: shifts of the zero register, which change nothing, then the `or` of a
//! register with itself. Valgrind takes the sequence for a call (include/valgrind.h,
//! PLAT_riscv64_linux).

use core::arch::asm;

/// What valgrind answers to a request; 0 without valgrind.
///
/// # Safety
/// What the request says is true: valgrind then believes it of this program's memory.
pub(crate) unsafe fn valgrind_request(request: &[usize; 6]) -> usize {
    let answer;
    // SAFETY: without valgrind the instructions change nothing: the zero register stays 0, and a0
    // or a0 is a0. With it, valgrind reads the six words, which are borrowed here, and writes a3,
    // which is an output.
    unsafe {
        asm!(
            ".option push",
            ".option norvc",
            "srli zero, zero, 3",
            "srli zero, zero, 13",
            "srli zero, zero, 51",
            "srli zero, zero, 61",
            "or a0, a0, a0",
            ".option pop",
            in("a4") request.as_ptr(), inlateout("a3") 0_usize => answer,
            options(nostack),
        );
    }
    answer
}
