// SPDX-License-Identifier: MIT OR Apache-2.0
//! RISC-V with 64-bit words: rv64gc, the calling convention lp64d. `arch/README.md` says what a
//! room defines.

pub(crate) mod linux;
mod tools;

pub(crate) use tools::valgrind_request;

/// Bytes below the stack pointer that code may use without moving it: the ABI grants none
/// (RISC-V Calling Conventions, "Integer Calling Convention").
pub(crate) const RED_ZONE: usize = 0;

/// The registers in which an unwinder leaves the exception, and a second value, for a landing pad:
/// a0 and a1 (RISC-V ABIs, "DWARF Register Numbers").
pub(crate) const LANDING_REGISTERS: [core::ffi::c_int; 2] = [10, 11];

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

/// Bytes below a G's top that the fast paths find the stack pointer at: room for arguments.
pub(crate) const TOP_ROOM: usize = 0;

/// Bytes below its call at which `needm_entry`, on the caller's stack, may have the stack pointer.
pub(crate) const CALL_ROOM: usize = 0;
