//! Requests to valgrind: rotations that together do nothing, then an exchange of a register
//! with itself, which valgrind takes for a call (valgrind.h, PLAT_amd64_linux).

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
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") request.as_ptr(), inlateout("rdx") 0_usize => answer,
            options(nostack),
        );
    }
    answer
}
