//! Faults as panics, and everybody else's signals as they were.
//!
//! The handlers are for the signals that an instruction raises. One is ours if the
//! kernel raised it while this thread's stack pointer was on the G of the M it
//! holds; by that G's exact bounds, never by a guess. All else goes to the action
//! that was there before, as if we were not.

pub(crate) mod chain;
pub(crate) mod handler;
pub(crate) mod minit;

use core::ffi::c_int;

use crate::os::signal::{SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP};

/// The signals that instructions raise.
pub(crate) const FAULTS: [c_int; 5] = [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP];

/// What a fault leaves on the G's stack, below the frame that faulted.
#[repr(C)]
pub(crate) struct FaultFrame {
    /// The stack pointer at the fault: where an unwinder goes on.
    pub(crate) sp: usize,
    /// The instruction.
    pub(crate) pc: usize,
    /// The error code of its kind.
    pub(crate) kind: c_int,
    pub(crate) signo: c_int,
    pub(crate) code: c_int,
    /// The address that was touched.
    pub(crate) addr: usize,
    #[cfg(target_pointer_width = "64")]
    pub(crate) pad: usize,
}
