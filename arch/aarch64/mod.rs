//! AArch64 (AAPCS64), little-endian: `arch/README.md` says what a room defines.

pub(crate) mod linux;
mod tools;

pub(crate) use tools::valgrind_request;

/// Bytes below the stack pointer that code may use without moving it: the ABI grants none
/// (Procedure Call Standard for the Arm 64-bit Architecture, "Universal stack constraints").
pub(crate) const RED_ZONE: usize = 0;

/// What jumps between Rust and assembly (`arch/elf.rs`) are written with here. Each is a
/// function of its own, which an indirect branch may lead to: hence the landing pad
/// (`landing.h`).
macro_rules! dialect {
    (jump) => {
        "hint #34\nb"
    };
    ($of_arm:ident) => {
        ""
    };
}
pub(crate) use dialect;
