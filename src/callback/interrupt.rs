// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts: ending another thread's callback.
//!
//! [`ask`] posts a request in the callback's segment, and interrupts the thread. The rest is for
//! that thread to do: its handler ends the callback if the code that was interrupted is the
//! callback's own. Else the request stays where it is:
//!
//! | the thread is | what looks again |
//! | --- | --- |
//! | on the G, inside needm (`inside.rs`) | the function of needm's, at its end |
//! | in a deferred function | needm, when it returns |
//! | in C that the callback called | `needm_ccall`, back on the G |
//! | on the way to the G, in needm | `needm_on_g_prologue`: [`Segment::look_on_g`] |
//! | in `needm_entry`, or about to be | nothing: the callback ends there, as at its first instruction or its last |
//! | in a handler that has interrupted the callback or `needm_entry` | the handler of the interrupt, once more, when that handler returns: [`AFTER_HANDLER`] |
//! | in a callback of such a handler, on another M | `dropm`, which then is in that handler |
//! | on a stack that needm does not know | needm, when the thread calls it |
//!
//! # Which callback
//!
//! A request is for the callback that was innermost when it was posted, and never for a later one,
//! although the fast path has no step in which it would notice a request. [`ask`] posts, then keeps
//! the M off the fast paths (`M::keep_off_fast_paths`), runs the asymmetric barrier, and only then
//! looks whether a callback is under way. If one is, its thread has not yet got to the end
//! of it, and what it does afterwards sees the M kept off: before another callback begins there, the
//! slow path forgets the request. If none is, the request is taken back.
//!
//! # Safety
//! A record of a thread, and an M, are rows of tables that stay mapped while needm is open.
#![allow(unsafe_code)] // what a handler is given

use crate::abandoned;
use crate::arch::{CALL_ROOM, is_in_entry, needm_sp};
use crate::barrier;
use crate::callback::fault::place_interrupt;
use crate::callback::mark::{self, Mark};
use crate::callback::panic::{forget_left, interrupted, raise};
use crate::error::Error;
use crate::m::M;
use crate::os;
use crate::os::interrupt::{AFTER_HANDLER, Interrupted, Look};
use crate::part::{Bounds, Part};
use crate::pool;
use crate::request::Standing;
use crate::running;
use crate::segment::{BUILT, ENDING, POSTPONED, Segment};
use crate::state;
use crate::sync::Relaxed;
use crate::thread::counts::while_open;
use crate::tls::{INTERRUPTED, Tls, seal_of};
use core::ffi::c_void;
use core::ops::Range;
use core::ptr;

crate::arch::upcalls! {
    "needm_on_interrupt" => on_interrupt,
    "needm_has_request" => has_request,
}

/// Asks that the innermost callback of `m` be ended with `value`. From any thread, and from
/// handlers.
pub(crate) fn ask(m: &M, value: *mut c_void) -> Result<(), Error> {
    while_open(|| ask_while_open(m, value)).unwrap_or(Err(Error::NotStarted))
}

fn ask_while_open(m: &M, value: *mut c_void) -> Result<(), Error> {
    if !os::interrupt::EXIST || !state::settings().handles_signals() || !pool::is_ready(m) {
        return Err(Error::Invalid);
    }
    let mut shared = false;
    while let Some(segment) = m.innermost() {
        let posted = segment.request.post(value);
        shared |= posted.shared;
        m.keep_off_fast_paths();
        pool::keep_off_rebind_path(m);
        barrier::heavy_barrier();
        match segment.request.standing(posted) {
            // Its callback was over; but another one may be under way now.
            Standing::Forgotten => continue,
            Standing::OutOfHand => return Ok(()),
            Standing::Posted => {}
        }
        if m.is_under_way(segment) {
            if !(m.is_kept_off_fast_paths() && pool::is_kept_off_rebind_path(m)) {
                // The callback began in between: its thread may have undone it before.
                if segment.request.take_back(posted) {
                    continue;
                }
                return Ok(());
            }
            let look = |pc, sp| look(m, pc, sp);
            if pool::with_holder(m, |thread| os::interrupt::send(&thread.notice, look)) {
                return Ok(());
            }
            // Its thread has exited.
            let taken_back = segment.request.take_back(posted);
            return if taken_back && !shared { Err(Error::Invalid) } else { Ok(()) };
        }
        if !segment.request.take_back(posted)
            && segment.request.standing(posted) == Standing::OutOfHand
        {
            return Ok(());
        }
    }
    if shared { Ok(()) } else { Err(Error::Invalid) }
}

/// What the thread of `m`, which is suspended, is at: as [`on_interrupt`] would find it there.
fn look(m: &M, pc: usize, sp: usize) -> Look {
    let Some(segment) = m.segment() else { return Look::Enough };
    if !segment.request.is_posted() || segment.is(ENDING) {
        return Look::Enough;
    }
    if let Some(stack) = m.bounds_at(sp) {
        return if sp >= stack.lo + os::interrupt::ROOM { Look::Run } else { Look::Retry };
    }
    if segment.gsp.load(Relaxed) != 0 {
        return Look::Enough;
    }
    if is_in_entry(pc) || !segment.is(BUILT) {
        return Look::Retry;
    }
    segment.look_on_g();
    Look::Enough
}

/// From the system's handler: whether a callback of this thread is to be interrupted.
extern "C" fn has_request() -> bool {
    let mut m = Tls::current().m();
    while let Some(current) = m {
        let mut segment = current.segment();
        while let Some(inner) = segment {
            if inner.request.is_posted() {
                return true;
            }
            segment = inner.outer();
        }
        m = current.prev_current();
    }
    false
}

/// From the system's handler (`os/terms.rs`): this thread was interrupted.
extern "C" fn on_interrupt(at: *const Interrupted) -> usize {
    // SAFETY: the handler has it on its stack until this returns.
    let at = unsafe { &*at };
    let tls = Tls::current();
    let mut m = tls.m();
    while let Some(current) = m {
        if current.segment().is_some() && current.holds(at.sp) {
            return on_g(tls, current, at);
        }
        m = current.prev_current();
    }
    let asked = tls.m().and_then(|m| Some((m, m.segment()?)));
    let Some((m, segment)) = asked.filter(|(_, segment)| segment.request.is_posted()) else {
        return 0;
    };
    if segment.is(ENDING) || segment.gsp.load(Relaxed) != 0 {
        return 0;
    }
    if at.on_handler_stack || tls.thread().is_some_and(|thread| thread.ready.holds(at.sp)) {
        segment.set(POSTPONED);
        return AFTER_HANDLER;
    }
    // A handler that has used the segment may have left another call in it.
    let call = segment.call.load(Relaxed) as usize;
    let at_call = |sp: usize| (0..=CALL_ROOM).contains(&call.wrapping_sub(sp));
    let on_the_way = |pc, sp| is_in_entry(pc) && at_call(sp);
    if on_the_way(at.pc, at.sp) && segment.pending() == 0 {
        return end(m, segment, at, start_of(m, segment));
    }
    // A handler on the caller's stack?
    if os::interrupt::a_handler_interrupted(at.sp..call, on_the_way) {
        segment.set(POSTPONED);
        return AFTER_HANDLER;
    }
    if segment.is(BUILT) {
        segment.look_on_g();
    }
    0
}

/// The code that was interrupted is on the G of `m`.
fn on_g(tls: &Tls, m: &'static M, at: &Interrupted) -> usize {
    let mut live = m.segment();
    let mut dead_too = false;
    let stack = loop {
        let Some(segment) = live else { return 0 };
        if let Some(stack) = in_use(m, segment, at.sp) {
            break stack;
        }
        dead_too = true;
        live = segment.outer();
    };
    let Some(segment) = live else { return 0 };
    segment.unset(POSTPONED);
    if is_inside(tls, m, segment, at.sp..stack.end) {
        return 0;
    }
    forget_left(m, segment, at.sp);
    if segment.is(ENDING) {
        return 0;
    }
    if is_in_entry(at.pc) {
        if dead_too || segment.gsp.load(Relaxed) != 0 || segment.pending() != 0 {
            return 0;
        }
    } else if dead_too || !is_current(tls, m) || segment.gsp.load(Relaxed) != 0 {
        // The callbacks further down were jumped out of, and the thread's records do not show that
        // yet. Nor did they show it to the thread that has asked.
        let mut inner = m.segment();
        while let Some(dead) = inner.filter(|inner| !ptr::eq(*inner, segment)) {
            dead.request.move_to(&segment.request);
            inner = dead.outer();
        }
        let mark = Mark::new();
        let before = mark::begin(tls, &mark);
        abandoned::drop_abandoned(tls, at.sp);
        tls.set_inside(before);
        // C runs on another stack. So it was jumped out of, or `needm_on_g0` is on its way there or back, where
        // an interrupt may end the callback unless there is a mark.
        if segment.gsp.swap(0, Relaxed) != 0 && !m.is_running() {
            running::enter(m);
        }
    }
    if !segment.request.is_posted() {
        return 0;
    }
    // Before its call is looked at: if it was jumped past, that may be overwritten.
    let (frames, over) = newer(m, segment, stack);
    if os::interrupt::a_handler_ran_on(frames, over, at) {
        segment.set(POSTPONED);
        return AFTER_HANDLER;
    }
    end(m, segment, at, at.free_below)
}

/// Whether the thread was interrupted inside needm: its mark is in this part of the stack, and not known to be that
/// of code that was jumped out of. Further up it is that of a callback around `segment`, to which C has jumped, unless it
/// was there when that of `segment` began.
fn is_inside(tls: &Tls, m: &M, segment: &Segment, stack: Range<usize>) -> bool {
    let mark = tls.inside() & !INTERRUPTED;
    let is_newer = || {
        let all = m.bounds_at(stack.start);
        all.is_some_and(|all| all.holds(mark)) && mark != segment.around_it() & !INTERRUPTED
    };
    let is_here = mark >= stack.start && (mark <= stack.end || is_newer());
    is_here && os::thread::word_at(mark) == Some(seal_of(mark))
}

/// What the callback of `segment` has in use, from `sp` up, of the stack of the M's that `sp` is on;
/// `None` if it is not the callback's: that was jumped out of.
fn in_use(m: &M, segment: &Segment, sp: usize) -> Option<Range<usize>> {
    let stack = m.bounds_at(sp)?;
    if m.is_on_its_reserve(segment, sp) {
        return Some(sp..stack.lo);
    }
    let top = m.position(segment);
    if stack.holds(top) && sp <= top {
        return Some(sp..top);
    }
    let further = |part: &Part| part.belongs_to(segment) && part.bounds().holds(sp);
    m.parts().any(further).then_some(sp..stack.hi)
}

/// Where frames of handlers lie that have run since the callback of `segment` began, of which `stack` is in use; and the end
/// of what they may have interrupted. C that the callback has called may have jumped to one around it, and a handler
/// have interrupted that before it called needm: its frame is further down than what began the callback.
fn newer(m: &M, segment: &Segment, stack: Range<usize>) -> (Range<usize>, usize) {
    let all = m.bounds_at(stack.start).filter(|_| stack.end == m.position(segment));
    let begun_at = |all: Bounds| {
        let call = segment.call.load(Relaxed) as usize;
        let on_it = |address: &usize| all.holds(*address);
        let gsp = || segment.outer().map(|outer| outer.gsp.load(Relaxed)).filter(on_it);
        Some(call).filter(on_it).or_else(gsp).map(|begun_at| (stack.start..begun_at, all.hi))
    };
    all.and_then(begun_at).unwrap_or((stack.clone(), stack.end))
}

fn is_current(tls: &Tls, m: &M) -> bool {
    tls.m().is_some_and(|current| ptr::eq(current, m))
}

/// Where the code of a callback starts on its G that has not run yet.
fn start_of(m: &M, segment: &Segment) -> usize {
    if segment.size.load(Relaxed) == 0 {
        return m.position(segment);
    }
    // SAFETY: the call of a segment that has copied a frame is filled in, and waits.
    unsafe { (*segment.call.load(Relaxed)).arg as usize }
}

/// Ends the callback of `segment`, below `below` on the G: what the handler returns.
fn end(m: &M, segment: &Segment, at: &Interrupted, below: usize) -> usize {
    if !segment.recovers() {
        return 0;
    }
    let Some(value) = segment.request.take() else { return 0 };
    // From here on another interrupt waits for the end of the deferred functions.
    segment.set(ENDING);
    place_interrupt(m, at, below, value)
}

/// At the end of a function of needm's, on whichever stack: ends the innermost callback of `m`, the current
/// M, if that was asked for, and its code is what goes on here.
#[cold]
#[inline(never)] // so that its frame is not a part of each function's
pub(crate) fn end_here(m: &M) {
    let sp = needm_sp();
    let Some(segment) = m.segment() else { return };
    let stack = in_use(m, segment, sp).filter(|_| segment.gsp.load(Relaxed) == 0);
    let Some(stack) = stack.filter(|_| !segment.is(ENDING)) else { return };
    let (frames, over) = newer(m, segment, stack);
    if os::interrupt::a_handler_runs_on(frames, over) {
        segment.set(POSTPONED);
        os::interrupt::send_after_handler();
        return;
    }
    if !segment.recovers() {
        return;
    }
    while segment.request.is_posted() {
        // First: another interrupt that comes now must not end the callback once more.
        segment.set(ENDING);
        if let Some(value) = segment.request.take() {
            raise(m, segment, interrupted(value), 0);
        }
        // Another thread has joined the request at this moment. Its signal may have come already.
        segment.unset(ENDING);
    }
}
