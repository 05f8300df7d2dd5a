//! Requests to valgrind: rotations that together do nothing, then a register or itself,
//! which valgrind takes for a call (valgrind.h, PLAT_arm64_linux).

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
