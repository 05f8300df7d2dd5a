//! The numbers of the process and its threads, and whether a thread of a number lives.

use super::{ESRCH, call, low};
use crate::arch::linux::nr;

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

/// Whether a thread of this process has this id.
pub(super) fn alive(tid: u32) -> bool {
    // SAFETY: signal 0 is sent to nothing: Linux only looks whether it could be.
    let answer = unsafe { call(nr::TGKILL, (process(), tid, 0)) };
    answer != Err(ESRCH)
}
