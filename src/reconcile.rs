//! Drops the callbacks that C has jumped out of (`longjmp`), also those of a signal
//! handler, so that a thread's records agree with where it is.
//!
//! About stacks that are not needm's it asks the system; it reads nothing on them.

use crate::arch::needm_sp;
use crate::call::Call;
use crate::gate;
use crate::m;
use crate::m::M;
use crate::needm;
use crate::os;
use crate::pool;
use crate::running;
use crate::segment::{BOUND_HERE, Segment};
use crate::state;
use crate::sync::Relaxed;
use crate::thread_record::Thread;
use crate::tls::Tls;
use crate::tools;
use core::ptr;

/// This thread's M and innermost segment, if callback code runs on its G here.
pub(crate) fn running_segment(tls: &Tls) -> Option<(&'static M, &'static Segment)> {
    let at = needm_sp();
    drop_abandoned(tls, at);
    let m = current(tls)?;
    let segment = m.segment()?;
    (m.stack.holds(at) && segment.gsp.load(Relaxed) == 0).then_some((m, segment))
}

/// Whether C that a callback called has jumped back to it (`longjmp`), and the callback does not
/// count as running yet.
pub(crate) fn is_back_unnoticed() -> bool {
    let left = |m: &&M| m.is_inside() && !m.is_running();
    Tls::current().m().filter(left).is_some_and(|m| m.stack.holds(needm_sp()))
}

/// This thread's M and innermost segment, in a callback or in C that one called.
pub(crate) fn current_segment(tls: &Tls) -> Option<(&'static M, &'static Segment)> {
    let at = needm_sp();
    drop_abandoned(tls, at);
    let m = current(tls)?;
    let segment = m.segment()?;
    (m.stack.holds(at) || segment.gsp.load(Relaxed) != 0).then_some((m, segment))
}

/// This thread's M.
pub(crate) fn current_m() -> Option<&'static M> {
    let tls = Tls::current();
    drop_abandoned(tls, needm_sp());
    current(tls).filter(|_| state::is_open())
}

/// The callbacks that this thread is inside, those of its handlers included.
#[cfg(feature = "capi")]
pub(crate) fn depth() -> u32 {
    let tls = Tls::current();
    drop_abandoned(tls, needm_sp());
    let (mut count, mut held) = (0, current(tls));
    while let Some(m) = held {
        let mut segment = m.segment();
        while let Some(inner) = segment {
            count += 1;
            segment = inner.outer();
        }
        held = m.prev_current();
    }
    count
}

/// Bytes that are left on the G for the innermost callback; 0 outside.
#[cfg(feature = "capi")]
pub(crate) fn stack_left() -> usize {
    let at = needm_sp();
    let Some((m, segment)) = current_segment(Tls::current()) else { return 0 };
    let in_use_from = if m.stack.holds(at) { at } else { segment.gsp.load(Relaxed) };
    in_use_from.saturating_sub(m.stack.lo())
}

/// Whether this thread is inside a callback.
pub(crate) fn is_inside(tls: &Tls) -> bool {
    drop_abandoned(tls, needm_sp());
    current(tls).is_some_and(|m| m.segment().is_some())
}

/// A stack pointer that is less than this above a call counts as being on the same stack, because
/// no stack from which callbacks are made is smaller. A guess, for stacks of unknown bounds only.
const SAME_STACK: usize = 16 * 1024;

/// A caller less than this below the point where C was called is in that C: no system call is
/// needed to find out.
const NEAR: usize = 64 * 1024;

/// This thread's M, unless it is of an earlier start of needm: then its row is still reserved for
/// this thread, but is no M any more.
pub(crate) fn current(tls: &Tls) -> Option<&'static M> {
    let thread = tls.thread()?;
    tls.m().filter(|m| pool::is_held_by(m, thread))
}

/// Drops the innermost segment, which was jumped out of, and what is deferred in it.
pub(crate) fn drop_segment(m: &M, segment: &Segment) {
    gate::unwound(segment);
    pop(m, segment, true);
}

/// Drops the innermost segment, and what is deferred in it. `unwound`: its callback did not
/// return, so frames of it may be left on the G.
pub(crate) fn pop(m: &M, segment: &Segment, unwound: bool) {
    tools::exited(
        m.stack.lo()..m.position(segment),
        &m.fiber,
        (&segment.around, &m::from_g0(m, segment).around),
        segment.outer().is_some(),
        unwound,
    );
    m.stack.drop_deferred(segment.deferred.load(Relaxed));
    segment.deferred.store(0, Relaxed);
    segment.panic.store(ptr::null_mut(), Relaxed);
    segment.gsp.store(0, Relaxed);
    segment.size.store(0, Relaxed);
    segment.kept.put_back();
    segment.flags.store(0, Relaxed);
    m.set_segment(segment.prev.load(Relaxed), m.is_running());
}

/// Drops the callbacks that were jumped out of (`longjmp`), and unbinds the Ms that were bound
/// for them.
///
/// `at` is the caller's stack pointer. If it is on a G, it decides exactly: segments below it are
/// abandoned. If it is elsewhere, a segment is abandoned if its call is at `at`, or below `at` on
/// the same stack. The system is asked for the bounds of the handler stack and of the thread's
/// own stack; on other stacks (fibers) only addresses near each other count as the same stack.
pub(crate) fn drop_abandoned(tls: &Tls, at: usize) {
    while let Some(m) = current(tls) {
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
        if m.stack.holds(at) {
            drop_abandoned_on_g(m, at);
            return;
        }
        let under = prev_g_holds(m, at);
        let gsp = segment.gsp.load(Relaxed);
        if !under && gsp != 0 {
            let g0sp = m::g0sp(m, segment);
            if at < g0sp && g0sp - at < NEAR {
                return;
            }
        }
        let Some(dead) = (if under { last_segment(m) } else { outermost_abandoned(tls, m, at) })
        else {
            return;
        };
        let mut bound_here = false;
        while let Some(inner) = m.segment() {
            bound_here |= inner.is(BOUND_HERE);
            drop_segment(m, inner);
            if ptr::eq(inner, dead) {
                break;
            }
        }
        match m.segment() {
            Some(inner) => m.stack.close_reserve(m.position(inner)),
            None => m.clean_up(),
        }
        let outside = m.segment().is_none_or(|segment| segment.gsp.load(Relaxed) != 0);
        if outside {
            running::leave(m);
        }
        if m.segment().is_some() || !bound_here || !pool::unbinds_on_exit(m) {
            return;
        }
        needm::dropm(tls, m);
    }
}

/// For an `at` on the M's own G: drops the segments below `at`. If the thread was in C that one
/// of the callbacks called, that C was jumped out of, and callback code runs again.
fn drop_abandoned_on_g(m: &M, at: usize) {
    while let Some(inner) = m.segment().filter(|inner| m.position(inner) < at) {
        drop_segment(m, inner);
    }
    if let Some(segment) = m.segment() {
        let gsp = segment.gsp.load(Relaxed);
        if at > gsp {
            if !m.is_running() {
                running::enter(m);
            }
            segment.gsp.store(0, Relaxed);
        }
    }
}

/// Whether `at` is on the G of an M that was current before `m`: then the code that bound `m`
/// was jumped out of.
fn prev_g_holds(m: &M, at: usize) -> bool {
    let mut prev = m.prev_current();
    while let Some(outer) = prev {
        if outer.stack.holds(at) {
            return true;
        }
        prev = outer.prev_current();
    }
    false
}

fn last_segment(m: &M) -> Option<&'static Segment> {
    let mut segment = m.segment()?;
    while let Some(outer) = segment.outer() {
        segment = outer;
    }
    Some(segment)
}

/// The outermost segment that was jumped out of, for an `at` that is not on the M's G.
fn outermost_abandoned(tls: &Tls, m: &M, at: usize) -> Option<&'static Segment> {
    let stack = os::fault::handler_stack();
    let handling = stack.in_use();
    let own = |address| {
        !stack.holds(address)
            && tls.thread().is_some_and(|thread| thread.own_stack_holds(tls, address))
    };
    let mut gone = None;
    let mut segment = m.segment();
    while let Some(inner) = segment {
        let call = inner.call.load(Relaxed) as usize;
        if call != 0 && !m.stack.holds(call) {
            let here = at.abs_diff(call) < size_of::<Call>();
            // The handler stack in effect may be the part that is free below a handler.
            let known = || tls.thread().is_some_and(|thread| thread.ready.holds(call));
            let handler_is_over = stack.holds(call) && !handling || known() && own(at);
            let same = stack.holds(call) == handling;
            let above = at > call && (same && at - call < SAME_STACK || own(at) && own(call));
            if here || handler_is_over || above {
                gone = Some(inner);
            }
        }
        segment = inner.outer();
    }
    gone
}

impl Thread {
    /// Whether an address is on the stack that this thread was made with.
    fn own_stack_holds(&self, tls: &Tls, address: usize) -> bool {
        if self.stack[1].load(Relaxed) == 0 {
            let stack = os::thread::own_stack(tls.address()).unwrap_or(1..1);
            self.stack[0].store(stack.start, Relaxed);
            self.stack[1].store(stack.end, Relaxed);
        }
        (self.stack[0].load(Relaxed)..self.stack[1].load(Relaxed)).contains(&address)
    }
}
