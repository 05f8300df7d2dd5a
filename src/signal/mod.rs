//! Faults as panics, and everybody else's signals as they were.
//!
//! The handlers are for the signals that an instruction raises. One is ours if the
//! kernel raised it while this thread's stack pointer was on the G of the M it
//! holds; by that G's exact bounds, never by a guess. All else goes to the action
//! that was there before, as if we were not.

pub(crate) mod forward;
pub(crate) mod stack;

use crate::os::signal::{SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP};
use core::ffi::c_int;

/// The signals that instructions raise.
pub(crate) const FAULTS: [c_int; 5] = [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP];
