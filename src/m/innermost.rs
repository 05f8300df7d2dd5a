// SPDX-License-Identifier: MIT OR Apache-2.0
//! The innermost callback of an M: the word `seg`, whose forms the head of `m/mod.rs` describes.
//!
//! # Safety
//! A segment that `seg` leads to is the M's own first one, or lies in the records of its G,
//! which are mapped for as long as the M is.
#![allow(unsafe_code)] // segments, by their addresses

use crate::call::Call;
use crate::layout;
use crate::m::M;
use crate::segment::Segment;
use crate::sync::{Relaxed, Release, SeqCst};
use core::ptr;

/// The bits of `seg` beside the address.
const TAGS: usize = layout::m::SEGMENT | layout::m::PARKED;

const _: () = {
    assert!(align_of::<Segment>() > TAGS);
    assert!(align_of::<Call>() > TAGS);
};

/// Whether callback code may run on the G of an M with this `seg`.
fn says_running(seg: usize) -> bool {
    seg != 0 && seg & TAGS != TAGS
}

/// The `seg` of an M with this innermost segment, or none.
fn seg_of(segment: *const Segment, running: bool) -> usize {
    match (segment.is_null(), running) {
        (true, false) => 0,
        (_, true) => segment as usize | layout::m::SEGMENT,
        (_, false) => segment as usize | layout::m::SEGMENT | layout::m::PARKED,
    }
}

impl M {
    /// For other threads: the innermost segment as it was a moment ago, which may be over, or
    /// another callback's by now. It is mapped for as long as the M is.
    pub(crate) fn innermost(&self) -> Option<&'static Segment> {
        let seg = self.seg.load(SeqCst);
        let address = seg & !TAGS;
        let segment = if seg & layout::m::SEGMENT != 0 || address == 0 {
            address as *const Segment
        } else {
            // A fast path's. The call is its own thread's to note, in `segment`.
            &raw const self.base
        };
        // SAFETY: null, or a segment of this M's own, all of whose fields are atomics.
        unsafe { segment.as_ref() }
    }

    /// Whether a request to interrupt the innermost callback is posted.
    pub(crate) fn is_asked_to_end(&self) -> bool {
        let seg = self.seg.load(Relaxed);
        let innermost = if seg & layout::m::SEGMENT == 0 {
            &raw const self.base
        } else {
            (seg & !TAGS) as *const Segment
        };
        // SAFETY: null, or a segment of this M's own, all of whose fields are atomics.
        seg != 0 && unsafe { innermost.as_ref() }.is_some_and(|inner| inner.request.is_posted())
    }

    /// For other threads: whether `segment` is that of a callback that was under way a moment
    /// ago. The segments of nested callbacks lie one after another, the innermost last.
    pub(crate) fn is_under_way(&self, segment: &Segment) -> bool {
        let is_base = |segment: &Segment| ptr::eq(segment, &raw const self.base);
        self.innermost().is_some_and(|inner| {
            is_base(segment) || !is_base(inner) && segment.address() <= inner.address()
        })
    }

    /// Whether callback code may run on its G.
    pub(crate) fn is_running(&self) -> bool {
        says_running(self.seg.load(SeqCst))
    }

    /// The innermost segment, if the code of its callback runs on the G, and `at` is in its part of that.
    /// Then C has jumped out of no callback of this M, nor out of C that one called.
    pub(crate) fn runs_at(&self, at: usize) -> Option<&'static Segment> {
        let seg = self.seg.load(Relaxed);
        let segment = self.segment_of(seg)?;
        let is_base = ptr::eq(segment, &raw const self.base);
        let top = self.position(segment);
        let there = self.stack.holds(at) && at <= top && (is_base || self.stack.holds(top));
        (there && says_running(seg) && segment.gsp.load(Relaxed) == 0).then_some(segment)
    }

    /// Whether a callback is under way on it: it has a segment.
    pub(crate) fn is_inside(&self) -> bool {
        self.seg.load(SeqCst) & !TAGS != 0
    }

    /// Whether no callback is under way on it, nor about to be.
    pub(crate) fn is_idle(&self) -> bool {
        self.seg.load(Relaxed) == 0
    }

    /// Sets the innermost segment, and whether callback code runs.
    ///
    /// Only the thread that holds the M writes the word, and that thread's handlers. They put back what they
    /// found, unless C jumps out of their callbacks.
    pub(crate) fn set_segment(&self, segment: *const Segment, running: bool) {
        self.seg.store(seg_of(segment, running), Release);
    }

    /// What says that callback code runs inside `outer`, or, if that is null, is about to: for
    /// [`M::begin_segment`].
    pub(crate) fn runs_in(&self, outer: *const Segment) -> Option<usize> {
        let seg = self.seg.load(Relaxed);
        let innermost = self.segment_of(seg).map_or(ptr::null(), ptr::from_ref);
        (says_running(seg) && ptr::eq(innermost, outer)).then_some(seg)
    }

    /// Makes `segment` the innermost one, in which callback code runs, if that is still so: one step, because
    /// a handler may have used the M meanwhile.
    pub(crate) fn begin_segment(&self, before: usize, segment: &Segment) -> bool {
        let seg = ptr::from_ref(segment) as usize | layout::m::SEGMENT;
        self.seg.compare_exchange(before, seg, Release, Relaxed).is_ok()
    }

    /// Makes the segment around `segment` the innermost one, if `segment` still is: a handler may have left
    /// another one inside it.
    pub(crate) fn end_segment(&self, segment: &Segment) -> bool {
        let seg = self.seg.load(Relaxed);
        let after = seg_of(segment.prev.load(Relaxed), says_running(seg));
        self.is_innermost(seg, segment)
            && self.seg.compare_exchange(seg, after, Release, Relaxed).is_ok()
    }

    /// Says whether callback code runs.
    pub(crate) fn set_running(&self, running: bool) {
        self.set_segment(self.segment().map_or(ptr::null(), ptr::from_ref), running);
    }

    /// The innermost segment.
    pub(crate) fn segment(&self) -> Option<&'static Segment> {
        self.segment_of(self.seg.load(Relaxed))
    }

    /// The innermost segment where `seg` is this.
    fn segment_of(&self, seg: usize) -> Option<&'static Segment> {
        let segment = if seg & layout::m::SEGMENT != 0 {
            (seg & !TAGS) as *const Segment
        } else if seg != 0 {
            self.note_fast(seg);
            &raw const self.base
        } else {
            return None;
        };
        // SAFETY: it is null or a live segment of this M's own, whose row stays mapped.
        unsafe { segment.as_ref() }
    }

    /// Notes the call of a fast path, which has left it in `seg`.
    #[inline(never)] // a few instructions less wherever the segment is asked for
    fn note_fast(&self, seg: usize) {
        self.base.note_call((seg & !TAGS) as *mut Call, seg & layout::m::BOUND_HERE != 0);
    }

    /// Whether `segment` is the innermost one where `seg` is this.
    fn is_innermost(&self, seg: usize, segment: &Segment) -> bool {
        if seg & layout::m::SEGMENT != 0 {
            seg & !TAGS == segment.address()
        } else {
            seg != 0 && ptr::eq(segment, &raw const self.base)
        }
    }

    /// Whether this segment is that of a callback of its own.
    pub(crate) fn has(&self, segment: *const Segment) -> bool {
        let mut segments = core::iter::successors(self.segment(), |inner| inner.outer());
        segments.any(|inner| ptr::eq(inner, segment))
    }
}
