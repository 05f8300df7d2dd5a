//! The end of a callback: what assembly calls on the way out.
//!
//! # Safety
//! Assembly passes the call that it has built in its own frame, on the caller's stack, and the
//! M that is bound to this thread.
#![allow(unsafe_code)] // records on stacks

use crate::call::Call;
use crate::callback::defer;
use crate::gate;
use crate::m::M;
use crate::needm;
use crate::pool;
use crate::reconcile::{drop_segment, pop};
use crate::running;
use crate::segment::{BOUND_HERE, UNWOUND, WAS_RUNNING};
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
    // SAFETY: entry code built the call and waits with it; this thread holds the M, so the M's row
    // is mapped.
    let (call, m) = unsafe { (&*call, &*m) };
    let tls = Tls::current();
    drop_inside(tls, m, call);
    let Some(segment) = m.segment() else { return code };
    let size = segment.size.load(Relaxed);
    if size != 0 {
        // SAFETY: the caller passed `size` bytes at `frame`, and waits; the copy is still on the
        // G, in the segment's part.
        unsafe { ptr::copy_nonoverlapping(call.arg, call.frame, size) };
    }
    let (was_running, bound_here) = (segment.is(WAS_RUNNING), segment.is(BOUND_HERE));
    gate::returned(segment);
    pop(m, segment, segment.is(UNWOUND));
    if m.segment().is_none() {
        m.clean_up();
    } else {
        m.stack.close_reserve(m.position(segment));
    }
    if !was_running {
        running::leave(m);
    }
    if bound_here && pool::unbinds_on_exit(m) {
        needm::dropm(tls, m);
    }
    code
}

/// The callback of `call` is about to be over, and with it all inside it that C jumped out of.
fn drop_inside(tls: &Tls, m: &M, call: *const Call) {
    // Ms that handlers have bound on top.
    while let Some(current) = tls.m().filter(|current| !ptr::eq(*current, m)) {
        if current.prev_current().is_none() {
            break;
        }
        needm::dropm(tls, current);
    }
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
    defer::run_deferred(m);
}

/// From `needm_entry`, slow path, on the G: the callback of `call` has returned, and has deferred
/// functions, or C has jumped out of callbacks inside it.
extern "C" fn on_g_epilogue(call: *const Call, m: *const M) {
    // SAFETY: this thread holds the M, so the M's row is mapped.
    let m = unsafe { &*m };
    drop_inside(Tls::current(), m, call);
    run_deferred(m);
}

/// From `needm_entry`, fast paths, on the G: the outermost callback has returned, and
/// `needs_cleanup` is set.
extern "C" fn on_g_cleanup(m: *const M) {
    // SAFETY: this thread holds the M, so the M's row is mapped.
    let m = unsafe { &*m };
    // Callbacks inside it that it jumped out of.
    while let Some(inner) = m.segment().filter(|inner| !ptr::eq(*inner, m.base())) {
        drop_segment(m, inner);
    }
    run_deferred(m);
    gate::returned(m.base());
    m.clean_up();
}
