// SPDX-License-Identifier: MIT OR Apache-2.0
//! A fault becomes a panic: which faults are a callback's, and where on its stacks the panic
//! starts (`raising.rs`).
//!
//! `needm_on_fault` runs in the system's handler, on the handler stack. It uses nothing of
//! the thread but its thread-local block, allocates nothing, and makes no system call
//! unless a stack ran out, or it is on what a callback of another fiber has as a further stack. It waits in one case only: C has jumped back to a G, the code
//! there faults, and the world is stopped.
//!
//! # Safety
//! A fault frame is written on the G's own stack, or on a further stack that the host says the
//! callback runs on, below all that is in use there.
#![allow(unsafe_code)] // fault frames on a G

use crate::abandoned;
use crate::arch::needm_sp;
use crate::call::{BLOCKED, FaultFrame, PanicInfo};
use crate::callback::mark::{self, Mark};
use crate::callback::report;
use crate::error::Error;
use crate::fatal;
use crate::fibers::has_code_at;
use crate::m::M;
use crate::os;
use crate::os::fault::{Fault, KEEP_MORE, RESUME, STACK_RAN_OUT};
use crate::os::interrupt::Interrupted;
use crate::os::memory;
use crate::part::{Bounds, Part};
use crate::reconcile;
use crate::segment::{ASKS, FORWARDS, Segment, USED_RESERVE};
use crate::settings::Answer;
use crate::state;
use crate::thread_record::Thread;
use crate::tls::Tls;
use crate::tools;
use core::ffi::c_void;
use core::ptr;

crate::arch::upcalls! {
    "needm_on_fault" => on_fault,
    "needm_lent_stack" => lent_stack,
    "needm_is_on_g" => is_on_g,
}

/// What `sigpanic` and the deferred functions are started with at least; with
/// less left the stack counts as run out.
const MIN_ROOM: usize = 2048;

/// From the system's handler (`os/mod.rs`): a fault frame for `needm_sigpanic` on a stack of the M
/// whose callback did this; 0 if no callback did, or if it does not recover from faults, and
/// [`STACK_RAN_OUT`] if that was the fault; [`RESUME`] if the host says so.
extern "C" fn on_fault(fault: *const Fault) -> usize {
    // SAFETY: the handler has it on its stack until this returns.
    let fault = unsafe { &*fault };
    let Some((m, segment)) = faulting_m(fault).and_then(|m| Some((m, m.segment()?))) else {
        return 0;
    };
    let ran_out = ran_out(m, fault);
    let forwarded = if ran_out { STACK_RAN_OUT } else { 0 };
    if segment.is(ASKS) && m.holds(fault.sp) && !m.holds(needm_sp()) {
        // The hook does not run on this stack, and its frames are gone if the callback goes on: it was
        // jumped out of.
        segment.unset(ASKS);
    }
    if segment.is(FORWARDS | ASKS) {
        // This is the second time, or what the host does about the first.
        return forwarded;
    }
    match ask_host(m, segment, fault, ran_out) {
        Answer::End => {}
        Answer::Resume => return RESUME,
        Answer::Forward => return forwarded,
    }
    if !segment.recovers() {
        if ran_out {
            report::overflow(m);
        }
        return forwarded;
    }
    let aborts = state::settings().unrecovered_aborts();
    if aborts && segment.deferred() == 0 {
        // Nothing could recover from it.
        report::unrecovered(m, &info(fault, ran_out));
        segment.set(FORWARDS);
        // That handler may let it go on, and the fast paths leave the flags alone.
        m.set_needs_cleanup();
        return forwarded;
    }
    place_frame(m, fault, ran_out, aborts)
}

/// What the host is told of a fault.
fn info(fault: &Fault, ran_out: bool) -> PanicInfo {
    PanicInfo {
        kind: if ran_out { Error::Overflow } else { Error::Fault }.code(),
        signo: fault.number,
        code: fault.code,
        addr: fault.addr,
        pc: fault.pc,
        ..PanicInfo::new()
    }
}

/// What the hook `fault` says.
#[inline(never)] // so that what it tells the host is not on the stack afterwards
fn ask_host(m: &M, segment: &Segment, fault: &Fault, ran_out: bool) -> Answer {
    let Some(hook) = state::settings().fault_hook() else { return Answer::End };
    segment.set(ASKS);
    let answer = hook.ask(m, &info(fault, ran_out), fault.context);
    segment.unset(ASKS);
    answer
}

/// From the system's handler, whose stack begins at `lo`: whether the thread has that one from needm
/// alone, and `sp` is on the thread's own stack. Code on any other stack may know of the handler
/// stack, and rely on it: Go takes the one that it finds for its own, and goroutines have room for
/// no handler.
extern "C" fn lent_stack(lo: usize, sp: usize) -> bool {
    let tls = Tls::current();
    let lent = |thread: &&Thread| thread.ready.is_lent(lo);
    tls.thread().filter(lent).is_some_and(|thread| thread.own_stack_holds(tls, sp))
}

/// From another copy of needm, in the system's handler: whether `sp` is on a G of this thread's, in a callback.
extern "C" fn is_on_g(sp: usize) -> bool {
    let mut ms = core::iter::successors(Tls::current().m(), |m| m.prev_current());
    ms.any(|m| m.is_inside() && m.holds(sp))
}

/// Whether the fault means that the stack has run out.
fn ran_out(m: &M, fault: &Fault) -> bool {
    if m.stack.holds(fault.sp) {
        return fault.is_memory && m.stack.guards(fault.addr)
            || has_no_room_for_a_handler(m.stack.lo(), fault);
    }
    if fault.is_memory && m.stack.guards(fault.addr) {
        return true;
    }
    part_of(m, fault).is_some_and(|part| {
        fault.is_overflow
            || fault.is_memory && is_guard_of(part, fault.addr)
            || !part.holds(fault.sp)
            || has_no_room_for_a_handler(part.lo, fault)
    })
}

/// The further stack that the fault's stack pointer is on: exactly, or else where it is once the
/// stack has run out.
fn part_of(m: &M, fault: &Fault) -> Option<Bounds> {
    let mut parts = m.parts().map(Part::bounds);
    parts.find(|part| part.holds(fault.sp)).or_else(|| {
        let mut parts = m.parts().map(Part::bounds).filter(|_| fault.is_memory);
        parts.find(|part| is_guard_of(*part, fault.sp))
    })
}

/// Whether an address is one that only a further stack which ran out touches: on the page below it,
/// or in the inaccessible mapping there, for which the system is asked.
fn is_guard_of(part: Bounds, address: usize) -> bool {
    /// No guard is larger. An address further down is not worth asking for.
    const LARGEST: usize = 1 << 28;
    part.guards(address)
        || address < part.lo
            && part.lo - address <= LARGEST
            && os::thread::guard_below(part.lo).is_some_and(|guard| guard.contains(&address))
}

/// The M whose callback's own code did this.
fn faulting_m(fault: &Fault) -> Option<&'static M> {
    let tls = Tls::current();
    let mut m = tls.m();
    while let Some(current) = m {
        let inside = current.segment().is_some();
        let is_top = tls.m().is_some_and(|top| ptr::eq(top, current));
        let is_its = || current.holds(fault.sp) && (is_top || has_code_at(current, fault.sp));
        if inside && is_its() {
            // Ms bound on top of it, and callbacks further down on it, were jumped out of.
            let mark = Mark::new();
            let before = mark::begin(tls, &mark);
            abandoned::drop_abandoned(tls, fault.sp);
            tls.set_inside(before);
            return Some(current);
        }
        // A frame larger than the guard leaves the stack pointer beyond it.
        let running = inside && current.is_running();
        if running && fault.is_memory && current.stack.guards(fault.addr) {
            return Some(current);
        }
        if running && part_of(current, fault).is_some() {
            return Some(current);
        }
        m = current.prev_current();
    }
    let m = tls.m().filter(|m| m.segment().is_some_and(|segment| may_use_reserve(m, segment)));
    m.filter(|m| reconcile::is_undeclared(tls, m, fault.sp) && !os::fault::is_on_g_of_a_copy(fault))
}

/// Whether the system had no room on the stack, whose lowest address is `lo`, for the frame of
/// another handler, which has no stack of its own.
fn has_no_room_for_a_handler(lo: usize, fault: &Fault) -> bool {
    let least = state::settings().least_signal_stack();
    fault.maybe_no_room && fault.sp < lo + least
}

/// More than `needm_sigjump` pushes below the fault frame.
const PUSHED: usize = 64;

/// Puts the frame where `sigpanic` starts: below the red zone of the code that faulted, on the G or
/// on the further stack that the callback is on, or on the G's reserve, if too little is left
/// or nothing is known of the stack. Its address. `keeps`: the fault may have to happen once more.
#[inline(never)] // so that its frame is not on the stack while `faulting_m` runs
fn place_frame(m: &M, fault: &Fault, ran_out: bool, keeps: bool) -> usize {
    let (sp, below) = (fault.sp, fault.free_below);
    let stack = &m.stack;
    let on_g = stack.holds(sp);
    let opened_by_the_system = ran_out && memory::RESERVE_OPENS_ITSELF;
    let bounds = m.bounds_at(sp).filter(|_| !opened_by_the_system);
    let free = bounds.map_or(0, |stack| below.saturating_sub(stack.lo));
    let mut top = below;
    if free < MIN_ROOM {
        // Deferred functions run below the frame, on the reserve. If one of them has used the
        // reserve up, those that are left start over at its top.
        open_reserve(m, !on_g);
        if !on_g || ran_out && below < stack.lo() {
            top = stack.lo();
        }
    }
    let kind = if ran_out { Error::Overflow } else { Error::Fault };
    let size = fault.frame + KEEP_MORE;
    let mut kept = 0;
    if keeps && fault.frame != 0 && free > size + MIN_ROOM {
        top = (below - size) & !15;
        // SAFETY: this is in the handler of the fault, and below the code that faulted nothing of
        // the stack that it was on is in use; there is room for the frame.
        kept = unsafe { os::fault::keep(fault, top) };
    }
    let frame = FaultFrame {
        sp,
        pc: fault.pc,
        kind: kind.code(),
        signo: fault.number,
        code: fault.code,
        addr: fault.addr,
        kept: kept | if fault.blocked { BLOCKED } else { 0 },
    };
    // SAFETY: `top` is on a stack of the M's, and nothing is live below it: the red zone of the
    // frame that faulted is above, or it is on the reserve just opened. Where the room gives another
    // place, it has room for a fault frame there.
    unsafe { write_frame(m, top, fault.frame_to, frame) }
}

/// Puts the frame where an interrupt starts: as [`place_frame`], below `below`.
pub(crate) fn place_interrupt(m: &M, at: &Interrupted, below: usize, value: *mut c_void) -> usize {
    let mut top = below;
    if m.bounds_at(below).is_none_or(|stack| below < stack.lo + MIN_ROOM) {
        let on_g = m.stack.holds(below);
        open_reserve(m, !on_g);
        top = if on_g { below.max(m.stack.lo()) } else { m.stack.lo() };
    }
    let frame = FaultFrame {
        sp: at.sp,
        pc: at.pc,
        kind: Error::Interrupted.code(),
        signo: 0,
        code: 0,
        addr: value.expose_provenance(),
        kept: 0,
    };
    // SAFETY: the caller says that nothing is live on that stack below `below`, or `top` is on the
    // reserve just opened. Where the room gives another place, it has room for a fault frame there.
    unsafe { write_frame(m, top, at.frame_to, frame) }
}

/// Writes a frame below `top`, or to `to` if that is not null. Its address below `top`.
///
/// # Safety
/// `top` is on a stack of the M's, and nothing is live there below it. `to` has room for a frame.
unsafe fn write_frame(m: &M, top: usize, to: *mut c_void, contents: FaultFrame) -> usize {
    let at = (top - size_of::<FaultFrame>()) & !15;
    let place = if to.is_null() { at as *mut c_void } else { to };
    let frame = place.cast::<FaultFrame>();
    tools::writes(at - PUSHED, PUSHED + top - at);
    if m.stack.holds(at) {
        m.stack.tell_valgrind_switched_back();
    }
    // SAFETY: it is below `top`, where nothing is live, or at `to`, by this function's own contract.
    unsafe { frame.write(contents) };
    at
}

/// Whether nothing of another callback is on the reserve. There may be a deferred function, which
/// runs after the G has overflowed, and whose coroutine has called back.
fn may_use_reserve(m: &M, innermost: &Segment) -> bool {
    let own = innermost.is(USED_RESERVE) || m.stack.holds(m.position(innermost));
    own || !m.stack.reserve_is_open()
}

/// Opens the reserve for the callback that a fault ends. `from_elsewhere`: it was not on the G.
fn open_reserve(m: &M, from_elsewhere: bool) {
    let was_open = m.stack.reserve_is_open();
    m.set_needs_cleanup();
    let segment = m.segment().filter(|segment| may_use_reserve(m, segment));
    let Some(segment) = segment.filter(|_| m.stack.open_reserve().is_ok()) else {
        fatal::throw(format_args!(
            "needm: M {} has run out of stack, and there is none for its deferred functions",
            m.id()
        ));
    };
    if from_elsewhere && !was_open {
        segment.set(USED_RESERVE);
    }
}
