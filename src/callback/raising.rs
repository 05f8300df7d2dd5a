// SPDX-License-Identifier: MIT OR Apache-2.0
//! What raises a panic: the host, on a G or in C that a callback called, and a fault. The signal handler
//! makes a fault look as if the faulting instruction had called `sigpanic` (`fault.rs`).
//!
//! # Safety
//! A panic is in the frame that raises it, which is not left before the callback is over.
#![allow(unsafe_code)] // fault frames on a G

use crate::arch::{needm_call_on, needm_sp};
use crate::call::{BLOCKED, FaultFrame, PanicInfo};
use crate::callback::inside::{self, Mark};
use crate::callback::panic::{LEAST_FRAME, begin, go_on, interrupted, leave_handlers, raise};
use crate::error::Error;
use crate::fatal;
use crate::fibers;
use crate::m;
use crate::m::M;
use crate::os;
use crate::reconcile;
use crate::running;
use crate::segment::{ENDING, Segment};
use crate::state;
use crate::sync::Relaxed;
use crate::tls::Tls;
use core::ffi::c_void;
use core::ptr;

crate::arch::upcalls! {
    "needm_sigpanic" => sigpanic,
}

/// Raises a panic with `value` in the innermost callback.
pub(crate) fn panic(value: *mut c_void) -> ! {
    let (tls, mark) = (Tls::current(), Mark::new());
    let before = inside::begin(tls, &mark);
    let Some((m, segment)) = reconcile::current_segment(tls) else {
        fatal::throw(format_args!("needm: needm_panic({value:p}) outside a callback"));
    };
    let mut info = PanicInfo { value, ..PanicInfo::new() };
    info.kind = Error::Panic.code();
    begin(segment, &info);
    tls.set_inside(before);
    if segment.gsp.load(Relaxed) != 0 {
        raise_from_c(m, segment, info);
    }
    leave_handlers(m, segment, needm_sp());
    go_on(m, segment, info, 0, 0)
}

/// A panic raised in C that a callback called: the M runs again, and the panic goes on on its G.
fn raise_from_c(m: &M, segment: &Segment, info: PanicInfo) -> ! {
    unsafe extern "C" fn on_g(m: usize, segment: usize, raised: usize) {
        // SAFETY: `raise_from_c` passes the addresses of these three, and never leaves its frame.
        unsafe {
            let (info, c) = *(raised as *const (PanicInfo, usize));
            go_on(&*(m as *const M), &*(segment as *const Segment), info, 0, c)
        }
    }
    // Looked at here, where some systems know which stack this is.
    let at = needm_sp();
    let is_its = fibers::is_on_its_stack(Tls::current(), m, segment, at);
    let raised = (info, if is_its { at } else { 0 });
    leave_handlers_of_c(m, segment);
    running::enter(m);
    let gsp = segment.gsp.swap(0, Relaxed);
    // SAFETY: below `gsp` the G's stack is free, and it is aligned for a call.
    unsafe {
        let (m, segment) = (ptr::from_ref(m) as usize, ptr::from_ref(segment) as usize);
        needm_call_on(m, segment, &raw const raised as usize, on_g as *const () as usize, gsp);
    }
    unreachable!("go_on does not return")
}

/// The same of handlers over C that the callback has called, on its stack or on the handler stack.
fn leave_handlers_of_c(m: &M, segment: &Segment) {
    let (at, top) = (needm_sp(), m::g0sp(m, segment));
    if !state::settings().handles_signals() {
        return;
    }
    if let Some(end) = Tls::current().thread().and_then(|thread| thread.ready.end_of(at)) {
        os::interrupt::leave_handlers(at..end, true);
    } else if at + LEAST_FRAME < top {
        os::interrupt::leave_handlers(at..top, false);
    }
}

/// From `needm_sigjump`, on the G: the callback's own code faulted.
extern "C" fn sigpanic(fault: *const FaultFrame) -> ! {
    // SAFETY: `place_frame` wrote it, just above this frame, and nothing has run here since.
    let fault = unsafe { &*fault };
    let Some((m, segment)) = callback_to_end() else {
        fatal::throw(format_args!("needm: fault at {:#x} outside a callback", fault.pc));
    };
    if fault.kind == Error::Interrupted.code() {
        raise(m, segment, interrupted(ptr::with_exposed_provenance_mut(fault.addr)), 0);
    }
    let info = PanicInfo {
        kind: fault.kind,
        signo: fault.signo,
        code: fault.code,
        addr: fault.addr,
        pc: fault.pc,
        ..PanicInfo::new()
    };
    if fault.kept & BLOCKED != 0 {
        leave_handlers(m, segment, fault.sp);
    }
    raise(m, segment, info, fault.kept & !BLOCKED)
}

/// The callback whose code goes on here. From here on no interrupt ends it.
fn callback_to_end() -> Option<(&'static M, &'static Segment)> {
    let tls = Tls::current();
    // The handler has looked what callback this is, and noted its call.
    if let Some((m, segment)) = reconcile::plainly_at(tls, needm_sp()) {
        segment.set(ENDING);
        return Some((m, segment));
    }
    // Another handler may have left callbacks since.
    let mark = Mark::new();
    let before = inside::begin(tls, &mark);
    let found = reconcile::current_segment(tls);
    if let Some((_, segment)) = found {
        segment.set(ENDING);
    }
    tls.set_inside(before);
    found
}
