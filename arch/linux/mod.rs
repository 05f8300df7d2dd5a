//! Linux on this CPU: what differs between architectures (from the room), and what all share.

pub(crate) use super::room::linux::*;

pub(crate) mod slots;

use core::ffi::c_void;

// What the rooms' assembly defines; each routine's head says what it does.
unsafe extern "C" {
    /// `sigtramp.S`: the handler that Linux calls; goes on in `fault::handle`.
    pub(crate) fn needm_handler();
    /// `sigtramp.S`: what a handler returns into.
    pub(crate) fn needm_sigreturn();
    /// `thread.S`: a new thread, and its number, or an error as a negative number.
    pub(crate) fn needm_clone(
        stack: usize,
        tid: *mut u32,
        pointer: usize,
        function: unsafe extern "C" fn(*mut c_void) -> !,
        arg: *mut c_void,
    ) -> isize;
    /// `thread.S`: this thread's last instructions.
    pub(crate) fn needm_unmap_and_exit(start: usize, len: usize) -> !;
}
