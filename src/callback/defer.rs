// SPDX-License-Identifier: MIT OR Apache-2.0
//! Deferred functions: kept for the end of the innermost callback, and run there.
//!
//! # Safety
//! The code that defers a function says that it may be called with its argument until the callback
//! is over.
#![allow(unsafe_code)] // functions of the host's

use crate::call::Function;
use crate::error::Error;
use crate::m::M;
use crate::reconcile;
use crate::segment::ENDING;
use crate::stack::Deferred;
use crate::sync::Relaxed;
use crate::tls::Tls;
use core::ffi::c_void;

/// Runs what is deferred in the innermost segment, whose callback is ending. If that is to be
/// interrupted, stops there, and returns the value of the request: no interrupt ends a deferred
/// function.
pub(crate) fn run_deferred(m: &M) -> Option<*mut c_void> {
    let segment = m.segment()?;
    segment.set(ENDING);
    loop {
        if segment.request.is_posted()
            && segment.recovers()
            && let Some(value) = segment.request.take()
        {
            return Some(value);
        }
        let count = segment.deferred.load(Relaxed).checked_sub(1)?;
        segment.deferred.store(count, Relaxed);
        let deferred = m.stack.pop_deferred()?;
        let tls = Tls::current();
        let inside = tls.inside();
        // It may jump away.
        tls.set_inside(segment.around_it());
        // SAFETY: it may be called until the callback is over, and the callback is not.
        unsafe { (deferred.function)(deferred.arg) };
        tls.set_inside(inside);
    }
}

/// Defers `function(arg)` to the end of the innermost callback.
pub(crate) fn defer(function: Function, arg: *mut c_void) -> Result<(), Error> {
    let tls = Tls::current();
    let (m, segment) = reconcile::current_segment(tls).ok_or(Error::Invalid)?;
    m.set_needs_cleanup();
    m.stack.push_deferred(Deferred { function, arg })?;
    segment.deferred.store(segment.deferred.load(Relaxed) + 1, Relaxed);
    Ok(())
}
