// SPDX-License-Identifier: MIT OR Apache-2.0
//! Deferred functions: kept for the end of the innermost callback, and run there.
//!
//! They are kept on the G, one after another, those of inner callbacks behind those of outer ones. A handler
//! may call back and defer at any point here, and may jump out of here: a number is taken before its place
//! is written, and given back after that was read.
//!
//! One that is taken back keeps its place, as those of inner callbacks do theirs behind it, until it is the
//! last one of the innermost callback. Which one it is, its place says, where only needm writes: the host's
//! record, which may be an old one, only leads there.
//!
//! # Safety
//! The code that defers a function says that it may be called with its argument until the callback
//! is over. As many have been kept for a segment, from its first place on, as it says.
#![allow(unsafe_code)] // functions of the host's

use crate::abandoned;
use crate::call::Function;
use crate::error::Error;
use crate::m::M;
use crate::pool;
use crate::reconcile;
use crate::segment::{ENDING, Segment};
use crate::stack::Deferred;
pub(crate) use crate::stack::NO_RECORD;
use crate::thread_record::Thread;
use crate::tls::Tls;
use core::ffi::c_void;
use core::iter::successors;
use core::ptr;

/// Runs what is deferred in `segment`, whose callback is ending. If that is to be
/// interrupted, stops there, and returns the value of the request: no interrupt ends a deferred
/// function.
pub(crate) fn run_deferred(m: &M, segment: &Segment) -> Option<*mut c_void> {
    segment.set(ENDING);
    loop {
        if segment.request.is_posted()
            && segment.recovers()
            && let Some(value) = segment.request.take()
        {
            return Some(value);
        }
        let last = segment.deferred().checked_sub(1)?;
        // From here on no handler takes it back.
        segment.set_deferred(last, true);
        // SAFETY: it was kept for this segment, which has said that it has it.
        let deferred = unsafe { m.stack.deferred(segment.first_deferred() + last) };
        segment.set_deferred(last, false);
        let Some(deferred) = deferred else { continue };
        abandoned::go_on(m, segment);
        let tls = Tls::current();
        let inside = tls.inside();
        // It may jump away.
        tls.set_inside(segment.around_it());
        // SAFETY: it may be called until the callback is over, and the callback is not.
        unsafe { (deferred.function)(deferred.arg) };
        tls.set_inside(inside);
    }
}

/// Where a deferred function is kept, as the host's record says: the address of its M, and its number there.
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    pub(crate) m: usize,
    pub(crate) index: usize,
}

/// Defers `function(arg)` to the end of the innermost callback. `record`: the address of the host's record, by
/// which it can be taken back, or [`NO_RECORD`].
pub(crate) fn defer(function: Function, arg: *mut c_void, record: usize) -> Result<Kept, Error> {
    let tls = Tls::current();
    let (m, segment) = reconcile::current_segment(tls).ok_or(Error::Invalid)?;
    // A handler without a callback of its own has interrupted this function, or `run_deferred`.
    if segment.is_deferring() && tls.has_interrupted_needm() {
        return Err(Error::Invalid);
    }
    m.set_needs_cleanup();
    let count = segment.deferred();
    segment.set_deferred(count, true);
    let index = segment.first_deferred() + count;
    let kept = m.stack.keep_deferred(index, Deferred { function, arg }, record);
    segment.set_deferred(count + usize::from(kept.is_ok()), false);
    kept.map(|()| Kept { m: address_of(m), index })
}

/// Takes back what this thread has deferred with `record`, which says that it is `kept` there.
pub(crate) fn take_back(record: usize, kept: Kept) -> Result<(), Error> {
    let tls = Tls::current();
    let innermost = reconcile::current_segment(tls);
    let thread = tls.thread().ok_or(Error::Invalid)?;
    let m = pool::held_from(Thread::held(thread), thread).find(|m| address_of(m) == kept.m);
    let m = m.ok_or(Error::Invalid)?;
    let has_it = |inner: &&Segment| {
        let first = inner.first_deferred();
        (first..first + inner.deferred()).contains(&kept.index)
    };
    let segment = successors(m.segment(), |inner| inner.outer()).find(has_it);
    let segment = segment.ok_or(Error::Invalid)?;
    // SAFETY: it was kept for this segment, which says that it has it.
    if !unsafe { m.stack.take_back_deferred(kept.index, record) } {
        return Err(Error::Invalid);
    }
    if innermost.is_some_and(|(_, innermost)| ptr::eq(innermost, segment)) {
        give_back_places(m, segment);
    }
    Ok(())
}

/// Gives back the places of the last ones that were taken back, of the innermost callback.
fn give_back_places(m: &M, segment: &Segment) {
    // A handler without a callback of its own has interrupted what uses the place behind them.
    if segment.is_deferring() {
        return;
    }
    let first = segment.first_deferred();
    // SAFETY: it was kept for this segment, which says that it has it.
    let pending = |index: usize| unsafe { m.stack.deferred(first + index) }.is_some();
    let last = (0..segment.deferred()).rev().find(|index| pending(*index));
    segment.set_deferred(last.map_or(0, |last| last + 1), false);
}

fn address_of(m: &M) -> usize {
    ptr::from_ref(m).addr()
}
