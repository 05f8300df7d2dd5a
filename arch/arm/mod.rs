// SPDX-License-Identifier: MIT OR Apache-2.0
//! ARMv7 with VFP, of the hard-float ABI or not, little-endian: `arch/README.md` says what a
//! room defines.

mod ehabi;
pub(crate) mod linux;
mod tools;

pub(crate) use tools::valgrind_request;

/// Bytes below the stack pointer that code may use without moving it: the ABI grants none
/// (Procedure Call Standard for the Arm Architecture, 6.2.1.1 "Universal stack constraints").
pub(crate) const RED_ZONE: usize = 0;

/// What jumps between Rust and assembly (`arch/elf.rs`) are written with here. If the other
/// side is Thumb code the linker puts a veneer between, which changes ip at most (Procedure
/// Call Standard for the Arm Architecture, 6.3.1.1 "Use of IP by the linker").
macro_rules! dialect {
    (jump) => {
        "b"
    };
    (mode) => {
        ".arm\n.p2align 2"
    };
    // Debuggers read .debug_frame here (DWARF), other unwinders the table between the next two
    // (Exception Handling ABI for the Arm Architecture).
    (tables) => {
        ".cfi_sections .debug_frame"
    };
    (open) => {
        ".fnstart"
    };
    (close) => {
        ".fnend"
    };
}
pub(crate) use dialect;

/// Bytes below a G's top that the fast paths find the stack pointer at: room for arguments.
pub(crate) const TOP_ROOM: usize = 0;

/// Bytes below its call at which `needm_entry`, on the caller's stack, may have the stack pointer.
pub(crate) const CALL_ROOM: usize = 0;
