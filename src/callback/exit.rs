// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a callback: what assembly calls on the way out.
//!
//! # Safety
//! Assembly passes the call that it has built in its own frame, on the caller's stack, and the
//! M that is bound to this thread.
#![allow(unsafe_code)] // records on stacks

use crate::abandoned;
use crate::call::Call;
use crate::callback::defer;
use crate::callback::inside::inside;
use crate::callback::panic::{interrupted, raise};
use crate::fibers;
use crate::gate;
use crate::m::M;
use crate::m::calls::is_safe;
use crate::needm;
use crate::os;
use crate::pool;
use crate::running;
use crate::segment::{
    BOUND_HERE, ENDING, FORWARDS, POSTPONED, Segment, UNDER_HOOK, UNWOUND, USED_RESERVE,
    WAS_RUNNING,
};
use crate::segment_end::{drop_segment, pop};
use crate::sync::Relaxed;
use crate::thread::hook;
use crate::tls::Tls;
use core::ffi::c_int;
use core::ptr;

crate::arch::upcalls! {
    "needm_exit" => exit,
    "needm_dropm" => dropm_rebound,
    "needm_on_g_cleanup" => on_g_cleanup,
    "needm_on_g_epilogue" => on_g_epilogue,
}

/// From `needm_entry` and `needm_unwind`, on the caller's stack: the callback is
/// over, with `code`. Pops its segment, and unbinds the M if that is due.
pub(crate) extern "C" fn exit(call: *mut Call, m: *const M, code: c_int) -> c_int {
    // SAFETY: entry code built the call and waits with it. The M is bound to this thread, whose
    // record is live, so the M's row is mapped.
    let (call, m) = unsafe { (&*call, &*m) };
    inside(|tls| leave(tls, call, m, code))
}

fn leave(tls: &Tls, call: &Call, m: &M, code: c_int) -> c_int {
    let Some(segment) = drop_inside(tls, m, call) else { return code };
    hook::refuse_end(tls, segment, || call.is_safe());
    let size = segment.size.load(Relaxed);
    if size != 0 {
        // SAFETY: the caller passed `size` bytes at `frame`, and waits; the copy is still on the
        // G, in the segment's part.
        unsafe { ptr::copy_nonoverlapping(call.arg, call.frame, size) };
    }
    let (was_running, bound_here) = (segment.is(WAS_RUNNING), segment.is(BOUND_HERE));
    let used_reserve = segment.is(USED_RESERVE);
    // From here on no segment says that the M is to be unbound.
    let change = if bound_here { needm::begin_change(tls) } else { None };
    gate::returned(segment);
    pop(m, segment, segment.is(UNWOUND));
    if m.segment().is_none() {
        m.clean_up();
    } else {
        m.close_reserve(segment, used_reserve);
    }
    // A stop waits for an M that its callback unbinds. It does not for another one: once that does not run, needm may
    // be stopped, and started with other settings.
    let unbinds = bound_here && pool::unbinds_on_exit(m);
    if !was_running {
        running::leave(m);
    } else if !m.is_running() {
        // A handler has left a callback, in C.
        running::enter(m);
    }
    if unbinds {
        needm::dropm(tls, m);
    } else if bound_here
        && tls.bound_epoch() == 0
        && m.segment().is_none()
        && !pool::is_left_behind(m)
    {
        // It was below that of another fiber, which has been unbound since.
        needm::allow_fast_path(tls, m);
    }
    needm::end_change(tls, change, None);
    code
}

/// From `needm_entry`, rebind path, where assembly cannot unbind the M by its one store: the gate
/// has closed meanwhile, or the M is not on the list, and only a push brings it back there, or a handler has
/// left a callback, on it or on an M that it has bound meanwhile.
extern "C" fn dropm_rebound(m: *const M) {
    // SAFETY: assembly has just bound this M to this thread, so its row is mapped.
    let m = unsafe { &*m };
    inside(|tls| {
        let left = || {
            let thread = tls.thread()?;
            thread.held().filter(|left| !ptr::eq(*left, m) && pool::is_held_by(left, thread))
        };
        if tls.m().is_some_and(|current| ptr::eq(current, m))
            && m.prev_current().is_none()
            && let Some(left) = left()
        {
            // It was published before `m` was, in its place.
            m.prev_bound_epoch.store(0, Relaxed);
            m.prev_current.store(ptr::from_ref(left).cast_mut(), Relaxed);
        }
        needm::dropm(tls, m);
    });
}

/// The callback of `call` is about to be over, and with it all inside it that C jumped out of. Its segment,
/// unless needm has taken it for over before.
pub(crate) fn drop_inside(tls: &Tls, m: &M, call: *const Call) -> Option<&'static Segment> {
    fibers::make_current(tls, m);
    let own = call.cast_mut();
    loop {
        let inner = m.segment()?;
        if inner.call.load(Relaxed) == own {
            return Some(inner);
        }
        drop_segment(m, inner);
    }
}

/// On the G: the callback of `segment` returns. If it came back from C by a jump, the M does not
/// count as running yet.
pub(crate) fn run_deferred(m: &M, segment: &Segment) {
    abandoned::go_on(m, segment);
    segment.gsp.store(0, Relaxed);
    // A deferred function may have jumped back to the code that returns now.
    segment.panic.store(ptr::null_mut(), Relaxed);
    if let Some(value) = defer::run_deferred(m, segment) {
        raise(m, segment, interrupted(value), 0);
    }
}

/// From `needm_entry`, slow path, on the G: the callback of `call` has returned, and has deferred
/// functions, or C has jumped out of callbacks inside it.
extern "C" fn on_g_epilogue(call: *const Call, m: *const M) {
    // SAFETY: the M is bound to this thread, whose record is live, so the M's row is mapped.
    let m = unsafe { &*m };
    inside(|tls| {
        if let Some(segment) = drop_inside(tls, m, call) {
            run_deferred(m, segment);
        }
    });
}

/// From `needm_entry`, fast paths, on the G: the outermost callback has returned, and
/// `needs_cleanup` is set.
extern "C" fn on_g_cleanup(m: *const M) {
    // SAFETY: the M is bound to this thread, whose record is live, so the M's row is mapped.
    let m = unsafe { &*m };
    inside(|tls| {
        let base = m.base();
        hook::refuse_end(tls, base, || is_safe(base.call.load(Relaxed) as usize));
        run_deferred(m, base);
        gate::returned(base);
        m.clean_up();
        // The fast paths leave the flags alone.
        if base.is(POSTPONED) {
            os::interrupt::admit();
        }
        base.unset(ENDING | POSTPONED | FORWARDS | UNDER_HOOK);
    });
}
