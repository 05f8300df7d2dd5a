//! Requests to valgrind: rotations that together do nothing, then a register or
//! itself, which valgrind takes for a call (valgrind.h, PLAT_arm_linux).

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
