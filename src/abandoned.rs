// SPDX-License-Identifier: MIT OR Apache-2.0
//! Drops the callbacks that C has jumped out of (`longjmp`), also those of a signal
//! handler, so that a thread's records agree with where it is.
//!
//! A callback is dropped only if it is certain that nothing of it goes on. Where stacks that are
//! not needm's begin and end is not known, and so the place of a caller says little: it may be a
//! fiber, on a stack of any size beside or inside another one. But the frame of `needm_entry` that
//! waits for the callback is there as long as the callback may go on, with the M in it. Once that is
//! overwritten or unmapped, the callback is over. Until then its record stays. That costs part of a
//! G, and its thread's callbacks the fast path; so of those that were made further down on the
//! thread's own stack, where fibers are rare and jumps are not, only some stay.
//!
//! A handler that has interrupted needm's code drops none: that code may be about to use it, most of all
//! to begin a callback inside one that was jumped out of and is not overwritten yet.

use crate::arch::needm_sp;
use crate::call::Call;
use crate::fibers::{self, has_code_at, may_go_on};
use crate::m;
use crate::m::calls::waits;
use crate::m::{M, MS};
use crate::needm;
use crate::os;
use crate::part::{Bounds, Part};
use crate::pool;
use crate::running;
use crate::segment::{BOUND_HERE, IN_DOUBT, Segment, USED_RESERVE};
use crate::segment_end::drop_segment;
use crate::state;
use crate::sync::Relaxed;
use crate::thread_record::Thread;
use crate::tls::Tls;
use core::ptr;

/// A caller less than this below the point where C was called is in that C: no system call is
/// needed to find out.
const NEAR: usize = 64 * 1024;

/// Whether this thread is not in the callback of `segment` at `at`, although that may go on: it was
/// made further down on the thread's own stack. It was jumped out of, or it is that of a fiber whose
/// stack is a part of the thread's own.
pub(crate) fn is_elsewhere(tls: &Tls, m: &M, segment: &Segment, at: usize) -> bool {
    let call = m::from_g0(m, segment).call.load(Relaxed) as usize;
    if call == 0 || call >= at || m.holds(at) {
        return false;
    }
    let Some(thread) = tls.thread() else { return false };
    let handlers = os::fault::handler_stack();
    let own = |address| {
        thread.own_stack_holds(tls, address)
            && !handlers.holds(address)
            && !thread.ready.holds(address)
    };
    own(at) && own(call)
}

/// Drops the callbacks that were jumped out of (`longjmp`), and unbinds the Ms that were bound
/// for them.
///
/// `at` is the caller's stack pointer. If it is on a G, it decides exactly: segments below it are
/// abandoned. If it is elsewhere, a segment is abandoned if its call is where `at` is, or on the
/// handler stack while no handler runs, or if the frame with the call is gone.
pub(crate) fn drop_abandoned(tls: &Tls, at: usize) {
    // A G holds only its own thread's stack pointers, so this M needs no other check.
    let ends_here = |m: &M| m.is_idle() && m.prev_current().is_none() || m.runs_at(at).is_some();
    if tls.m().is_none_or(ends_here) {
        return;
    }
    while let Some(m) = needm::current(tls) {
        let Some(segment) = m.segment() else {
            // The M is idle, or about to be used by a callback that this handler has interrupted.
            // But if `at` is on the G of an earlier M, the code that bound this one was jumped
            // out of.
            if !prev_g_holds(m, at) {
                return;
            }
            needm::dropm(tls, m);
            continue;
        };
        if let Some(stack) = m.bounds_at(at).filter(|_| has_code_at(m, at)) {
            drop_abandoned_on(m, stack, at);
            return;
        }
        let under = prev_g_holds(m, at);
        if under && may_go_on(tls, m) {
            // Another fiber's.
            if let Some(holder) = holder(m, at) {
                fibers::make_current(tls, holder);
                continue;
            }
        }
        if !under && tls.has_interrupted_needm() {
            return;
        }
        let gsp = segment.gsp.load(Relaxed);
        if !under && gsp != 0 {
            let g0sp = m::g0sp(m, segment);
            if at < g0sp && g0sp - at < NEAR {
                return;
            }
        }
        let Some(dead) = (if under { last_segment(m) } else { outermost_abandoned(tls, m, at) })
        else {
            if m.is_running() && is_elsewhere(tls, m, segment, at) {
                // No stopper waits for it. If it goes on, this is noticed as after a jump from C.
                running::leave(m);
            }
            let by_a_handler = || {
                os::fault::handler_stack().holds(at)
                    || tls.thread().is_some_and(|thread| thread.ready.holds(at))
            };
            if gsp != 0 && !m.stack.holds(gsp) && at >= m::g0sp(m, segment) && !by_a_handler() {
                // The host frees that further stack if this was a jump.
                segment.set(IN_DOUBT);
            }
            return;
        };
        // Where this is the code of an M below, one on top that stays bound to the thread comes off, too.
        if !drop_to(tls, m, dead) && !under {
            return;
        }
    }
}

/// Drops the segments of `m` from the innermost to `last`. Whether that has unbound `m`.
pub(crate) fn drop_to(tls: &Tls, m: &M, last: &Segment) -> bool {
    let mut bound_here = false;
    // The segment says that its end unbinds the M.
    let change = needm::begin_change(tls);
    while let Some(inner) = m.segment() {
        bound_here |= inner.is(BOUND_HERE);
        let used_reserve = inner.is(USED_RESERVE);
        drop_segment(m, inner);
        m.close_reserve(inner, used_reserve);
        if ptr::eq(inner, last) {
            break;
        }
    }
    if m.segment().is_none() {
        m.clean_up();
    }
    let outside = m.segment().is_none_or(|segment| segment.gsp.load(Relaxed) != 0);
    // As at the end of a callback: `callback/exit.rs`.
    let unbinds = m.segment().is_none() && bound_here && pool::unbinds_on_exit(m);
    if outside {
        running::leave(m);
    }
    if unbinds {
        needm::dropm(tls, m);
    } else if bound_here && m.segment().is_none() && tls.m().is_some_and(|now| ptr::eq(now, m)) {
        // It was bound when its thread was not allowed the fast path, and has been attached since.
        needm::allow_fast_path(tls, m);
    }
    needm::end_change(tls, change, None);
    unbinds
}

/// For an `at` on the M's own G, or on a further stack of its callbacks: drops the segments below
/// `at` on that stack. Those on other stacks may be callbacks of coroutines that go on later. If the
/// thread was in C that one of the callbacks called, that C was jumped out of, and callback code
/// runs again.
fn drop_abandoned_on(m: &M, stack: Bounds, at: usize) {
    let is_below = |address| address < at && stack.holds(address);
    while let Some(inner) = m.segment().filter(|inner| is_dead(m, inner, is_below)) {
        drop_segment(m, inner);
    }
    if let Some(segment) = m.segment() {
        let gsp = segment.gsp.load(Relaxed);
        if at > gsp || !stack.holds(gsp) {
            if !m.is_running() {
                running::enter(m);
            }
            segment.gsp.store(0, Relaxed);
        }
    }
}

/// Whether `innermost` was jumped out of: it, or a callback around it, begins where `is_below` says, and all inside that do,
/// too, or on further stacks which it, or one inside it, has continued on. A handler may leave others inside it meanwhile.
fn is_dead(m: &M, innermost: &'static Segment, is_below: impl Fn(usize) -> bool) -> bool {
    let chain = || core::iter::successors(Some(innermost), |inner| inner.outer());
    let up_to = |last: &'static Segment| {
        let mut more = true;
        chain().take_while(move |inner| core::mem::replace(&mut more, !ptr::eq(*inner, last)))
    };
    let goes_with = |inner: &Segment, last: &'static Segment| {
        let begins_at = m.position(inner);
        let mut parts = m.parts().filter(|part| part.bounds().holds(begins_at)).peekable();
        is_below(begins_at)
            || parts.peek().is_some()
                && parts.all(|part| up_to(last).any(|dead| part.belongs_to(dead)))
    };
    chain()
        .any(|last| is_below(m.position(last)) && up_to(last).all(|inner| goes_with(inner, last)))
}

/// Whether `at` is on the G of an M that was current before `m`.
fn prev_g_holds(m: &M, at: usize) -> bool {
    holder(m, at).is_some()
}

/// The M that was current before `m`, and on whose G, or further stack, `at` is.
fn holder(m: &M, at: usize) -> Option<&'static M> {
    core::iter::successors(m.prev_current(), |m| m.prev_current()).find(|m| has_code_at(m, at))
}

/// Unbinds one of the `most` Ms below the current one that was bound for a fiber's callback, if that is
/// over: its fiber was left and is gone. Each that is looked at costs system calls.
pub(crate) fn drop_gone_fiber(tls: &Tls, most: usize) {
    if tls.has_interrupted_needm() {
        return;
    }
    let below = tls.m().and_then(M::prev_current);
    let gone =
        core::iter::successors(below, |m| m.prev_current()).take(most).find(|m| fibers::is_gone(m));
    let Some((m, last)) = gone.and_then(|m| Some((m, last_segment(m)?))) else { return };
    fibers::raise(tls, m);
    if tls.m().is_some_and(|current| ptr::eq(current, m)) && !drop_to(tls, m, last) {
        needm::dropm(tls, m);
    }
}

fn last_segment(m: &M) -> Option<&'static Segment> {
    let mut segment = m.segment()?;
    while let Some(outer) = segment.outer() {
        segment = outer;
    }
    Some(segment)
}

/// How far a handler's own frames, and those of what it calls, are taken to reach, in bytes.
const FAR: usize = 1 << 18;

/// Whether this thread is in a handler, or in a callback that one has made. A handler on the stack of the code that it has
/// interrupted, and which blocks no signal, is not seen.
pub(crate) fn is_in_a_handler(tls: &Tls) -> bool {
    let stack = os::fault::handler_stack();
    let on_handler_stack =
        |at| stack.holds(at) || tls.thread().is_some_and(|thread| thread.ready.holds(at));
    let is_handlers = |at: usize| {
        on_handler_stack(at) || os::interrupt::a_handler_seems_to_run(at..at.saturating_add(FAR))
    };
    let ms = core::iter::successors(needm::current(tls), |m| m.prev_current());
    let mut calls = ms.flat_map(|m| {
        let callbacks = core::iter::successors(m.segment(), |inner| inner.outer());
        let calls = callbacks.map(|inner| inner.call.load(Relaxed) as usize);
        // Of a handler that was jumped out of the frame is gone.
        calls.filter(move |call| m.holds(*call) || waits(m, *call))
    });
    stack.in_use() || is_handlers(needm_sp()) || calls.any(is_handlers)
}

/// If a change of this thread's was jumped out of, unbinds what it has left bound. The caller has not begun
/// one.
#[inline]
pub(crate) fn undo_left_change(tls: &Tls) {
    if let Some(thread) = tls.thread().filter(|thread| thread.is_in_change()) {
        undo_change(tls, thread);
    }
}

#[cold]
#[inline(never)]
fn undo_change(tls: &Tls, thread: &Thread) {
    if tls.has_interrupted_needm() || !thread.is_live_and_stays() || !state::is_open() {
        return;
    }
    // The rebind fast path says nothing of itself. A handler may have interrupted it, in its beginning before it was
    // forbidden, or at the end of a callback that had begun by then: its M looks like one that was left.
    if is_in_a_handler(tls) {
        return;
    }
    // Until the end the change is not over: if this is jumped out of, a later call goes on with it. needm is
    // not stopped meanwhile.
    let _ = thread.begin_transfer();
    for m in MS.iter().filter(|m| pool::is_held_by(m, thread)) {
        let is_published =
            core::iter::successors(tls.m(), |m| m.prev_current()).any(|one| ptr::eq(one, m));
        if !is_published {
            while let Some(left) = m.segment() {
                drop_segment(m, left);
            }
            thread.return_one(m);
        }
    }
    // The end of a callback forgets that it is to unbind its M, just before it is over.
    for m in core::iter::successors(tls.m(), |m| m.prev_current()) {
        if let Some(outermost) = last_segment(m).filter(|_| pool::unbinds_on_exit(m)) {
            outermost.set(BOUND_HERE);
        }
    }
    // No callback is on these.
    while let Some(m) = needm::current(tls).filter(|m| m.segment().is_none()) {
        if m.is_running() {
            running::leave(m);
        }
        if !pool::unbinds_on_exit(m) {
            break;
        }
        needm::dropm(tls, m);
    }
    thread.end_transfer(0);
}

/// So many callbacks that may have been jumped out of are kept, not more: they would fill the G.
const MOST_UNCERTAIN: usize = 8;

/// The outermost segment that was jumped out of, for an `at` that is not on the M's G.
fn outermost_abandoned(tls: &Tls, m: &M, at: usize) -> Option<&'static Segment> {
    let stack = os::fault::handler_stack();
    let handling = stack.in_use();
    let own = |address| {
        !stack.holds(address)
            && tls.thread().is_some_and(|thread| thread.own_stack_holds(tls, address))
    };
    // The handler stack in effect may be the part that is free below a handler.
    let is_known = |address| tls.thread().is_some_and(|thread| thread.ready.holds(address));
    let segments = || core::iter::successors(m.segment(), |inner| inner.outer());
    let call_of = |inner: &Segment| inner.call.load(Relaxed) as usize;
    // Of a fiber's on a part of the thread's own stack, or jumped out of.
    let is_uncertain =
        |call: usize| call != 0 && call < at && !m.holds(call) && own(call) && own(at);
    let too_many = segments().filter(|inner| is_uncertain(call_of(inner))).nth(MOST_UNCERTAIN);
    // This callback, or one that it has made on its stacks, has entered a further stack, which the host frees if it has
    // jumped out. A fiber on the thread's own stack that waits in C has to be on a stack of its own then.
    let has_further = |inner: &Segment| {
        let is_its = |part: &Part| {
            let mut made = segments().filter(|made| ptr::eq(m::from_g0(m, made), inner));
            made.any(|made| part.belongs_to(made))
        };
        m.parts().any(is_its)
    };
    let is_over = |inner: &Segment| {
        let call = call_of(inner);
        let forgets = || too_many.is_some() || has_further(inner);
        let here = at.abs_diff(call) < size_of::<Call>();
        let handler_is_over = || stack.holds(call) && !handling || is_known(call) && own(at);
        let over = || here || handler_is_over() || !waits(m, call);
        call != 0 && !m.holds(call) && (over() || is_uncertain(call) && forgets())
    };
    // Callback code has made it: it is over if the callback around it is.
    let is_part_of_outer = |call: usize| call == 0 || m.bounds_at(call).is_some();
    let may_be_over = |call| is_part_of_outer(call) || is_uncertain(call);
    // One that goes on may be inside one that is over: it was made while the frame of that one, which
    // was jumped out of already, was still there. So the search ends at the first that may go on.
    segments()
        .map(|inner| (inner, is_over(inner)))
        .take_while(|(inner, over)| *over || may_be_over(call_of(inner)))
        .filter_map(|(inner, over)| over.then_some(inner))
        .last()
}

/// The code of `segment` goes on, on its G: drops the callbacks inside it, which C has jumped out of, and has
/// the M count as running.
pub(crate) fn go_on(m: &M, segment: &Segment) {
    // Asks for it, which notes the call of a fast path: what `segment` is used for from here on needs that.
    if m.segment().is_none_or(|inner| !ptr::eq(inner, segment)) {
        drop_inside(m, segment);
    }
    if !m.is_running() {
        running::enter(m);
    }
}

/// Drops the callbacks inside `segment`, if that is one of `m` still.
#[cold]
fn drop_inside(m: &M, segment: &Segment) {
    // Asked of the one that was read: a handler may leave another one on top of `segment` in between.
    let is_inside = |inner: &&Segment| !ptr::eq(*inner, segment) && m.has(segment);
    while let Some(inner) = m.segment().filter(is_inside) {
        drop_segment(m, inner);
    }
}
