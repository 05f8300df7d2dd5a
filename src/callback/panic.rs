//! Panics: raising one, the deferred functions on its way, recovering, and the
//! end of the callback (unwindm).
//!
//! A panic does not walk frames. It runs the deferred functions of the innermost
//! callback, last in first out, below the frame that panicked, and then ends the
//! callback as a return would. A panic raised by a deferred function takes over
//! what is left to run, and replaces the one before.
//!
//! A fault becomes a panic in [`sigpanic`], which the signal handler has made look
//! as if the faulting instruction had called it.
//!
//! # Safety
//! A panic stands in the frame that raises it, which is not left before the callback is over.
//! A segment's call stands in its caller's frame, which waits for the callback.
#![allow(unsafe_code)] // records on stacks

use crate::arch::needm_call_on;
use crate::call::Call;
use crate::call::{Panic, PanicInfo};
use crate::callback::defer::run_deferred;
use crate::error::Error;
use crate::fatal;
use crate::gate;
use crate::m;
use crate::m::M;
use crate::os::process;
use crate::reconcile;
use crate::running;
use crate::segment::{Segment, UNWOUND};
use crate::state;
use crate::sync::{AtomicU64, Relaxed};
use crate::tls::Tls;
use core::ffi::c_int;
use core::ffi::c_void;
use core::ptr;

unsafe extern "C" {
    /// `entry.S`: ends a callback from wherever it is.
    fn needm_unwind(call: *mut Call, m: *const M, code: c_int, sp: usize) -> !;
}

/// How many were raised in callbacks.
pub(crate) struct Raised {
    pub(crate) panics: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) overflows: AtomicU64,
}

/// The counts, since the process began.
pub(crate) static RAISED: Raised =
    Raised { panics: AtomicU64::new(0), faults: AtomicU64::new(0), overflows: AtomicU64::new(0) };

/// Stops the panic of the innermost callback; what it was, if there was one.
pub(crate) fn recover() -> Option<PanicInfo> {
    let (_, segment) = reconcile::current_segment(Tls::current())?;
    // SAFETY: a panic stands in a frame further up this G until its callback ends.
    let panic = unsafe { segment.panic.load(Relaxed).as_mut()? };
    if panic.recovered {
        return None;
    }
    panic.recovered = true;
    Some(panic.info)
}

/// Raises a panic with `value` in the innermost callback.
pub(crate) fn panic(value: *mut c_void) -> ! {
    let tls = Tls::current();
    let Some((m, segment)) = reconcile::current_segment(tls) else {
        fatal::throw(format_args!("needm: needm_panic({value:p}) outside a callback"));
    };
    RAISED.panics.fetch_add(1, Relaxed);
    let mut info = PanicInfo { value, ..PanicInfo::new() };
    info.kind = Error::Panic.code();
    if segment.gsp.load(Relaxed) != 0 {
        raise_from_c(m, segment, info);
    }
    raise(m, segment, info)
}

/// A panic of C that a callback called: back in the world, and on its G.
fn raise_from_c(m: &M, segment: &Segment, mut info: PanicInfo) -> ! {
    unsafe extern "C" fn on_g(m: usize, segment: usize, info: usize) {
        // SAFETY: `raise_from_c` gives these three, and waits for ever.
        unsafe {
            raise(&*(m as *const M), &*(segment as *const Segment), *(info as *const PanicInfo))
        }
    }
    running::enter(m);
    let gsp = segment.gsp.swap(0, Relaxed);
    // SAFETY: below `gsp` the G's stack is free, and it is aligned for a call.
    unsafe {
        let (m, segment) = (ptr::from_ref(m) as usize, ptr::from_ref(segment) as usize);
        needm_call_on(m, segment, &raw mut info as usize, on_g as *const () as usize, gsp);
    }
    unreachable!("raise does not return")
}

/// Runs the deferred functions, then ends the callback.
pub(crate) fn raise(m: &M, segment: &Segment, info: PanicInfo) -> ! {
    let mut panic = Panic { info, recovered: false };
    segment.panic.store(&raw mut panic, Relaxed);
    run_deferred(m);
    // SAFETY: read again, because a deferred function has written to it.
    let recovered = unsafe { (&raw const panic.recovered).read_volatile() };
    if recovered {
        finish(m, segment, 0)
    }
    if state::settings().unrecovered_aborts() {
        die(m, &panic.info);
    }
    let call = segment.call.load(Relaxed);
    // SAFETY: the caller waits below its call.
    panic.info.fill(unsafe { (*call).info });
    finish(m, segment, panic.info.kind)
}

fn finish(m: &M, segment: &Segment, code: c_int) -> ! {
    gate::unwound(segment);
    segment.flags.store(segment.flags.load(Relaxed) | UNWOUND, Relaxed);
    // SAFETY: the segment's call stands in its caller's frame, which waits for just this.
    unsafe { needm_unwind(segment.call.load(Relaxed), m, code, m::exit_sp(m, segment)) }
}

/// The contract's one line, and death by the signal.
fn die(m: &M, info: &PanicInfo) -> ! {
    let id = m.id();
    if info.signo == 0 {
        fatal::throw(format_args!("needm: unrecovered panic({:p}) on M {id}", info.value));
    }
    let what = if info.kind == Error::Overflow.code() { "stack overflow" } else { "fault" };
    fatal::print(format_args!(
        "needm: unrecovered {what} on M {id}: signal {} code {} addr {:#x} pc {:#x}",
        info.signo, info.code, info.addr, info.pc
    ));
    process::die_of_fault(info.signo)
}
