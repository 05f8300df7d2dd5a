//! A fault becomes a panic: which faults are a callback's, and where on its G the panic
//! starts.
//!
//! `needm_on_fault` runs in the system's handler, on the handler stack. It uses nothing of
//! the thread but its thread-local block, allocates nothing, and makes no system call
//! unless a stack ran out. It waits in one case only: C has jumped back to a G, the code
//! there faults, and the world is stopped.
//!
//! # Safety
//! A fault frame is written on the G's own stack, below all that is in use there.
#![allow(unsafe_code)] // fault frames on a G

use crate::call::{Call, FaultFrame, PanicInfo};
use crate::callback::overflow;
use crate::callback::panic::{RAISED, raise};
use crate::error::Error;
use crate::fatal;
use crate::m::M;
use crate::os::fault::{Fault, STACK_RAN_OUT};
use crate::reconcile;
use crate::state;
use crate::sync::Relaxed;
use crate::tls::Tls;
use crate::tools;
use core::ptr;

crate::arch::upcalls! {
    "needm_sigpanic" => sigpanic,
    "needm_on_fault" => on_fault,
    "needm_lent_stack" => lent_stack,
}

/// From `needm_sigjump`, on the G: the callback's own code faulted.
extern "C" fn sigpanic(fault: *const FaultFrame) -> ! {
    // SAFETY: `place_frame` wrote it, just above this frame, and nothing has run here since.
    let fault = unsafe { &*fault };
    let tls = Tls::current();
    let Some((m, segment)) = tls.m().and_then(|m| Some((m, m.segment()?))) else {
        fatal::throw(format_args!("needm: fault at {:#x} outside a callback", fault.pc));
    };
    let overflow = fault.kind == Error::Overflow.code();
    let counter = if overflow { &RAISED.overflows } else { &RAISED.faults };
    counter.fetch_add(1, Relaxed);
    let info = PanicInfo {
        size: size_of::<PanicInfo>(),
        kind: fault.kind,
        signo: fault.signo,
        code: fault.code,
        addr: fault.addr,
        pc: fault.pc,
        value: ptr::null_mut(),
    };
    raise(m, segment, info)
}

/// What `sigpanic` and the deferred functions are started with at least; with
/// less left the stack counts as run out.
const MIN_ROOM: usize = 2048;

/// From the system's handler (`os/mod.rs`): a fault frame for `needm_sigpanic` on the G whose
/// callback did this; 0 if no callback did, or if it does not recover from faults, and
/// [`STACK_RAN_OUT`] if that was the fault.
extern "C" fn on_fault(fault: *const Fault) -> usize {
    // SAFETY: the handler has it on its stack until this returns.
    let fault = unsafe { &*fault };
    match faulted(fault) {
        Some(m) if recovers_faults(m) => place_frame(m, fault),
        Some(m) if ran_out(m, fault) => {
            overflow::report(m);
            STACK_RAN_OUT
        }
        _ => 0,
    }
}

/// From the system's handler: whether this thread has its handler stack from needm alone, and `sp`
/// is on no G.
extern "C" fn lent_stack(sp: usize) -> bool {
    let tls = Tls::current();
    let mut m = tls.m();
    while let Some(current) = m {
        if current.stack.holds(sp) {
            return false;
        }
        m = current.prev_current();
    }
    tls.thread().is_some_and(|thread| thread.ready.is_lent())
}

/// Whether the innermost callback of `m` is one that a fault ends with an error.
fn recovers_faults(m: &M) -> bool {
    let call = m.segment().map_or(ptr::null_mut(), |segment| segment.call.load(Relaxed));
    // SAFETY: null while the callback is being entered; else the caller's record, which
    // stands on its stack until the callback is over.
    unsafe { call.as_ref() }.is_some_and(Call::recovers_faults)
}

/// Whether the fault means that the stack has run out.
fn ran_out(m: &M, fault: &Fault) -> bool {
    fault.is_memory && m.stack.guards(fault.addr)
        || !m.stack.holds(fault.sp)
        || has_no_room_for_a_handler(m, fault)
}

/// The M whose callback's own code did this.
fn faulted(fault: &Fault) -> Option<&'static M> {
    let tls = Tls::current();
    let mut m = tls.m();
    while let Some(current) = m {
        let inside = current.segment().is_some();
        if inside && current.stack.holds(fault.sp) {
            // Ms bound on top of it, and callbacks further down on it, were jumped out of.
            reconcile::drop_abandoned(tls, fault.sp);
            return Some(current);
        }
        // A frame larger than the guard leaves the stack pointer beyond it.
        let running = current.is_running();
        if inside && running && fault.is_memory && current.stack.guards(fault.addr) {
            return Some(current);
        }
        m = current.prev_current();
    }
    None
}

/// Whether the system had no room on the G for the frame of another handler, which has no
/// stack of its own.
fn has_no_room_for_a_handler(m: &M, fault: &Fault) -> bool {
    let least = state::settings().least_signal_stack();
    fault.maybe_no_room && fault.sp < m.stack.lo() + least
}

/// More than `needm_sigjump` pushes below the fault frame.
const PUSHED: usize = 64;

/// Puts the frame where `sigpanic` starts on the G's stack: below the red zone of the code
/// that faulted, or on the reserve, if too little is left. Its address.
#[inline(never)] // so that its frame is not on the stack while `faulted` runs
fn place_frame(m: &M, fault: &Fault) -> usize {
    let (sp, below) = (fault.sp, fault.free_below);
    let stack = &m.stack;
    let ran_out = ran_out(m, fault);
    let cramped = below < stack.lo() + MIN_ROOM || !stack.holds(sp);
    let mut top = below;
    if cramped {
        // Deferred functions run below the frame, on the reserve. If one of them has used the
        // reserve up, those that are left start over at its top.
        m.set_needs_cleanup();
        if stack.open_reserve().is_err() {
            fatal::throw(format_args!(
                "needm: M {} has run out of stack, and the system has none for its deferred functions",
                m.id()
            ));
        }
        let exhausted = ran_out && (below < stack.lo() || !stack.holds(sp));
        if exhausted {
            top = stack.lo();
        }
    }
    let kind = if ran_out { Error::Overflow } else { Error::Fault };
    let at = (top - size_of::<FaultFrame>()) & !15;
    let frame = at as *mut FaultFrame;
    tools::writes(at - PUSHED, PUSHED + top - at);
    stack.tell_valgrind_switched_back();
    // SAFETY: `at` is on the G's own stack, below all that is live there: below
    // the red zone of the frame that faulted, or on the reserve just opened.
    unsafe {
        frame.write(FaultFrame {
            sp,
            pc: fault.pc,
            kind: kind.code(),
            signo: fault.number,
            code: fault.code,
            addr: fault.addr,
            #[cfg(target_pointer_width = "64")]
            pad: 0,
        });
    }
    at
}
