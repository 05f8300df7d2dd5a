// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupting a thread: having a function of needm's run on it, between any two of its
//! instructions.
//!
//! Where a system runs no code of needm's on a thread that is at something else, [`EXIST`] is false,
//! [`number`] accepts 0 only, and the rest does nothing.
//!
//! This is a part of the contract in `os/mod.rs`, whose rules hold here.

use super::exit::Notice;
use super::room::interrupt as room;
pub(crate) use super::terms::{AFTER_HANDLER, Interrupted, Look};
use core::ops::Range;

/// Whether the room can interrupt a thread.
pub(crate) const EXIST: bool = room::EXIST;

/// The number of what interrupts threads, which the host has chosen (on POSIX systems a signal);
/// 0 is for the room to choose. `None` if it is not for this use.
pub(crate) fn number(chosen: i32) -> Option<i32> {
    room::number(chosen)
}

/// Has interrupts go to `needm_on_interrupt`, and notes what that number did before. Not from a
/// handler.
pub(crate) fn install(number: i32) {
    room::install(number);
}

/// Puts back what was there before, as `fault::uninstall` does.
pub(crate) fn uninstall() {
    room::uninstall();
}

/// In a forked child: makes what is installed agree with what the memory says.
pub(crate) fn fork_child() {
    room::fork_child();
}

/// What an interrupt needs of the stack that is interrupted, in bytes.
pub(crate) const ROOM: usize = room::ROOM;

/// Interrupts the thread of a record. False if there is no such thread, or if the system refuses.
/// The thread may still have exited before it was interrupted.
///
/// A room that has no handlers suspends the thread, and has `look` say what it is at, by its
/// instruction and its stack pointer. `look` waits for nothing, and may read and change what the
/// thread's own handlers may.
pub(crate) fn send(notice: &Notice, look: impl FnMut(usize, usize) -> Look) -> bool {
    room::send(notice.room(), look)
}

/// Interrupts this thread: at once, unless it has interrupts blocked.
pub(crate) fn send_here() {
    room::send_here();
}

/// Interrupts this thread, which runs a handler, when the handler returns.
pub(crate) fn send_after_handler() {
    room::send_after_handler();
}

/// Undoes [`send_after_handler`], or [`AFTER_HANDLER`], for a handler that did not return.
pub(crate) fn admit() {
    room::admit();
}

/// Whether a handler runs on this part of the stack of this thread, with interrupts of its own
/// blocked, as far as can be told, and will return to code further up, below `end`. Its frame is in `stack`,
/// which is in use.
pub(crate) fn a_handler_runs_on(stack: Range<usize>, end: usize) -> bool {
    room::a_handler_runs_on(stack, end)
}

/// Whether a handler runs on this stack that has interrupted code whose instruction and stack
/// pointer `is_it` accepts. Not all of `stack` need be there. Only in a handler.
pub(crate) fn a_handler_interrupted(
    stack: Range<usize>,
    is_it: impl Fn(usize, usize) -> bool,
) -> bool {
    room::a_handler_interrupted(stack, is_it)
}

/// Whether this thread runs a handler that has interrupted code further up on this part of its stack. Not
/// all of `stack` need be there. False also if that cannot be told.
pub(crate) fn a_handler_seems_to_run(stack: Range<usize>) -> bool {
    room::a_handler_seems_to_run(stack)
}

/// Leaves the handlers that run on this part of the stack of this thread and do not return: what they
/// have blocked is unblocked. `elsewhere`: what they have interrupted may be on another stack. Not
/// all of `stack` need be there.
pub(crate) fn leave_handlers(stack: Range<usize>, elsewhere: bool) {
    room::leave_handlers(stack, elsewhere);
}

/// As [`a_handler_runs_on`], at the time of an interrupt.
pub(crate) fn a_handler_ran_on(stack: Range<usize>, end: usize, at: &Interrupted) -> bool {
    room::a_handler_ran_on(stack, end, at)
}
