//! Requests to valgrind: shifts of the zero register, which do nothing, then a register or
//! itself, which valgrind takes for a call (valgrind.h, PLAT_riscv64_linux).

use core::arch::asm;

/// What valgrind answers to a request; 0 where there is none.
///
/// # Safety
/// The request must be true.
pub(crate) unsafe fn valgrind_request(request: &[usize; 6]) -> usize {
    let answer;
    // SAFETY: without valgrind the instructions leave all as it was.
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
