// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting a thread, and where its stack is.

use core::ffi::c_void;

pub(crate) use super::maps::{
    guard_below, has_block_on_its_stack, is_own_stack_down_to, known_own_part, mapping,
    note_first_stack, own_stack, own_stack_end,
};
pub(crate) use super::signal::can_read;
use super::{ENOSYS, clone, libc, maps};
use crate::os::terms::Main;

/// Linux asks for no stack but that of handlers.
pub(crate) fn note_stack(_sp: usize) {}

/// In a forked child: no other thread exists.
pub(crate) fn fork_child(block: usize) {
    clone::fork_child();
    maps::fork_child(block);
}

/// The stack of a thread that is made without a C library, in bytes: C runs there. Only
/// what is touched takes memory.
const STACK_SIZE: usize = 256 * 1024;

/// Runs `main(arg)` on a new thread that is not joined: by the C library, or, where there is
/// none, by `clone`.
///
/// # Safety
/// `main` may be called with `arg` on another thread.
pub(crate) unsafe fn start(main: Main, arg: *mut c_void) -> Result<(), i32> {
    // SAFETY: the caller lets `main` be called with `arg`.
    if let Some(answer) = unsafe { libc::spawn(main, arg) } {
        return answer;
    }
    if libc::is_there() {
        // A thread of ours would lack what the C library keeps for its own.
        return Err(ENOSYS.0);
    }
    let run = move || {
        // SAFETY: `start`'s caller lets `main` be called with `arg` on another thread.
        unsafe { main(arg) };
    };
    clone::spawn_alone(STACK_SIZE, run).map_err(|refused| refused.0)
}
