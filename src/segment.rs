//! A segment: the record of one callback's part of a G's stack, and what is to be put back
//! or run at that callback's end.
//!
//! # Safety
//! Segments are chained by pointers. A chain starts in an M, leads outwards, and every
//! segment on it stays where it is until it is taken off (`m.rs`).
#![allow(unsafe_code)] // pointers to segments

use crate::call::{Call, Panic};
use crate::layout;
use crate::os::fault::Kept;
use crate::sync::{AtomicPtr, AtomicUsize, Relaxed, SeqCst, compiler_fence};
use crate::tools;
use core::ptr;

/// The record of one callback.
#[repr(C, align(16))]
pub(crate) struct Segment {
    /// The caller's record, on whichever stack it called from.
    pub(crate) call: AtomicPtr<Call>,
    /// The G's stack pointer while C runs on the system stack for it, else 0.
    pub(crate) gsp: AtomicUsize,
    /// Deferred functions that are pending here.
    pub(crate) deferred: AtomicUsize,
    /// The segment around this one.
    pub(crate) prev: AtomicPtr<Segment>,
    /// The panic that is unwinding this segment.
    pub(crate) panic: AtomicPtr<Panic>,
    /// [`WAS_RUNNING`], [`BOUND_HERE`] and [`UNWOUND`].
    pub(crate) flags: AtomicUsize,
    /// Bytes to copy back to the caller's frame.
    pub(crate) size: AtomicUsize,
    /// What the callback's end has to put back for the system: the mask, the handler stack.
    pub(crate) kept: Kept,
    /// Of a nested one: where its part of the G begins.
    pub(crate) at: AtomicUsize,
    /// What a sanitizer knew of the stack before this segment.
    pub(crate) around: tools::Around,
}

layout::prove_segment!(Segment);

const _: () = assert!(align_of::<Segment>() > layout::m::RUNNING);

/// Callback code was running on this G when this callback began.
pub(crate) const WAS_RUNNING: usize = 1;

/// The M was bound for this callback, whose end unbinds it.
pub(crate) const BOUND_HERE: usize = layout::segment::BOUND_HERE;

/// The callback did not return.
pub(crate) const UNWOUND: usize = 8;

impl Segment {
    /// Makes the segment as new, for `call`, inside `prev`. Stores the call first:
    /// `callback::enter::build` sees by it whether a handler has changed the rest since.
    pub(crate) fn clear(&self, call: *mut Call, prev: *mut Self) {
        self.call.store(call, Relaxed);
        compiler_fence(SeqCst);
        self.gsp.store(0, Relaxed);
        self.deferred.store(0, Relaxed);
        self.prev.store(prev, Relaxed);
        self.panic.store(ptr::null_mut(), Relaxed);
        self.flags.store(0, Relaxed);
        self.size.store(0, Relaxed);
        self.kept.clear();
        self.around.clear();
    }

    /// Whether one of the flags is set.
    pub(crate) fn is(&self, flag: usize) -> bool {
        self.flags.load(Relaxed) & flag != 0
    }

    /// Its address.
    pub(crate) fn address(&self) -> usize {
        ptr::from_ref(self) as usize
    }

    /// The segment around this one.
    pub(crate) fn outer(&self) -> Option<&'static Self> {
        // SAFETY: the chain leads through live segments of the same G.
        unsafe { self.prev.load(Relaxed).as_ref() }
    }
}
