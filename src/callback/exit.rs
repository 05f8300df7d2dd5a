// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a callback: what assembly calls on the way out.
//!
//! # Safety
//! Assembly passes the call that it has built in its own frame, on the caller's stack, and the
//! M that is bound to this thread.
#![allow(unsafe_code)] // records on stacks

use crate::abandoned::{drop_segment, pop};
use crate::call::Call;
use crate::callback::defer;
use crate::callback::inside::inside;
use crate::callback::panic::{interrupted, raise};
use crate::fibers;
use crate::gate;
use crate::m::M;
use crate::needm;
use crate::os;
use crate::pool;
use crate::running;
use crate::segment::{BOUND_HERE, ENDING, FORWARDS, POSTPONED, UNWOUND, USED_RESERVE, WAS_RUNNING};
use crate::sync::Relaxed;
use crate::tls::Tls;
use core::ffi::c_int;
use core::ptr;

crate::arch::upcalls! {
    "needm_exit" => exit,
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
    drop_inside(tls, m, call);
    let Some(segment) = m.segment() else { return code };
    let size = segment.size.load(Relaxed);
    if size != 0 {
        // SAFETY: the caller passed `size` bytes at `frame`, and waits; the copy is still on the
        // G, in the segment's part.
        unsafe { ptr::copy_nonoverlapping(call.arg, call.frame, size) };
    }
    let (was_running, bound_here) = (segment.is(WAS_RUNNING), segment.is(BOUND_HERE));
    let used_reserve = segment.is(USED_RESERVE);
    gate::returned(segment);
    pop(m, segment, segment.is(UNWOUND));
    if m.segment().is_none() {
        m.clean_up();
    } else {
        m.close_reserve(segment, used_reserve);
    }
    if !was_running {
        running::leave(m);
    }
    if bound_here {
        if pool::unbinds_on_exit(m) {
            needm::dropm(tls, m);
        } else if tls.bound_epoch() == 0 && m.segment().is_none() {
            // It was below that of another fiber, which has been unbound since.
            needm::allow_fast_path(tls, m);
        }
    }
    code
}

/// The callback of `call` is about to be over, and with it all inside it that C jumped out of.
pub(crate) fn drop_inside(tls: &Tls, m: &M, call: *const Call) {
    fibers::make_current(tls, m);
    let own = call.cast_mut();
    while let Some(inner) = m.segment().filter(|inner| inner.call.load(Relaxed) != own) {
        drop_segment(m, inner);
    }
}

/// On the G: the innermost callback returns. If it came back from C by a jump, the M does not
/// count as running yet.
pub(crate) fn run_deferred(m: &M) {
    if let Some(segment) = m.segment() {
        if !m.is_running() {
            running::enter(m);
        }
        segment.gsp.store(0, Relaxed);
    }
    let interrupt = defer::run_deferred(m);
    if let Some((segment, value)) = m.segment().zip(interrupt) {
        raise(m, segment, interrupted(value), 0);
    }
}

/// From `needm_entry`, slow path, on the G: the callback of `call` has returned, and has deferred
/// functions, or C has jumped out of callbacks inside it.
extern "C" fn on_g_epilogue(call: *const Call, m: *const M) {
    // SAFETY: the M is bound to this thread, whose record is live, so the M's row is mapped.
    let m = unsafe { &*m };
    inside(|tls| {
        drop_inside(tls, m, call);
        run_deferred(m);
    });
}

/// From `needm_entry`, fast paths, on the G: the outermost callback has returned, and
/// `needs_cleanup` is set.
extern "C" fn on_g_cleanup(m: *const M) {
    // SAFETY: the M is bound to this thread, whose record is live, so the M's row is mapped.
    let m = unsafe { &*m };
    inside(|_| {
        // Callbacks inside it that it jumped out of.
        while let Some(inner) = m.segment().filter(|inner| !ptr::eq(*inner, m.base())) {
            drop_segment(m, inner);
        }
        run_deferred(m);
        gate::returned(m.base());
        m.clean_up();
        // The fast paths leave the flags alone.
        let base = m.base();
        if base.is(POSTPONED) {
            os::interrupt::admit();
        }
        base.unset(ENDING | POSTPONED | FORWARDS);
    });
}
