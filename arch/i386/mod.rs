//! i386 with SSE2, as Rust's i686 targets have it: `arch/README.md` says what a room defines.

pub(crate) mod linux;
mod tools;

pub(crate) use tools::valgrind_request;

/// Bytes below the stack pointer that code may use without moving it: the ABI grants none
/// (System V ABI, Intel386 supplement, 2.2.2 "The Stack Frame").
pub(crate) const RED_ZONE: usize = 0;

/// What jumps between Rust and assembly (`arch/elf.rs`) are written with here.
macro_rules! dialect {
    (jump) => {
        "jmp"
    };
    ($of_arm:ident) => {
        ""
    };
}
pub(crate) use dialect;
