//! Requests to valgrind: rotations that together do nothing, then an exchange of a register
//! with itself, which valgrind takes for a call (valgrind.h, PLAT_x86_linux).

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
