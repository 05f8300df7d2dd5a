// SPDX-License-Identifier: MIT OR Apache-2.0
//! In which callback this thread is, and where: asked by nearly every function of needm's.
//!
//! Each answer begins with dropping the callbacks that C has jumped out of (`abandoned.rs`).

use crate::abandoned::{drop_abandoned, drop_to, is_elsewhere};
use crate::arch::needm_sp;
use crate::fibers::{self, raise};
use crate::gate;
use crate::m;
use crate::m::M;
use crate::m::calls::waits;
use crate::needm;
use crate::os;
use crate::segment::Segment;
use crate::state;
use crate::sync::Relaxed;
use crate::thread_record::Thread;
use crate::tls::{INTERRUPTED, Tls};
use core::ptr;

/// This thread's M and innermost segment, if callback code runs on its G here.
pub(crate) fn running_segment(tls: &Tls) -> Option<(&'static M, &'static Segment)> {
    let at = needm_sp();
    let plainly = plainly_at(tls, at);
    if plainly.is_some() {
        return plainly;
    }
    tls.undisturbed(|| {
        drop_abandoned(tls, at);
        let m = needm::current(tls)?;
        let segment = m.segment()?;
        let on_m = segment.gsp.load(Relaxed) == 0 && (m.holds(at) || is_undeclared(tls, m, at));
        on_m.then_some((m, segment))
    })
}

/// The innermost callback and its M, if its code runs at `at`, on its G: then nothing of this thread's was
/// jumped out of. An M with a callback is of the present start of needm.
pub(crate) fn plainly_at(tls: &Tls, at: usize) -> Option<(&'static M, &'static Segment)> {
    let m = tls.m()?;
    Some((m, m.runs_at(at)?))
}

/// Whether C that a callback called has jumped back to it (`longjmp`), and the callback does not
/// count as running yet.
pub(crate) fn is_back_unnoticed() -> bool {
    let Some(m) = Tls::current().m() else { return false };
    if m.holds(needm_sp()) {
        return m.is_inside() && !m.is_running();
    }
    // A fiber's, below that of another one.
    let mut below = core::iter::successors(m.prev_current(), |m| m.prev_current());
    below.any(|m| fibers::has_code_at(m, needm_sp()))
}

/// This thread's M and innermost segment, in a callback or in C that one called.
pub(crate) fn current_segment(tls: &Tls) -> Option<(&'static M, &'static Segment)> {
    current_segment_at(tls, needm_sp())
}

/// The same for a stack pointer `at` of this thread's. Where more hangs on it than that a dead
/// callback is kept for a while, `at` is the entry's into needm: a callback that was jumped out of
/// may have left its call where needm's own frames are now.
pub(crate) fn current_segment_at(tls: &Tls, at: usize) -> Option<(&'static M, &'static Segment)> {
    let plainly = plainly_at(tls, at);
    if plainly.is_some() {
        return plainly;
    }
    tls.undisturbed(|| {
        drop_abandoned(tls, at);
        fibers::go_to(tls, at);
        // Another fiber may have left an M on top of this one's, with no callback on it.
        let (m, segment) = innermost_that_waits(tls)?;
        let in_c = || segment.gsp.load(Relaxed) != 0 && !is_elsewhere(tls, m, segment, at);
        let inside = m.holds(at) || in_c() || is_undeclared(tls, m, at);
        inside.then_some((m, segment))
    })
}

/// Whether `at` is on a stack that only callback code can have switched to, and that the host has
/// not declared (`needm_enter_stack`). No range is guessed. Callback code of `m` runs, as the
/// records say, and `at` is on no stack that is known to be another's: a G, the thread's own
/// stack, a handler stack. Where only one address of a stack is known, that of a call which waits
/// there, `at` must be in another mapping, for which the system is asked.
pub(crate) fn is_undeclared(tls: &Tls, m: &M, at: usize) -> bool {
    let runs = m.segment().is_some_and(|segment| segment.gsp.load(Relaxed) == 0) && m.is_running();
    let Some(thread) = tls.thread().filter(|_| runs) else { return false };
    if thread.ready.holds(at) || os::fault::handler_stack().holds(at) {
        return false;
    }
    // A callback that was jumped out of counts as running until that is noticed.
    let is_over = |segment| {
        let call = m::from_g0(m, segment).call.load(Relaxed) as usize;
        call != 0 && !m.holds(call) && !waits(m, call)
    };
    if m.segment().is_some_and(is_over) {
        return false;
    }
    let Some(mapping) = os::thread::mapping(at) else { return false };
    if mapping.contains(&tls.address()) && os::thread::has_block_on_its_stack() {
        return false;
    }
    let mut held = tls.m();
    while let Some(m) = held {
        let mut segment = m.segment();
        while let Some(inner) = segment {
            if m.stack.holds(at) || mapping.contains(&(inner.call.load(Relaxed) as usize)) {
                return false;
            }
            segment = inner.outer();
        }
        held = m.prev_current();
    }
    true
}

/// This thread's M.
pub(crate) fn current_m() -> Option<&'static M> {
    let tls = Tls::current();
    drop_abandoned(tls, needm_sp());
    fibers::go_to(tls, needm_sp());
    let inside = innermost_that_waits(tls).map(|(m, _)| m);
    inside.or_else(|| needm::current(tls)).filter(|_| state::is_open())
}

/// The callbacks that this thread is inside, those of its handlers included.
pub(crate) fn depth() -> u32 {
    let (tls, at) = (Tls::current(), needm_sp());
    drop_abandoned(tls, at);
    let (mut count, mut held) = (0, needm::current(tls));
    while let Some(m) = held {
        let mut segment = m.segment();
        while let Some(inner) = segment {
            count += u32::from(!is_elsewhere(tls, m, inner, at));
            segment = inner.outer();
        }
        held = m.prev_current();
    }
    count
}

/// Bytes that are left for the innermost callback on its G, or on the further stack that it has
/// continued on; 0 outside.
pub(crate) fn stack_left() -> usize {
    let at = needm_sp();
    let Some((m, segment)) = current_segment(Tls::current()) else { return 0 };
    let in_use_from = if m.holds(at) { at } else { segment.gsp.load(Relaxed) };
    m.bounds_at(in_use_from).map_or(0, |bounds| in_use_from.saturating_sub(bounds.lo))
}

/// Whether a callback may begin on this thread: while needm is closing, only one that C in a
/// callback makes, or a handler or fiber that runs meanwhile, because that callback may need its
/// result to come to its end; and the one for which a thread was spawned. Callbacks that were
/// jumped out of are dropped already.
pub(crate) fn may_begin(tls: &Tls) -> bool {
    !gate::is_closing() || is_any_inside(tls) || tls.thread().is_some_and(Thread::is_admitted)
}

/// Whether this thread is inside a callback.
pub(crate) fn is_inside(tls: &Tls) -> bool {
    drop_abandoned(tls, needm_sp());
    is_any_inside(tls)
}

/// Whether this thread is inside a callback, be it another fiber's.
fn is_any_inside(tls: &Tls) -> bool {
    innermost(tls).is_some()
}

/// The innermost callback of this thread, and its M.
fn innermost(tls: &Tls) -> Option<(&'static M, &'static Segment)> {
    let mut held = core::iter::successors(needm::current(tls), |m| m.prev_current());
    held.find_map(|m| Some((m, m.segment()?)))
}

/// The same without those of fibers that were left for good and are gone: they stay until the thread calls back. Each M
/// below the current one that is looked at costs system calls.
fn innermost_that_waits(tls: &Tls) -> Option<(&'static M, &'static Segment)> {
    let is_gone = |m: &M| tls.m().is_some_and(|top| !ptr::eq(top, m)) && fibers::is_gone(m);
    let mut held = core::iter::successors(needm::current(tls), |m| m.prev_current());
    held.find_map(|m| Some((m, m.segment().filter(|_| !is_gone(m))?)))
}

/// The same for a caller that must not be inside one. So a callback in which the thread is not,
/// and which may go on only if it is that of a fiber, was jumped out of: it is dropped.
pub(crate) fn is_inside_for_sure(tls: &Tls) -> bool {
    // Where the mark is, the host's call of needm begins: further down, in needm's own frames, a callback that
    // was jumped out of may have left its call.
    let at = match tls.inside() & !INTERRUPTED {
        0 => needm_sp(),
        mark => mark,
    };
    let still_inside = || {
        drop_abandoned(tls, at);
        innermost(tls)
    };
    // Again and again, because a handler may leave another one in between.
    while let Some((m, segment)) = tls.undisturbed(still_inside) {
        if tls.has_interrupted_needm() || !is_elsewhere(tls, m, segment, at) {
            return true;
        }
        raise(tls, m);
        drop_to(tls, m, m::from_g0(m, segment));
    }
    false
}
