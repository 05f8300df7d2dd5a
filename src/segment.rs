// SPDX-License-Identifier: MIT OR Apache-2.0
//! A segment: the record of one callback's part of a G's stack, and what is to be put back
//! or run at that callback's end.
//!
//! # Safety
//! Segments are chained by pointers. A chain starts in an M, leads outwards, and every
//! segment on it stays where it is until it is taken off (`m/mod.rs`).
#![allow(unsafe_code)] // pointers to segments

use crate::call::{Call, PENDING_REQUEST, Panic};
use crate::layout;
use crate::os::fault::Kept;
use crate::request::Request;
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
    /// How many functions are deferred here and have not been called, and [`DEFERRING`].
    deferred: AtomicUsize,
    /// The segment around this one.
    pub(crate) prev: AtomicPtr<Segment>,
    /// The panic that is unwinding this segment.
    pub(crate) panic: AtomicPtr<Panic>,
    /// [`WAS_RUNNING`], [`BOUND_HERE`], [`UNWOUND`], [`USED_RESERVE`], [`FORWARDS`], [`ENDING`],
    /// [`BUILT`], [`POSTPONED`], [`ASKS`], [`UNDER_HOOK`],
    /// [`IN_DOUBT`].
    pub(crate) flags: AtomicUsize,
    /// Bytes to copy back to the caller's frame.
    pub(crate) size: AtomicUsize,
    /// What the callback's end has to put back for the system: the mask, the handler stack.
    pub(crate) kept: Kept,
    /// Of a nested one: where its part of the G begins.
    pub(crate) at: AtomicUsize,
    /// A request to interrupt this callback. The only part of a segment that other threads write.
    pub(crate) request: Request,
    /// The row of the M that is being made before its callback begins, plus one, while the host's hook
    /// runs for it; else 0.
    pub(crate) making: AtomicUsize,
    /// Where the thread was inside needm when the slow path began this callback: [`Self::around_it`].
    pub(crate) inside: AtomicUsize,
    /// What a sanitizer knew of the stack before this segment.
    pub(crate) around: tools::Around,
}

layout::prove_segment!(Segment);

/// Callback code was running on this G when this callback began.
pub(crate) const WAS_RUNNING: usize = 1;

/// The M was bound for this callback, whose end unbinds it.
pub(crate) const BOUND_HERE: usize = 2;

/// The callback did not return.
pub(crate) const UNWOUND: usize = 8;

/// This callback, which was not on the G, has opened the G's reserve.
pub(crate) const USED_RESERVE: usize = 16;

/// Its faults go to the handler of before: one that no deferred function has recovered from
/// happens once more.
pub(crate) const FORWARDS: usize = 32;

/// No code of the callback's own runs any more: its deferred functions do.
pub(crate) const ENDING: usize = 64;

/// The slow path has built it, and has filled in all of its call.
pub(crate) const BUILT: usize = 128;

/// The signal for a request is blocked until a handler returns that has interrupted the callback.
pub(crate) const POSTPONED: usize = 256;

/// The host is being asked about a fault of this callback. Where that is on the callback's own stack,
/// a fault there is none of the callback's. It stays set if the hook is jumped out of.
pub(crate) const ASKS: usize = 512;

/// It waits while a hook of the host's runs on its thread, outside callbacks. It stays set if the hook is jumped out of.
pub(crate) const UNDER_HOOK: usize = 1024;

/// It is in C that it has called from a further stack, and its thread was further up than that C: in another fiber, or it was
/// jumped out of.
pub(crate) const IN_DOUBT: usize = 2048;

/// In `deferred`: one more is just being kept, or taken out to run.
const DEFERRING: usize = 1 << (usize::BITS - 1);

impl Segment {
    /// How many functions are deferred in this callback, and have not been called.
    pub(crate) fn deferred(&self) -> usize {
        self.deferred.load(Relaxed) & !DEFERRING
    }

    /// Whether one more is just being kept, or taken out to run.
    pub(crate) fn is_deferring(&self) -> bool {
        self.deferred.load(Relaxed) & DEFERRING != 0
    }

    /// Says how many functions are deferred. `keeping`: one more is just being kept, or taken out to run. Those
    /// of a handler that calls back in between are then kept behind it.
    pub(crate) fn set_deferred(&self, count: usize, keeping: bool) {
        compiler_fence(SeqCst);
        self.deferred.store(count | if keeping { DEFERRING } else { 0 }, Relaxed);
        compiler_fence(SeqCst);
    }

    /// The number on its G of the first function that is deferred here: those of the callbacks around this
    /// one come before. Nothing else says where they are, so no jump leaves it wrong.
    pub(crate) fn first_deferred(&self) -> usize {
        let around = core::iter::successors(self.outer(), |inner| inner.outer());
        let places = |outer: &Self| {
            let deferred = outer.deferred.load(Relaxed);
            (deferred & !DEFERRING) + usize::from(deferred & DEFERRING != 0)
        };
        around.map(places).sum()
    }

    /// Makes the segment as new, for `call`, inside `prev`. Stores the call first:
    /// `callback::build::build` sees by it whether a handler has changed the rest since.
    pub(crate) fn clear(&self, call: *mut Call, prev: *mut Self) {
        self.request.forget();
        self.call.store(call, Relaxed);
        compiler_fence(SeqCst);
        self.gsp.store(0, Relaxed);
        self.deferred.store(0, Relaxed);
        self.prev.store(prev, Relaxed);
        self.panic.store(ptr::null_mut(), Relaxed);
        self.flags.store(0, Relaxed);
        self.size.store(0, Relaxed);
        self.kept.clear();
        self.making.store(0, Relaxed);
        self.around.clear();
    }

    /// Notes its call and whether that bound the M, which the fast paths leave in `m.seg`. Stores
    /// only what is new, because a visitor of the stopped world asks, too.
    ///
    /// The call may be a handler's that has interrupted the slow path while it built this segment.
    pub(crate) fn note_call(&self, call: *mut Call, bound_here: bool) {
        if self.call.load(Relaxed) != call {
            self.call.store(call, Relaxed);
            let words = [&self.gsp, &self.deferred, &self.size];
            let ending = self.flags.load(Relaxed) & ENDING;
            if words.into_iter().fold(ending, |all, word| all | word.load(Relaxed)) != 0 {
                self.forget_left();
            }
        }
        let before = self.flags.load(Relaxed);
        let flags = before & !(BUILT | BOUND_HERE) | if bound_here { BOUND_HERE } else { 0 };
        if flags != before {
            self.flags.store(flags, Relaxed);
        }
    }

    /// A handler had interrupted the fast path before it began, and has left a callback here that was jumped
    /// out of.
    #[cold]
    #[inline(never)]
    fn forget_left(&self) {
        self.gsp.store(0, Relaxed);
        self.set_deferred(0, false);
        self.size.store(0, Relaxed);
        self.panic.store(ptr::null_mut(), Relaxed);
        self.flags.store(self.flags.load(Relaxed) & POSTPONED, Relaxed);
    }

    /// Where the thread was inside needm when this callback began: a handler's may have interrupted
    /// needm's code. 0 if nowhere; the fast paths are not taken where it matters, with the M in a callback.
    pub(crate) fn around_it(&self) -> usize {
        if self.is(BUILT) { self.inside.load(Relaxed) } else { 0 }
    }

    /// Whether one of the flags is set.
    pub(crate) fn is(&self, flag: usize) -> bool {
        self.flags.load(Relaxed) & flag != 0
    }

    /// Sets some of the flags.
    pub(crate) fn set(&self, flags: usize) {
        self.flags.store(self.flags.load(Relaxed) | flags, Relaxed);
    }

    /// Clears some of the flags.
    pub(crate) fn unset(&self, flags: usize) {
        self.flags.store(self.flags.load(Relaxed) & !flags, Relaxed);
    }

    /// Whether a fault or an interrupt ends its callback with an error. Only for the callback's own
    /// thread.
    pub(crate) fn recovers(&self) -> bool {
        let call = self.call.load(Relaxed);
        // SAFETY: null while the callback is being entered; else the caller's record, which
        // stands on its stack until the callback is over.
        unsafe { call.as_ref() }.is_some_and(Call::recovers_faults)
    }

    /// What is still to be done before its callback runs (`call.rs`). Only for the callback's own
    /// thread.
    pub(crate) fn pending(&self) -> usize {
        if !self.is(BUILT) {
            return 0;
        }
        // SAFETY: the caller's record, which stands on its stack until the callback is over, and
        // whose `out` the slow path has filled in.
        let out = unsafe { (&raw const (*self.call.load(Relaxed)).out).read_volatile() };
        out & layout::call::PENDING & !layout::call::ON_G
    }

    /// Has its callback look for a request before it runs. Only for a handler of the callback's own
    /// thread, which is about to go to the G by the slow path.
    pub(crate) fn look_on_g(&self) {
        // SAFETY: it is the caller's record, which stands on its stack until the callback is over.
        // The segment is [`BUILT`], so the slow path has filled in `out`, and the thread that will
        // read it waits in this handler meanwhile.
        unsafe {
            let out = &raw mut (*self.call.load(Relaxed)).out;
            out.write_volatile(out.read_volatile() | PENDING_REQUEST);
        }
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
