// SPDX-License-Identifier: MIT OR Apache-2.0
//! The process: its last words, its exit, and its death by a signal.

use core::ffi::c_int;

#[cfg(feature = "freestanding")]
use super::Errno;
use super::signal::{self, Action, SIGABRT};
use super::{call, ids};
use crate::arch::linux::{has_shadow_stack, nr};

/// Writes to an open file what of `text` it takes.
#[cfg(feature = "freestanding")]
pub(crate) fn write(file: i32, text: &[u8]) -> Result<usize, Errno> {
    // SAFETY: Linux reads `text`, which is valid for its length.
    unsafe { call(nr::WRITE, (file, text.as_ptr(), text.len())) }
}

/// Ends the process.
pub(crate) fn exit(status: i32) -> ! {
    loop {
        // SAFETY: nothing runs afterwards.
        let _ = unsafe { call(nr::EXIT_GROUP, (status,)) };
    }
}

/// That needm can leave the frames of this process's threads by a jump. A shadow stack would go on
/// to hold their return addresses, and the next return would be a fault.
pub(crate) fn can_unwind() -> Result<(), c_int> {
    const ENOTSUP: c_int = 95;
    if has_shadow_stack() { Err(ENOTSUP) } else { Ok(()) }
}

/// Writes `text` to standard error, as much as it takes at once; for last words only.
pub(crate) fn last_words(text: &[u8]) {
    const STDERR: i32 = 2;
    // SAFETY: Linux reads `text`, which is valid for its length.
    let _ = unsafe { call(nr::WRITE, (STDERR, text.as_ptr(), text.len())) };
}

/// Ends the process as `abort` does, but for handlers of `SIGABRT`, which do not run.
pub(crate) fn abort() -> ! {
    die_of_fault(SIGABRT)
}

/// How often [`die_of_fault`] sends the signal: another thread may install a handler in between.
const TRIES: u32 = 100;

/// Ends the process by `signal`, whatever is installed or blocked for it. Process 1 of a PID
/// namespace ignores what it sends itself (`sig_task_ignored` in linux/kernel/signal.c): it exits
/// with the status that a shell would tell.
pub(crate) fn die_of_fault(signal: c_int) -> ! {
    let (pid, tid) = (ids::process(), ids::current());
    for _ in 0..TRIES {
        let _ = signal::action(signal, Some(&Action::DEFAULT));
        // SAFETY: a signal to this thread itself touches no memory.
        let _ = unsafe { call(nr::TGKILL, (pid, tid, signal)) };
        signal::set_blocked(!signal::bit(signal));
    }
    exit(128 + signal)
}
