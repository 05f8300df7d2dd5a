// SPDX-License-Identifier: MIT OR Apache-2.0
//! Panics: raising one, running the deferred functions, recovering, and ending the callback.
//!
//! A panic does not walk frames. It runs the deferred functions of the innermost
//! callback, last in first out, below the frame that panicked, and then ends the
//! callback as a return would. A panic raised by a deferred function takes over
//! what is left to run, and replaces the one before.
//!
//! What raises one is in `raising.rs`.
//!
//! # Safety
//! A panic is in the frame that raises it, which is not left before the callback is over. A
//! segment's call is in a frame on the caller's stack, which waits for the callback.
#![allow(unsafe_code)] // records on stacks

use crate::arch::needm_sp;
use crate::call::Call;
use crate::call::{Panic, PanicInfo};
use crate::callback::defer::run_deferred;
use crate::callback::report;
use crate::error::Error;
use crate::fatal;
use crate::gate;
use crate::m;
use crate::m::M;
use crate::os;
use crate::os::process;
use crate::part::{Bounds, Part};
use crate::pool;
use crate::reconcile;
use crate::segment::{ENDING, FORWARDS, POSTPONED, Segment, UNWOUND};
use crate::segment_end;
use crate::state;
use crate::sync::{Alone, AtomicU64, Relaxed};
use crate::thread::counts::COUNTS;
use crate::tls::Tls;
use core::ffi::c_int;
use core::ffi::c_void;
use core::ptr;

unsafe extern "C" {
    /// `entry.S`: ends a callback from any depth.
    fn needm_unwind(call: *mut Call, m: *const M, code: c_int, sp: usize) -> !;
}

/// How many were raised in callbacks: each is counted when no interrupt can take its place any more.
pub(crate) struct Raised {
    pub(crate) panics: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) overflows: AtomicU64,
    pub(crate) interrupts: AtomicU64,
}

/// The counts, since the process began.
pub(crate) static RAISED: Alone<Raised> = Alone(Raised {
    panics: AtomicU64::new(0),
    faults: AtomicU64::new(0),
    overflows: AtomicU64::new(0),
    interrupts: AtomicU64::new(0),
});

impl Raised {
    fn count(&self, info: &PanicInfo) {
        let counter = if info.kind == Error::Interrupted.code() {
            &self.interrupts
        } else if info.kind == Error::Panic.code() {
            &self.panics
        } else if info.kind == Error::Overflow.code() {
            &self.overflows
        } else {
            &self.faults
        };
        counter.fetch_add(1, Relaxed);
    }
}

/// What an interrupt is, with this value.
pub(crate) fn interrupted(value: *mut c_void) -> PanicInfo {
    PanicInfo { kind: Error::Interrupted.code(), value, ..PanicInfo::new() }
}

/// If a deferred function of this callback's has jumped back to its code, which is at `sp`: no panic is under way any
/// more. That is seen where the panic was further down on the same stack.
pub(crate) fn forget_left(m: &M, segment: &Segment, sp: usize) {
    let panic = segment.panic.load(Relaxed) as usize;
    let is_on_the_same = || {
        let on_part = |part: &Part| part.bounds().holds(panic) && part.bounds().holds(sp);
        m.stack.holds(panic) && m.stack.holds(sp) || m.parts().any(on_part)
    };
    if panic != 0 && panic < sp && is_on_the_same() {
        segment.panic.store(ptr::null_mut(), Relaxed);
        segment.unset(ENDING);
    }
}

/// Stops the panic of the innermost callback; what it was, if there was one.
pub(crate) fn recover() -> Option<PanicInfo> {
    let (m, segment) = reconcile::current_segment(Tls::current())?;
    forget_left(m, segment, needm_sp());
    // SAFETY: null, or a panic in a frame further up this G, which stays until its callback ends.
    let panic = unsafe { segment.panic.load(Relaxed).as_mut()? };
    if panic.recovered {
        return None;
    }
    panic.recovered = true;
    Some(panic.info)
}

/// Runs the deferred functions, then ends the callback. `kept`: see [`Panic::kept`].
pub(crate) fn raise(m: &M, segment: &Segment, info: PanicInfo, kept: usize) -> ! {
    begin(segment, &info);
    go_on(m, segment, info, kept, 0)
}

/// First: from here on no interrupt ends the callback.
pub(crate) fn begin(segment: &Segment, info: &PanicInfo) {
    segment.set(ENDING);
    RAISED.count(info);
}

/// The rest, on the G, below the frame that panicked. `c`: see [`Panic::c`].
pub(crate) fn go_on(m: &M, segment: &Segment, info: PanicInfo, kept: usize, c: usize) -> ! {
    leave_code(m, segment);
    let c = if c == 0 { panicked_in_c_at(segment) } else { c };
    let mut panic = Panic { info, kept, c, recovered: false };
    segment.panic.store(&raw mut panic, Relaxed);
    while let Some(value) = run_deferred(m, segment) {
        // SAFETY: deferred functions reach it by its address, and have written to it.
        let Panic { info, recovered, c, .. } = unsafe { (&raw const panic).read_volatile() };
        if info.kind == Error::Interrupted.code() && !recovered {
            continue; // another thread has asked for the same end
        }
        // It takes over, as a panic of the deferred function that has run last.
        let next = Panic { info: interrupted(value), kept: 0, c, recovered: false };
        RAISED.count(&next.info);
        // SAFETY: the panic is a local of this function, and only this thread, which is here,
        // reads or writes it; a deferred function that did is over.
        unsafe { (&raw mut panic).write_volatile(next) };
    }
    // SAFETY: read again, because a deferred function has written to it.
    let recovered = unsafe { (&raw const panic.recovered).read_volatile() };
    if recovered {
        finish(m, segment, 0)
    }
    if state::settings().unrecovered_aborts() {
        die(m, segment, &panic);
    }
    let call = segment.call.load(Relaxed);
    // SAFETY: the call, and the info that its caller passed, are in frames that wait for the
    // callback.
    panic.info.fill(unsafe { (*call).info });
    finish(m, segment, panic.info.kind)
}

/// Where C was that has raised the panic of this callback, on whichever stack; 0 if none has.
pub(crate) fn panicked_in_c_at(segment: &Segment) -> usize {
    // SAFETY: null, or a panic in a frame further up this G, which stays until its callback ends.
    unsafe { segment.panic.load(Relaxed).as_ref() }.map_or(0, |panic| panic.c)
}

/// No frame of a signal is smaller.
pub(crate) const LEAST_FRAME: usize = 512;

/// Handlers that run on a stack of the callback's, over its code, do not return: the mask is that of
/// before. An interrupt waits until they have returned. `from`: where the code was; if its stack ran out, this is
/// on another one.
pub(crate) fn leave_handlers(m: &M, segment: &Segment, from: usize) {
    if !state::settings().handles_signals() {
        return;
    }
    let (at, top) = (needm_sp(), m.position(segment));
    let leave = |at: usize, stack: Bounds| {
        // On a further stack the code has come from another one. Above the reserve others may be.
        let end = match stack.holds(top) {
            _ if m.is_on_its_reserve(segment, at) => stack.lo,
            true => top,
            false => stack.hi,
        };
        if at + LEAST_FRAME < end {
            os::interrupt::leave_handlers(at..end, false);
        }
    };
    let here = m.bounds_at(at);
    if let Some(stack) = here {
        leave(at, stack);
    }
    if here.is_none_or(|stack| !stack.holds(from) && !stack.guards(from))
        && let Some(stack) = m.bounds_at(from).or_else(|| m.part().map(Part::bounds))
    {
        leave(from.max(stack.lo), stack);
    }
}

/// The code of this callback is left where it is: it is not inside needm any more, and no handler
/// of it returns.
fn leave_code(m: &M, segment: &Segment) {
    let tls = Tls::current();
    let was_inside = tls.inside() != 0;
    segment_end::forget_inside(m, segment);
    if was_inside && tls.inside() == 0 {
        // The stack has run out in needm's own code.
        COUNTS.forget_own_changes(tls);
        tls.thread().into_iter().for_each(pool::forget_waits);
    }
    if segment.is(POSTPONED) {
        segment.unset(POSTPONED);
        os::interrupt::admit();
    }
}

/// Ends the callback with `code`: 0, that of an error, or `layout::call::UNWOUND`.
pub(crate) fn finish(m: &M, segment: &Segment, code: c_int) -> ! {
    gate::unwound(segment);
    segment.set(UNWOUND);
    // SAFETY: the segment's call is in a frame that waits for this very callback.
    unsafe { needm_unwind(segment.call.load(Relaxed), m, code, m::exit_sp(m, segment)) }
}

/// Prints the one line of `NEEDM_UNRECOVERED_ABORTS`, and ends the process: a fault happens once
/// more, and goes to the handler of before.
fn die(m: &M, segment: &Segment, panic: &Panic) -> ! {
    let info = &panic.info;
    if info.signo == 0 {
        let interrupted = info.kind == Error::Interrupted.code();
        let what = if interrupted { "interrupt" } else { "panic" };
        fatal::throw(format_args!("needm: unrecovered {what}({:p}) on M {}", info.value, m.id()));
    }
    report::unrecovered(m, info);
    if panic.kept == 0 {
        process::die_of_fault(info.signo)
    }
    segment.set(FORWARDS);
    // SAFETY: it was kept when this fault happened, above the frame of `sigpanic`, and the code
    // that goes on instead has its own frames above that.
    unsafe { os::fault::raise_again(panic.kept, info.signo, info.code) }
}
