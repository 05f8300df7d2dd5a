//! The handler for faults.
//!
//! It runs with the interrupted mask (no `sa_mask`, `SA_NODEFER`), so that it can
//! be left by a jump: no `rt_sigreturn`, no mask to put back. It uses nothing of
//! the thread but its thread-local block, allocates nothing, and makes no system call
//! unless a stack ran out. It waits for nothing, but for a stopped world where C has
//! jumped back to a G that then faults.
#![allow(unsafe_code)] // signal frames

use crate::arch::RED_ZONE;
use crate::arch::linux::context::Context;
use crate::call::{Call, FaultFrame, PanicInfo};
use crate::callback::overflow;
use crate::callback::panic::{RAISED, raise};
use crate::error::Error;
use crate::fatal;
use crate::m::M;
use crate::os::signal::{Info, SI_KERNEL, SIGBUS, SIGSEGV};
use crate::signal::forward;
use crate::state;
use crate::sync::Relaxed;
use crate::tls::Tls;
use crate::tools;
use core::ffi::c_int;
use core::ffi::c_void;
use core::ptr;

unsafe extern "C" {
    /// `sigtramp.S`: from a handler to `sigpanic` on the G's stack.
    pub(crate) fn needm_sigjump(fault: *mut FaultFrame, saved: *const usize) -> !;
}

crate::arch::upcalls! {
"needm_sigpanic" => sigpanic,
"needm_handle" => handle }

/// From `needm_sigjump`, on the G: the callback's own code faulted.
pub(crate) extern "C" fn sigpanic(fault: *const FaultFrame) -> ! {
    // SAFETY: the handler wrote it, just above this frame.
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
pub(crate) const MIN_ROOM: usize = 2048;

/// The handler, from `needm_handler`.
pub(crate) unsafe extern "C" fn handle(signal: c_int, info: *mut Info, context: *mut c_void) {
    // SAFETY: the kernel gives an SA_SIGINFO handler both, on this stack.
    let (what, context) = unsafe { (&*info, &*context.cast::<Context>()) };
    // A positive code is the kernel's own word for what an instruction did; what
    // was sent by anybody is not a fault of the callback (sigaction(2), si_code).
    let m = if what.code > 0 { faulted(what, context) } else { None };
    match m {
        Some(m) if recovers_faults(m) => unwind(m, signal, what, context),
        Some(m) if ran_out(m, signal, what, context) => {
            overflow::report(m);
            // SAFETY: passed on as they came.
            unsafe {
                forward::forward_overflow(signal, info, ptr::from_ref(context).cast_mut().cast())
            }
        }
        // SAFETY: passed on as they came.
        _ => unsafe { forward::forward(signal, info, ptr::from_ref(context).cast_mut().cast()) },
    }
}

/// Whether the innermost callback of `m` is one that a fault ends with an error.
pub(crate) fn recovers_faults(m: &M) -> bool {
    let call = m.segment().map_or(ptr::null_mut(), |segment| segment.call.load(Relaxed));
    // SAFETY: null while the callback is being entered; else the caller's record, which
    // stands on its stack until the callback is over.
    unsafe { call.as_ref() }.is_some_and(Call::recovers_faults)
}

/// Whether the fault means that the stack has run out.
pub(crate) fn ran_out(m: &M, signal: c_int, what: &Info, context: &Context) -> bool {
    let sp = context.sp();
    is_memory(signal) && m.stack.guards(what.addr)
        || !m.stack.holds(sp)
        || has_no_room_for_a_handler(m, what, sp)
}

/// The M whose callback's own code did this.
pub(crate) fn faulted(what: &Info, context: &Context) -> Option<&'static M> {
    let tls = Tls::current();
    let mut m = tls.m();
    while let Some(current) = m {
        let inside = current.segment().is_some();
        if inside && current.stack.holds(context.sp()) {
            // Whatever was borrowed over it, or is further down on it, has been jumped out of.
            crate::reconcile::drop_abandoned(tls, context.sp());
            return Some(current);
        }
        // A frame larger than the guard leaves the stack pointer beyond it.
        let running = current.is_running();
        if inside && running && is_memory(what.signo) && current.stack.guards(what.addr) {
            return Some(current);
        }
        m = current.prev_current();
    }
    None
}

/// Whether the system had no room on the G for the frame of another signal, whose handler
/// has no stack of its own (`force_sigsegv` in linux/kernel/signal.c).
pub(crate) fn has_no_room_for_a_handler(m: &M, what: &Info, sp: usize) -> bool {
    let least = state::settings().least_signal_stack();
    what.signo == SIGSEGV && what.code == SI_KERNEL && sp < m.stack.lo() + least
}

pub(crate) fn is_memory(signal: c_int) -> bool {
    signal == SIGSEGV || signal == SIGBUS
}

/// More than `needm_sigjump` pushes below the fault frame.
pub(crate) const PUSHED: usize = 64;

/// Leaves the handler for `sigpanic`, on the G's stack.
pub(crate) fn unwind(m: &M, signal: c_int, what: &Info, context: &Context) -> ! {
    let sp = context.sp();
    let stack = &m.stack;
    let below = sp.saturating_sub(RED_ZONE);
    let ran_out = ran_out(m, signal, what, context);
    let cramped = below < stack.lo() + MIN_ROOM || !stack.holds(sp);
    let mut top = below;
    if cramped {
        // Deferred functions go below, on the reserve. Should one of them have
        // used that up, what is left starts over at its top.
        m.set_needs_cleanup();
        if stack.open_reserve().is_err() {
            crate::fatal::throw(format_args!(
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
    let saved = context.saved();
    tools::writes(at - PUSHED, PUSHED + top - at);
    stack.tell_valgrind_switched_back();
    // SAFETY: `at` is on the G's own stack, below all that is live there: below
    // the red zone of the frame that faulted, or on the reserve just opened.
    unsafe {
        frame.write(FaultFrame {
            sp,
            pc: context.pc(),
            kind: kind.code(),
            signo: signal,
            code: what.code,
            addr: what.addr,
            #[cfg(target_pointer_width = "64")]
            pad: 0,
        });
        needm_sigjump(frame, saved.as_ptr())
    }
}
