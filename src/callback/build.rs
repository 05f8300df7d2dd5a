// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds a callback's segment, on the slow path: the step by which the callback is under way.
//!
//! # Safety
//! The caller of a callback passes a frame that may be read, and waits for the callback's end.
#![allow(unsafe_code)] // the caller's frame

use crate::call::Call;
use crate::m::M;
use crate::running;
use crate::segment::{BUILT, Segment, WAS_RUNNING};
use crate::segment_end::drop_segment;
use crate::sync::{Relaxed, SeqCst, compiler_fence};
use crate::tls::Tls;
use core::ptr;

/// Makes `segment` the innermost one, inside `outer`, for `call`, and copies the caller's frame. `part`: the
/// segment, where its part of the G begins, and where the thread is inside needm around it.
///
/// A handler that calls back before `m.seg` leads here uses this segment too, and leaves its own
/// call in it; or, if C has jumped out of its callback, the callback; or the M not running, if it was refused
/// at the gate. What is left is dropped. The M counts as running as before, and the answer is false.
pub(crate) fn build(
    call: &mut Call,
    m: &M,
    part: (&Segment, usize, usize),
    outer: Option<&Segment>,
    flags: usize,
    hold: bool,
) -> bool {
    let (segment, at, around) = part;
    let own = ptr::from_mut(call);
    let outer = outer.map_or(ptr::null_mut(), |outer| ptr::from_ref(outer).cast_mut());
    let fill = || {
        let before = m.runs_in(outer)?;
        segment.clear(own, outer);
        segment.at.store(at, Relaxed);
        segment.inside.store(around, Relaxed);
        segment.flags.store(flags | BUILT, Relaxed);
        segment.size.store(call.size, Relaxed);
        compiler_fence(SeqCst);
        m.begin_segment(before, segment).then_some(())?;
        compiler_fence(SeqCst);
        // From here on a handler's callback goes elsewhere, and the frame can be copied.
        if segment.call.load(Relaxed) != own {
            m.set_segment(outer, true);
            return None;
        }
        Some(())
    };
    if fill().is_none() {
        build_again(m, outer, flags & WAS_RUNNING != 0);
        return false;
    }
    // Before signals are blocked: the caller's frame may not be there, and that is a fault of C's.
    if call.size != 0 {
        // SAFETY: the caller passes `size` bytes at `frame`; the G's stack has as many free from
        // `arg` upwards, in the part of this callback.
        unsafe { ptr::copy_nonoverlapping(call.frame, call.arg, call.size) };
    }
    if hold {
        segment.kept.hold();
    } else {
        unblock_faults(segment);
    }
    true
}

/// After a handler's callback in the middle of [`build`]: drops what it may have left inside `outer`, and
/// passes the gate again if callback code of the M's ran before.
#[cold]
#[inline(never)]
fn build_again(m: &M, outer: *const Segment, was_running: bool) {
    while let Some(inner) = m.segment().filter(|inner| !ptr::eq(*inner, outer)) {
        drop_segment(m, inner);
    }
    running::leave(m);
    if was_running {
        running::enter(m);
    }
}

/// Last before the callback of `segment`: if this thread has blocked faults, they are unblocked.
pub(crate) fn unblock_faults(segment: &Segment) {
    if Tls::current().thread().is_some_and(|thread| thread.ready.blocks_faults()) {
        segment.kept.unblock_faults();
    }
}
