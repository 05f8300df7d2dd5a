// SPDX-License-Identifier: MIT OR Apache-2.0
//! Deferred functions: kept for the end of the innermost callback, and run there.
//!
//! They are kept on the G, one after another, those of inner callbacks behind those of outer ones. A handler
//! may call back and defer at any point here, and may jump out of here: a number is taken before its place
//! is written, and given back after that was read.
//!
//! # Safety
//! The code that defers a function says that it may be called with its argument until the callback
//! is over. As many have been kept for a segment, from its first place on, as it says.
#![allow(unsafe_code)] // functions of the host's

use crate::abandoned;
use crate::call::{Function, PanicInfo};
use crate::error::Error;
use crate::m::M;
use crate::m::calls::info_of;
use crate::reconcile;
use crate::segment::{ENDING, Segment};
use crate::stack::Deferred;
pub(crate) use crate::stack::NO_RECORD;
use crate::sync::Relaxed;
use crate::tls::Tls;
use core::ffi::c_void;
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

/// Defers `function(arg)` to the end of the innermost callback, if that is the one whose caller waits with `info`, or is
/// inside it: what the function uses may be gone when another fiber's ends.
pub(crate) fn defer_within(
    info: *const PanicInfo,
    function: Function,
    arg: *mut c_void,
) -> Result<(), Error> {
    let (_, innermost) = reconcile::current_segment(Tls::current()).ok_or(Error::Invalid)?;
    // SAFETY: the call is in a frame that waits for this callback.
    let is_its = ptr::eq(unsafe { (*innermost.call.load(Relaxed)).info }, info);
    let around = || core::iter::successors(innermost.outer(), |inner| inner.outer());
    let is_around = |outer: &Segment| info_of(outer.call.load(Relaxed) as usize) == info.addr();
    if !is_its && !around().any(is_around) {
        return Err(Error::Invalid);
    }
    defer(function, arg, NO_RECORD).map(drop)
}

/// Defers `function(arg)` to the end of the innermost callback. `record`: the address of the host's record, by
/// which it can be taken back (`take_back.rs`), or [`NO_RECORD`]. Where it is kept: on which M, and its number
/// there.
pub(crate) fn defer(
    function: Function,
    arg: *mut c_void,
    record: usize,
) -> Result<(&'static M, usize), Error> {
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
    kept.map(|()| (m, index))
}
