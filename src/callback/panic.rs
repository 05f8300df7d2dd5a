//! Panics: raising one, running the deferred functions, recovering, and ending the callback.
//!
//! A panic does not walk frames. It runs the deferred functions of the innermost
//! callback, last in first out, below the frame that panicked, and then ends the
//! callback as a return would. A panic raised by a deferred function takes over
//! what is left to run, and replaces the one before.
//!
//! A fault becomes a panic in `sigpanic` (`fault.rs`): the signal handler makes it look as if
//! the faulting instruction had called that function.
//!
//! # Safety
//! A panic is in the frame that raises it, which is not left before the callback is over. A
//! segment's call is in a frame on the caller's stack, which waits for the callback.
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
    /// `entry.S`: ends a callback from any depth.
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
    // SAFETY: null, or a panic in a frame further up this G, which stays until its callback ends.
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

/// A panic raised in C that a callback called: the M runs again, and the panic goes on on its G.
fn raise_from_c(m: &M, segment: &Segment, mut info: PanicInfo) -> ! {
    unsafe extern "C" fn on_g(m: usize, segment: usize, info: usize) {
        // SAFETY: `raise_from_c` passes the addresses of these three, and never leaves its frame.
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
    // SAFETY: the call, and the info that its caller passed, are in frames that wait for the
    // callback.
    panic.info.fill(unsafe { (*call).info });
    finish(m, segment, panic.info.kind)
}

fn finish(m: &M, segment: &Segment, code: c_int) -> ! {
    gate::unwound(segment);
    segment.flags.store(segment.flags.load(Relaxed) | UNWOUND, Relaxed);
    // SAFETY: the segment's call is in a frame that waits for this very callback.
    unsafe { needm_unwind(segment.call.load(Relaxed), m, code, m::exit_sp(m, segment)) }
}

/// Prints the one line of `NEEDM_UNRECOVERED_ABORTS`, and ends the process by the signal.
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
