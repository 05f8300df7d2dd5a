// SPDX-License-Identifier: MIT OR Apache-2.0
//! The IDs of the process and its threads, and whether a thread with a given ID exists.
//!
//! A child of `vfork` (or of `clone` with `CLONE_VM`) shares this process's memory, and the
//! thread-local storage of the thread that made it: a *visitor*. Its IDs are not that
//! thread's.

use super::{ESRCH, call, low, wait};
use crate::arch::linux::nr;
use crate::sync::{AtomicU32, Relaxed};

/// The process whose memory this is; 0 before needm's first start.
static HOME: AtomicU32 = AtomicU32::new(0);

/// Notes that this process is the one whose memory this is.
pub(crate) fn note_home() {
    HOME.store(process(), Relaxed);
}

/// Whether this is another process, which shares the memory.
pub(super) fn is_visitor() -> bool {
    let home = HOME.load(Relaxed);
    home != 0 && home != process()
}

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
    let home = match HOME.load(Relaxed) {
        0 => process(),
        home => home,
    };
    // SAFETY: signal 0 is sent to nothing: Linux only looks whether it could be.
    let answer = unsafe { call(nr::TGKILL, (home, tid, 0)) };
    answer != Err(ESRCH) && !(tid == home && wait::is_dead_owner(tid, current()))
}
