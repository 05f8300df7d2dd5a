//! No sanitizer: nothing is told.

use crate::m::{M, Segment};
use crate::sync::AtomicUsize;
use crate::tools::Order;

/// What the tool knew before a segment.
#[repr(C)]
pub(crate) struct Around([AtomicUsize; 0]);

impl Around {
    /// Nothing has been told of the segment yet.
    pub(crate) fn clear(&self) {}
}

/// What the tool calls a G.
#[repr(C)]
pub(crate) struct Fiber([AtomicUsize; 0]);

/// The callback of `segment` begins, on the G.
pub(crate) fn entered(_: &M, _: &Segment) {}

/// `segment` is over, `unwound` or by its return; its caller's stack is the current one.
pub(crate) fn left(_: &M, _: &Segment, _unwound: bool) {}

/// The callback of `segment` has gone to the system stack.
pub(crate) fn out(_: &M, _: &Segment) {}

/// It is about to come back to the G.
pub(crate) fn back(_: &M, _: &Segment) {}

/// The G is about to be unmapped.
pub(crate) fn stack_gone(_: &M) {}

/// What other threads did before they [`release`]d is done.
pub(crate) fn acquire(_: Order) {}

/// What this thread did is there for who [`acquire`]s.
pub(crate) fn release(_: Order) {}
