// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread's environment block (TEB): the room has the offsets of its fields, and the segment register
//! that leads to it; `teb.h` has them for assembly.

use core::arch::asm;

use super::super::room::windows::teb::{
    DEALLOCATION_STACK, GUARANTEED_BYTES, LAST_ERROR, STACK_BASE, STACK_LIMIT, TLS_POINTER, block,
};

/// Where a stack is, as the thread's environment block has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StackFields {
    pub(crate) base: usize,
    pub(crate) limit: usize,
    pub(crate) reservation: usize,
    pub(crate) guaranteed: u32,
}

/// Reads a field of this thread's block.
macro_rules! read {
    ($offset:expr, $kind:ty, $access:literal) => {{
        let value: $kind;
        // SAFETY: the segment register leads to the thread's own block, in which the field is; nothing is written.
        unsafe {
            asm!(
                concat!("mov {value", $access, "}, ", block!(), ":[{offset}]"),
                value = out(reg) value, offset = const $offset,
                options(nostack, readonly, preserves_flags),
            );
        }
        value
    }};
}

impl StackFields {
    /// Those of now.
    pub(crate) fn current() -> Self {
        Self {
            base: read!(STACK_BASE, usize, ""),
            limit: read!(STACK_LIMIT, usize, ""),
            reservation: read!(DEALLOCATION_STACK, usize, ""),
            guaranteed: read!(GUARANTEED_BYTES, u32, ":e"),
        }
    }

    /// Makes them this thread's.
    ///
    /// # Safety
    /// The thread runs on the stack that they describe.
    pub(crate) unsafe fn set(&self) {
        // SAFETY: the segment register leads to the thread's own block, in which the fields are. What they say is
        // true, by this function's own contract.
        unsafe {
            asm!(
                concat!("mov ", block!(), ":[{at_base}], {base}"),
                concat!("mov ", block!(), ":[{at_limit}], {limit}"),
                concat!("mov ", block!(), ":[{at_reservation}], {reservation}"),
                concat!("mov dword ptr ", block!(), ":[{at_guaranteed}], {guaranteed:e}"),
                at_base = const STACK_BASE, at_limit = const STACK_LIMIT,
                at_reservation = const DEALLOCATION_STACK, at_guaranteed = const GUARANTEED_BYTES,
                base = in(reg) self.base, limit = in(reg) self.limit,
                reservation = in(reg) self.reservation, guaranteed = in(reg) self.guaranteed,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// Makes Windows release the stack that starts here when the thread ends.
///
/// # Safety
/// It is the thread's own stack.
pub(crate) unsafe fn set_reservation(start: usize) {
    // SAFETY: the segment register leads to the thread's own block, in which the field is. What it says is true, by
    // this function's own contract.
    unsafe {
        asm!(
            concat!("mov ", block!(), ":[{at}], {start}"),
            at = const DEALLOCATION_STACK, start = in(reg) start,
            options(nostack, preserves_flags),
        );
    }
}

/// Whether the thread has thread-local storage by now, and still.
pub(crate) fn has_thread_local_storage() -> bool {
    read!(TLS_POINTER, usize, "") != 0
}

/// What `GetLastError` would return.
pub(crate) fn last_error() -> u32 {
    read!(LAST_ERROR, u32, ":e")
}

/// What `SetLastError` does.
pub(crate) fn set_last_error(error: u32) {
    // SAFETY: the segment register leads to the thread's own block, in which the field is.
    unsafe {
        asm!(
            concat!("mov dword ptr ", block!(), ":[{at}], {error:e}"),
            at = const LAST_ERROR, error = in(reg) error,
            options(nostack, preserves_flags),
        );
    }
}
