//! RISC-V with 64-bit words: rv64gc, the calling convention lp64d. `arch/README.md` says what a
//! room defines.

pub(crate) mod linux;
mod tools;

pub(crate) use tools::valgrind_request;

/// Bytes below the stack pointer that code may use without moving it: the ABI grants none
/// (RISC-V Calling Conventions, "Integer Calling Convention").
pub(crate) const RED_ZONE: usize = 0;

/// What jumps between Rust and assembly (`arch/elf.rs`) are written with here. A jump changes t1
/// on its way, as a procedure linkage table may.
macro_rules! dialect {
    (jump) => {
        "tail"
    };
    ($of_arm:ident) => {
        ""
    };
}
pub(crate) use dialect;
