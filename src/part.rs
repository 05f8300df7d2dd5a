// SPDX-License-Identifier: MIT OR Apache-2.0
//! A part: a further stack on which a callback continues (`callback/stacks.rs`).
//!
//! The record lies among the records of nested callbacks, beside the G's stack, and not in the
//! host's frames: what C jumps out of, or a coroutine that is never resumed, leaves no pointer
//! into a dead frame here.
//!
//! Only exact bounds decide. A stack pointer is on a part if it lies in `[lo, hi]`; `hi` is where
//! it is while nothing is on that stack. A stack has run out if the page below `lo` is touched, or the
//! inaccessible mapping that ends there (`callback/fault.rs`).
//!
//! # Safety
//! Parts are chained by pointers. The chain starts in an M, leads outwards, and every part on it
//! stays where it is until it is taken off (`m/mod.rs`).
#![allow(unsafe_code)] // pointers to parts

use crate::os::memory;
use crate::segment::Segment;
use crate::sync::{AtomicPtr, AtomicUsize, Relaxed};
use core::ptr;

/// The record of one further stack.
#[repr(C, align(16))]
pub(crate) struct Part {
    /// The lowest usable address.
    lo: AtomicUsize,
    /// One past the highest.
    hi: AtomicUsize,
    /// The part around this one.
    prev: AtomicPtr<Part>,
    /// The callback that continues there.
    segment: AtomicPtr<Segment>,
    /// Another number for each use of this record, so that an old [`Entered`] does not match.
    token: AtomicUsize,
}

const _: () = assert!(align_of::<Part>() == align_of::<Segment>());

/// What the host keeps of a part that it has entered: C's `needm_stack`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entered {
    part: usize,
    token: usize,
    lo: usize,
    hi: usize,
}

/// What a part says.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) lo: usize,
    pub(crate) hi: usize,
}

impl Part {
    /// Fills it in. A handler that makes callbacks before an M leads here uses this record too:
    /// then [`Part::is`] says no.
    pub(crate) fn fill(
        &self,
        bounds: Bounds,
        prev: *const Self,
        segment: &Segment,
        token: usize,
    ) -> Entered {
        self.lo.store(bounds.lo, Relaxed);
        self.hi.store(bounds.hi, Relaxed);
        self.prev.store(prev.cast_mut(), Relaxed);
        self.segment.store(ptr::from_ref(segment).cast_mut(), Relaxed);
        self.token.store(token, Relaxed);
        Entered { part: self.address(), token, lo: bounds.lo, hi: bounds.hi }
    }

    /// A token that the last use of this record did not have.
    pub(crate) fn next_token(&self) -> usize {
        self.token.load(Relaxed).wrapping_add(1)
    }

    /// Whether it is the part that the host has entered with this.
    pub(crate) fn is(&self, entered: &Entered) -> bool {
        let Bounds { lo, hi } = self.bounds();
        *entered == Entered { part: self.address(), token: self.token.load(Relaxed), lo, hi }
    }

    /// Whether it is one of this callback's.
    pub(crate) fn belongs_to(&self, segment: &Segment) -> bool {
        ptr::eq(self.segment.load(Relaxed), segment)
    }

    /// Its address.
    pub(crate) fn address(&self) -> usize {
        ptr::from_ref(self) as usize
    }

    /// The part around this one.
    pub(crate) fn outer(&self) -> Option<&'static Self> {
        // SAFETY: the chain leads through records of the same M that are in use.
        unsafe { self.prev.load(Relaxed).as_ref() }
    }

    /// Its bounds.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds { lo: self.lo.load(Relaxed), hi: self.hi.load(Relaxed) }
    }
}

impl Bounds {
    /// Whether a stack pointer is on it.
    pub(crate) fn holds(self, sp: usize) -> bool {
        (self.lo..=self.hi).contains(&sp)
    }

    /// Whether an address is on the page below it, which only a stack that ran out touches.
    pub(crate) fn guards(self, address: usize) -> bool {
        (self.lo.saturating_sub(memory::page_size())..self.lo).contains(&address)
    }

    /// Whether the two have an address in common.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.lo < other.hi && other.lo < self.hi
    }
}

impl PartialEq for Bounds {
    fn eq(&self, other: &Self) -> bool {
        (self.lo, self.hi) == (other.lo, other.hi)
    }
}
