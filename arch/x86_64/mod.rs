// SPDX-License-Identifier: MIT OR Apache-2.0
//! x86_64, the reference room: `arch/README.md` says what a room defines.

#[cfg(target_os = "linux")]
pub(crate) mod linux;
mod tools;
#[cfg(target_os = "windows")]
pub(crate) mod windows;

pub(crate) use tools::valgrind_request;

/// Bytes below the stack pointer that code may use without moving it
/// (System V ABI, AMD64 supplement, 3.2.2 "The Stack Frame").
#[cfg(target_os = "linux")]
pub(crate) const RED_ZONE: usize = 128;

/// The registers in which an unwinder leaves the exception, and a second value, for a landing pad:
/// rax and rdx (System V ABI, AMD64 supplement, 3.6.2 "DWARF Register Number Mapping").
#[cfg(target_os = "linux")]
pub(crate) const LANDING_REGISTERS: [core::ffi::c_int; 2] = [0, 1];

/// What jumps between Rust and assembly (`arch/elf.rs`, `arch/pe.rs`) are written with here.
macro_rules! dialect {
    (jump) => {
        "jmp"
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
