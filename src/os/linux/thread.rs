//! Threads: their numbers, whether one lives, and starting one.

use core::ffi::c_void;

pub(crate) use super::clone::fork_child;
pub(crate) use super::maps::own_stack;
use super::{ENOSYS, ESRCH, call, clone, libc};
use crate::arch::linux::nr;
use crate::os::thread::Main;

/// This process.
pub(super) fn process() -> u32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { call(nr::GETPID, ()) }.map_or(0, low)
}

/// This thread.
pub(super) fn current() -> u32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { call(nr::GETTID, ()) }.map_or(0, low)
}

/// The half of a word that an id is in.
#[allow(clippy::cast_possible_truncation)] // ids are positive ints
pub(super) fn low(id: usize) -> u32 {
    id as u32
}

/// Whether a thread of this process has this id.
pub(super) fn alive(tid: u32) -> bool {
    // SAFETY: signal 0 is sent to nothing: Linux only looks whether it could be.
    let answer = unsafe { call(nr::TGKILL, (process(), tid, 0)) };
    answer != Err(ESRCH)
}

/// The stack of a thread that is made without a C library, in bytes: C runs there. Only
/// what is touched takes memory.
const STACK_SIZE: usize = 256 * 1024;

/// Runs `main(arg)` on a new thread that nobody joins: by the C library, or, where there is
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
    // SAFETY: the caller lets `main` be called with `arg`.
    let run = move || {
        unsafe { main(arg) };
    };
    clone::spawn_alone(STACK_SIZE, run).map_err(|refused| refused.0)
}
