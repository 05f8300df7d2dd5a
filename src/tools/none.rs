// SPDX-License-Identifier: MIT OR Apache-2.0
//! No sanitizer: nothing is told.

use core::ops::Range;

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
pub(crate) fn entered(_: Range<usize>, _: &Fiber, _: &Around, _nested: bool) {}

/// `segment` is over, `unwound` or by its return; its caller's stack is the current one. The
/// second `Around` is that of the segment from which [`out`] would be told.
pub(crate) fn exited(
    _: Range<usize>,
    _: &Fiber,
    _: (&Around, &Around),
    _nested: bool,
    _unwound: bool,
) {
}

/// The callback of `segment` has gone to the system stack.
pub(crate) fn out(_: &Around) {}

/// It is about to come back to the G.
pub(crate) fn back(_: Range<usize>, _: &Around, _own: &Around) {}

/// The G is about to be unmapped.
pub(crate) fn stack_gone(_: Range<usize>, _: &Fiber) {}

/// What other threads did before their [`release`] is before what this thread does now.
pub(crate) fn acquire(_: Order) {}

/// What this thread has done is before what a thread does after its [`acquire`].
pub(crate) fn release(_: Order) {}
