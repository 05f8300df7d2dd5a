// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the fields of the thread's environment block are; `teb.h` has the same for assembly.

/// The segment register that leads to it.
macro_rules! block {
    () => {
        "fs"
    };
}
pub(crate) use block;

/// One past the highest address of the stack that the thread runs on.
pub(crate) const STACK_BASE: usize = 0x4;
/// Its lowest address in use so far.
pub(crate) const STACK_LIMIT: usize = 0x8;
/// The thread-local storage of each module.
pub(crate) const TLS_POINTER: usize = 0x2c;
/// What `GetLastError` returns (32 bits).
pub(crate) const LAST_ERROR: usize = 0x34;
/// The start of the stack's reservation.
pub(crate) const DEALLOCATION_STACK: usize = 0xe0c;
/// What is kept for handlers of an overflow, in bytes (32 bits).
pub(crate) const GUARANTEED_BYTES: usize = 0xf78;

/// From a call's record to the start of its caller's stack: `CALL_FIELDS` of frame.h, and the third
/// of the fields.
pub(crate) const CALL_RESERVATION: usize = 24 + 8;
