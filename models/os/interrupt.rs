//! Nothing interrupts a thread.

use super::exit::Notice;
use crate::os::terms::{Interrupted, Look};
use core::ops::Range;

/// Whether it can.
pub(crate) const EXIST: bool = false;

pub(crate) fn number(chosen: i32) -> Option<i32> {
    (chosen == 0).then_some(0)
}
pub(crate) fn install(_: i32) {}
pub(crate) fn uninstall() {}
pub(crate) fn fork_child() {}
pub(crate) const ROOM: usize = 0;
pub(crate) fn send(_: &Notice, _: impl FnMut(usize, usize) -> Look) -> bool {
    false
}
pub(crate) fn send_here() {}
pub(crate) fn send_after_handler() {}
pub(crate) fn admit() {}
pub(crate) fn a_handler_seems_to_run(_: Range<usize>) -> bool {
    false
}
pub(crate) fn a_handler_runs_on(_: Range<usize>, _: usize) -> bool {
    false
}
pub(crate) fn a_handler_interrupted(_: Range<usize>, _: impl Fn(usize, usize) -> bool) -> bool {
    false
}
pub(crate) fn a_handler_ran_on(_: Range<usize>, _: usize, _: &Interrupted) -> bool {
    false
}
pub(crate) fn leave_handlers(_: Range<usize>, _: bool) {}
