// SPDX-License-Identifier: MIT OR Apache-2.0
//! Callbacks of several fibers of one thread: which of them may go on, and on which M the next one goes.
//!
//! Each fiber may be in C that a callback has called (`needm_ccall`), and they go on in any order. So
//! their callbacks must not lie on one G, where only the innermost can go on. Nothing says for certain
//! whether C that calls back is on the stack of the callback which waits, or on another fiber's. If it
//! is far from the call, and not both are on the thread's own stack, it takes another M, which costs little.
//! A fiber that goes on makes its M the current one; those of the others stay bound, below it.
//!
//! # Safety
//! Pointers to Ms lead to rows of a table: `needm_stop` unmaps none while the record of the thread that
//! they are bound to is live.
#![allow(unsafe_code)] // pointers to Ms

use crate::m;
use crate::m::M;
use crate::m::calls::waiting;
use crate::needm;
use crate::os;
use crate::pool;
use crate::segment::Segment;
use crate::sync::{AtomicPtr, Relaxed, SeqCst, compiler_fence};
use crate::thread_record::Thread;
use crate::tls::Tls;
use core::iter::successors;
use core::ptr;

/// Whether callbacks are under way on `m`, and no frame waits for any.
pub(crate) fn is_gone(m: &M) -> bool {
    m.segment().is_some() && waiting(m).next().is_none()
}

/// Whether `at` is on a stack of a callback of `m`, which is not plainly the code that runs: the further stacks of a fiber that
/// is gone may be others' by now. Costs system calls on a further stack.
pub(crate) fn has_code_at(m: &M, at: usize) -> bool {
    m.stack.holds(at) || m.holds(at) && !is_gone(m)
}

/// Whether a callback of `m` may go on after code of an M below it: its fiber was left in C, or in the middle of
/// its own code. One that a handler on a signal stack has made does not: the handler comes to its end before
/// the code that it has interrupted.
pub(crate) fn may_go_on(tls: &Tls, m: &M) -> bool {
    let Some(thread) = tls.thread() else { return false };
    let by_a_handler = |call| thread.ready.holds(call) || os::fault::handler_stack().holds(call);
    let mut calls = waiting(m).peekable();
    calls.peek().is_some() && !calls.any(by_a_handler)
}

/// Callback code of `m` runs, which this thread holds: makes it the current M. Those on top were bound for
/// callbacks that were jumped out of, or for those of other fibers, which may go on.
pub(crate) fn make_current(tls: &Tls, m: &M) {
    while let Some(top) = tls.m().filter(|top| !ptr::eq(*top, m)) {
        if top.prev_current().is_none() {
            return;
        }
        if may_go_on(tls, top) {
            return raise(tls, m);
        }
        needm::dropm(tls, top);
    }
}

/// If C at `at` was not called by the innermost callback, but by that of another fiber, which goes on: makes that one's M the
/// current one.
pub(crate) fn go_to(tls: &Tls, at: usize) {
    let current = needm::current(tls).filter(|m| m.prev_current().is_some() && !m.holds(at));
    let Some(m) = current else { return };
    let is_its =
        |segment: &'static Segment| segment.gsp.load(Relaxed) == 0 || is_its_c(tls, m, segment, at);
    if !m.segment().is_some_and(is_its)
        && let Some(other) = whose_c(m, at)
    {
        make_current(tls, other);
    }
}

/// C that calls back from so close below the call of a callback is on the stack of that one.
const CLOSE: usize = 4096;

/// Whether C at `at` is taken for the C that the callback of `segment`, the innermost of `m`, has called.
pub(crate) fn is_its_c(tls: &Tls, m: &M, segment: &Segment, at: usize) -> bool {
    let call = m::g0sp(m, segment);
    if at < call && call - at < CLOSE {
        return true;
    }
    let Some(thread) = tls.thread() else { return true };
    // A handler comes to its end before the code that it has interrupted goes on.
    let by_a_handler = thread.ready.holds(at) || os::fault::handler_stack().holds(at);
    by_a_handler || are_on_own_stack(tls, thread, at, call)
}

fn are_on_own_stack(tls: &Tls, thread: &Thread, one: usize, other: usize) -> bool {
    thread.own_stack_holds(tls, one) && thread.own_stack_holds(tls, other)
}

/// Whether C at `at` runs on the stack on which the callback of `segment` has called it, not on one of its own.
pub(crate) fn is_on_its_stack(tls: &Tls, m: &M, segment: &Segment, at: usize) -> bool {
    let call = m::g0sp(m, segment);
    let handlers = os::fault::handler_stack();
    let are_on_one_stack = |thread: &Thread| {
        let is_handlers = |at| thread.ready.holds(at) || handlers.holds(at);
        is_handlers(at) && is_handlers(call) || are_on_own_stack(tls, thread, at, call)
    };
    at < call && (at + CLOSE > call || tls.thread().is_some_and(are_on_one_stack))
}

/// The M below `top` on which a callback waits that has called the C at `at`.
pub(crate) fn whose_c(top: &M, at: usize) -> Option<&'static M> {
    successors(top.prev_current(), |m| m.prev_current()).find(|m| {
        let segment = m.segment().filter(|inner| inner.gsp.load(Relaxed) != 0);
        segment.is_some_and(|segment| {
            let call = m::g0sp(m, segment);
            at < call && call - at < CLOSE && !is_gone(m)
        })
    })
}

/// Makes `m` the current M, which this thread holds below others. They stay bound to it, below `m`.
pub(crate) fn raise(tls: &Tls, m: &M) {
    let (Some(thread), Some(top)) = (tls.thread(), tls.m()) else { return };
    let own = ptr::from_ref(m).cast_mut();
    let below = |first: Option<&'static M>, own: *mut M, next: fn(&M) -> &AtomicPtr<M>| {
        let after = move |m: &M| {
            // SAFETY: null, or a row of the table of Ms. `needm_stop` unmaps none while the record of the
            // thread that both are bound to is live, as this thread's is.
            unsafe { next(m).load(Relaxed).as_ref() }
        };
        successors(first, move |m| after(m))
            .take_while(|m| pool::is_held_by(m, thread))
            .find(|m| next(m).load(Relaxed) == own)
    };
    let held = thread.held();
    let above_held = below(held, own, |m| &m.prev_held);
    let Some(above) = below(Some(top), own, |m| &m.prev_current) else { return };
    let was_in_transfer = thread.begin_transfer();
    // On the rebind path: the end of its callback is more than a store now.
    pool::keep_off_rebind_path(m);
    if let Some((above, held)) = above_held.zip(held) {
        above.prev_held.store(m.prev_held.load(Relaxed), Relaxed);
        m.prev_held.store(ptr::from_ref(held).cast_mut(), Relaxed);
    }
    above.prev_current.store(m.prev_current.load(Relaxed), Relaxed);
    above.prev_bound_epoch.store(m.prev_bound_epoch.load(Relaxed), Relaxed);
    m.prev_current.store(ptr::from_ref(top).cast_mut(), Relaxed);
    m.prev_bound_epoch.store(needm::epoch_of(thread, top), Relaxed);
    compiler_fence(SeqCst);
    if let Some((_, held)) = above_held.zip(held)
        && let top = ptr::from_ref(held).cast_mut()
        && thread.m.compare_exchange(top, own, Relaxed, Relaxed).is_err()
        && let Some(above) = below(thread.held(), top, |m| &m.prev_held)
    {
        // A handler has left an M on top.
        above.prev_held.store(own, Relaxed);
    }
    if !tls.publish(Some(top), Some(m), needm::epoch_of(thread, m)) {
        // A handler has left an M on top.
        let top = ptr::from_ref(top).cast_mut();
        if let Some(above) = below(tls.m(), top, |m| &m.prev_current) {
            above.prev_current.store(own, Relaxed);
            above.prev_bound_epoch.store(needm::epoch_of(thread, m), Relaxed);
        }
    }
    thread.end_transfer(was_in_transfer);
}
