// SPDX-License-Identifier: MIT OR Apache-2.0
//! AArch64 (AAPCS64), little-endian: `arch/README.md` says what a room defines.

pub(crate) mod linux;
mod tools;

pub(crate) use tools::valgrind_request;

/// Bytes below the stack pointer that code may use without moving it: the ABI grants none
/// (Procedure Call Standard for the Arm 64-bit Architecture, "Universal stack constraints").
pub(crate) const RED_ZONE: usize = 0;

/// The registers in which an unwinder leaves the exception, and a second value, for a landing pad:
/// x0 and x1 (DWARF for the Arm 64-bit Architecture, 4.1 "DWARF register names").
pub(crate) const LANDING_REGISTERS: [core::ffi::c_int; 2] = [0, 1];

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

/// Bytes below a G's top that the fast paths find the stack pointer at: room for arguments.
pub(crate) const TOP_ROOM: usize = 0;

/// Bytes below its call at which `needm_entry`, on the caller's stack, may have the stack pointer.
pub(crate) const CALL_ROOM: usize = 0;
