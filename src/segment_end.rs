// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a segment: what its callback has changed is put back, and the segment around it is the
//! innermost one.
//!
//! A handler may call back between any two steps, inside the segment that is ending, and C may jump out of
//! that callback to the handler. So a segment is taken off by one compare-and-swap, and what was left inside
//! it is ended first.

use crate::gate;
use crate::m;
use crate::m::M;
use crate::os;
use crate::part::Bounds;
use crate::pool;
use crate::segment::{POSTPONED, Segment};
use crate::sync::Relaxed;
use crate::tls::Tls;
use crate::tools;
use core::ptr;

/// Drops the innermost segment, which was jumped out of, and what is deferred in it.
pub(crate) fn drop_segment(m: &M, segment: &Segment) {
    take_off(m, segment, true, true);
}

/// The callback of this segment was jumped out of.
fn note_jumped_out(m: &M, segment: &Segment) {
    forget_inside(m, segment);
    gate::unwound(segment);
    if let Some(thread) = Tls::current().thread() {
        segment.kept.leave(&thread.ready);
    }
}

/// Where the code of this segment was inside needm, it is no longer: it was jumped out of, or is
/// unwound.
pub(crate) fn forget_inside(m: &M, segment: &Segment) {
    let tls = Tls::current();
    let inside = tls.inside();
    let top = m.position(segment);
    let above = |stack: Bounds| stack.holds(inside) && stack.holds(top) && inside <= top;
    let on_its_part = m.parts().any(|part| part.belongs_to(segment) && part.bounds().holds(inside));
    let on_its_reserve = m.is_on_its_reserve(segment, inside);
    if inside != 0 && (on_its_part || on_its_reserve || above(m.bounds_or_g(top))) {
        tls.set_inside(segment.around_it());
    }
}

/// Drops the innermost segment, and what is deferred in it. `unwound`: its callback did not
/// return, so frames of it may be left on the G.
pub(crate) fn pop(m: &M, segment: &Segment, unwound: bool) {
    take_off(m, segment, unwound, false);
}

/// `left`: the callback of `segment` was jumped out of. Those inside it were.
fn take_off(m: &M, segment: &Segment, unwound: bool, left: bool) {
    while let Some(inner) = m.segment() {
        let is_last = ptr::eq(inner, segment);
        if !is_last && !m.has(segment) {
            // A handler has found that it was jumped out of, and has taken it off.
            return;
        }
        let call = inner.call.load(Relaxed);
        if left || !is_last {
            note_jumped_out(m, inner);
        }
        put_back(m, inner, unwound || !is_last);
        if !m.end_segment(inner) {
            continue;
        }
        if inner.call.load(Relaxed) != call {
            // Or it has left another callback in the same record, and that was taken off.
            note_jumped_out(m, inner);
            put_back(m, inner, true);
        }
        if is_last {
            return;
        }
    }
}

/// Puts back what the callback of a segment has changed, and forgets what is deferred in it. A second time
/// there is nothing left to do.
fn put_back(m: &M, segment: &Segment, unwound: bool) {
    let position = m.position(segment);
    tools::exited(
        m.bounds_or_g(position).lo..position,
        &m.fiber,
        (&segment.around, &m::from_g0(m, segment).around),
        segment.outer().is_some(),
        unwound,
    );
    m.drop_parts(segment);
    segment.set_deferred(0, false);
    segment.panic.store(ptr::null_mut(), Relaxed);
    segment.gsp.store(0, Relaxed);
    segment.size.store(0, Relaxed);
    segment.kept.put_back();
    if segment.making.load(Relaxed) != 0 {
        pool::EXTRA.give_up(&segment.making);
    }
    if segment.is(POSTPONED) {
        os::interrupt::admit();
    }
    segment.flags.store(0, Relaxed);
    segment.request.forget();
}
