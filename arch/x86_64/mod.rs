//! x86_64, the reference room: `arch/README.md` says what a room defines.

pub(crate) mod linux;
mod tools;

pub(crate) use tools::valgrind_request;

/// Bytes below the stack pointer that code may use without moving it
/// (System V ABI, AMD64 supplement, 3.2.2 "The Stack Frame").
pub(crate) const RED_ZONE: usize = 128;

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
