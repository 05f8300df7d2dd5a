// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a callback ends if a C++ exception, `pthread_exit` or a cancellation unwinds it: the function
//! that the landing pads of `needm_entry` call.
//!
//! The unwinder has taken the frames of the callback away, and goes on at the landing pad
//! (`arch/dwarf.rs`), on the G. There the deferred functions run. Then the callback ends as by a
//! panic, and the unwinding goes on in its caller. An exception out of C that the callback
//! called comes to the landing pad of `needm_on_g0` first (`ccall.rs`).
//!
//! # Safety
//! Assembly passes the call of its own frame, which is live until the unwinding goes on.
#![allow(unsafe_code)] // the call of a frame

use crate::call::Call;
use crate::callback::exit;
use crate::callback::inside;
use crate::callback::inside::Mark;
use crate::callback::panic::finish;
use crate::layout;
use crate::m::M;
use crate::segment_end::forget_inside;
use crate::sync::Relaxed;
use crate::tls::Tls;
use core::ffi::{c_int, c_void};
use core::ptr;

crate::arch::upcalls! {
    "needm_unwound" => unwound,
    "needm_inside" => inside_for_personality,
}

/// From the personality: runs `work(arg)` inside needm. It may be on the G, and there an interrupt ends the
/// callback afterwards.
extern "C" fn inside_for_personality(work: extern "C" fn(*mut c_void), arg: *mut c_void) {
    inside::inside(|_| work(arg));
}

/// From `needm_entry`'s landing pad, on the G: the callback of `call` has been unwound. It is ended, and
/// `needm_unwind` goes on with the unwinding in its caller. Only if needm has taken the callback for
/// over before, because C had jumped out of it, this returns: `call`, below which the caller's stack
/// is free.
extern "C" fn unwound(call: *mut Call, exception: usize, resume: usize) -> usize {
    let (tls, mark) = (Tls::current(), Mark::new());
    let before = inside::begin(tls, &mark);
    let holder = holder(tls, call);
    // SAFETY: the frame that has the call waits for this function, and nothing else uses it. Its
    // function has been called already, and `out` is next read where the unwinding goes on. First the word by which a frame that waits is known
    // (`fibers.rs`), because the last takes the place of another such word.
    unsafe {
        (&raw mut (*call).size).write_volatile(holder.map_or(0, |m| ptr::from_ref(m) as usize));
        (&raw mut (*call).function).cast::<usize>().write_volatile(exception);
        (&raw mut (*call).out).write_volatile(resume);
    }
    let held = holder.and_then(|m| {
        let segment = exit::drop_inside(tls, m, call)?;
        exit::run_deferred(m, segment);
        Some((m, segment))
    });
    let Some((m, segment)) = held else {
        inside::end(tls, before);
        return call as usize;
    };
    forget_inside(m, segment);
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // it is 1
    finish(m, segment, layout::call::UNWOUND as c_int)
}

/// Which of this thread's Ms runs the callback that this call has begun.
fn holder(tls: &Tls, call: *mut Call) -> Option<&'static M> {
    let mut held = tls.m();
    while let Some(m) = held {
        let mut segment = m.segment();
        while let Some(inner) = segment {
            if inner.call.load(Relaxed) == call {
                return Some(m);
            }
            segment = inner.outer();
        }
        held = m.prev_current();
    }
    None
}
