// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is different on each CPU under Linux: the room's part, and the declarations of its
//! assembly; `slots.rs` is the same on all.

pub(crate) use super::room::linux::{
    MEMBARRIER_SIGN, MIN_SIGNAL_STACK, SA_RESTORER, SYSTEM_CALLS, context, has_shadow_stack,
    note_cpu, nr, syscall, thread,
};

pub(crate) mod slots;

use core::ffi::{c_int, c_void};

// What the rooms' assembly defines; each routine's head says what it does.
unsafe extern "C" {
    /// `sigtramp.S`: the handler that Linux calls for a fault; it goes on in `fault::handle`.
    pub(crate) fn needm_handler();
    /// `sigtramp.S`: the same, but it says so ([`layout::fault::SECOND`](crate::layout)).
    pub(crate) fn needm_handler_2();
    /// `sigtramp.S`: what a handler returns to.
    pub(crate) fn needm_sigreturn();
    /// `sigtramp.S`: where a signal's return goes on if a fault has ended a callback.
    pub(crate) fn needm_siglanding();
    /// `sigtramp.S`: returns from a signal.
    pub(crate) fn needm_sigresume(context: *mut context::Context) -> !;
    /// `sigtramp.S`: starts a handler on the signal frame at `sp`.
    pub(crate) fn needm_sigstart(
        signal: c_int,
        info: usize,
        context: usize,
        handler: usize,
        sp: usize,
    ) -> !;
    /// `thread.S`: starts a thread. The result is its thread ID, or a negative errno.
    pub(crate) fn needm_clone(
        stack: usize,
        tid: *mut u32,
        pointer: usize,
        function: unsafe extern "C" fn(*mut c_void) -> !,
        arg: *mut c_void,
    ) -> isize;
    /// `thread.S`: the last instructions of a thread that unmaps its own stack.
    pub(crate) fn needm_unmap_and_exit(start: usize, len: usize) -> !;
}
