// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stacks of an M's callbacks, and the records of those that nest.
//!
//! # Safety
//! Records lie in the records of the M's G, which are mapped for as long as the M is.

use crate::m::M;
use crate::part::{Bounds, Part};
use crate::segment::{Segment, USED_RESERVE};
use crate::sync::{Release, SeqCst};
use core::mem::offset_of;
use core::ptr;

/// Bytes that a record takes.
const RECORD: usize = size_of::<Segment>();

const _: () = assert!(size_of::<Part>() <= offset_of!(Segment, request));

impl M {
    /// The segment for a callback inside the innermost; `None` if there are too many.
    pub(crate) fn next_segment(&self) -> Option<&'static Segment> {
        // SAFETY: a segment has only atomics, for which everything is a value.
        unsafe { self.next_record() }
    }

    /// The record for a further stack; `None` if there are too many.
    pub(crate) fn next_part(&self) -> Option<&'static Part> {
        // SAFETY: a part has only atomics, for which everything is a value.
        unsafe { self.next_record() }
    }

    /// Room for a record inside all that there are. All take as much: a thread that asks for an interrupt may write to the
    /// request of a segment that is over, while another record is in its place, which has nothing there.
    ///
    /// # Safety
    /// Whatever an earlier record has left there is a `T`.
    unsafe fn next_record<T>(&self) -> Option<&'static T> {
        let before = self.segment().filter(|innermost| !ptr::eq(*innermost, &raw const self.base));
        let (from, to) = self.stack.records();
        let after_segment = before.map_or(from, |before| before.address() + RECORD);
        let after_part = self.part().map_or(from, |part| part.address() + RECORD);
        let at = after_segment.max(after_part);
        // SAFETY: it is within the records of this M's stack, which are mapped for as long as
        // the M is, and aligned, since what each record takes is a multiple of the one alignment of
        // both; the caller says that what is there is a `T`.
        (at + RECORD <= to).then(|| unsafe { &*(at as *const T) })
    }

    /// The innermost further stack.
    pub(crate) fn part(&self) -> Option<&'static Part> {
        // SAFETY: null, or a part of this M's own that is in use.
        unsafe { self.part.load(SeqCst).as_ref() }
    }

    /// The further stacks, the innermost first.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &'static Part> {
        core::iter::successors(self.part(), |part| part.outer())
    }

    /// Whether a stack pointer is on its G, or on a further stack of its callbacks.
    pub(crate) fn holds(&self, sp: usize) -> bool {
        self.stack.holds(sp) || self.parts().any(|part| part.bounds().holds(sp))
    }

    /// The bounds of that stack.
    pub(crate) fn bounds_at(&self, sp: usize) -> Option<Bounds> {
        if self.stack.holds(sp) {
            return Some(Bounds { lo: self.stack.lo(), hi: self.stack.hi() });
        }
        self.parts().map(Part::bounds).find(|bounds| bounds.holds(sp))
    }

    /// Whether a stack pointer is on the G's reserve, and that is in use for deferred functions of this callback: its own
    /// stack, which may be a further one, has run out.
    pub(crate) fn is_on_its_reserve(&self, segment: &Segment, sp: usize) -> bool {
        segment.is(USED_RESERVE) && self.stack.holds(sp) && sp <= self.stack.lo()
    }

    /// The same of a stack pointer on one of them, else the G's.
    pub(crate) fn bounds_or_g(&self, sp: usize) -> Bounds {
        let g = Bounds { lo: self.stack.lo(), hi: self.stack.hi() };
        self.bounds_at(sp).unwrap_or(g)
    }

    /// After the end of a callback in another one: closes the reserve, if the G is in use above it
    /// only. `used`: what was the innermost callback had opened it, from another stack.
    pub(crate) fn close_reserve(&self, segment: &Segment, used: bool) {
        let position = self.position(segment);
        if used {
            self.stack.close_reserve(self.stack.hi());
        } else if self.stack.holds(position) {
            self.stack.close_reserve(position);
        }
    }

    /// Forgets the further stacks of a callback that is over.
    pub(crate) fn drop_parts(&self, segment: &Segment) {
        while let Some(part) = self.part().filter(|part| part.belongs_to(segment)) {
            let outer = part.outer().map_or(ptr::null(), ptr::from_ref);
            self.part.store(outer.cast_mut(), Release);
        }
    }
}
