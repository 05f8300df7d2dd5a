//! The handler of the signals that instructions raise.
//!
//! It runs with the interrupted mask (no `sa_mask`, `SA_NODEFER`), so that it can be left by
//! a jump: no `rt_sigreturn`, no mask to put back. It uses nothing of the thread but what
//! `needm_on_fault` uses, and allocates nothing.
//!
//! A signal is a fault if Linux raised it for an instruction. Whether that is a callback's,
//! needm says; all else goes to the action that was there before (`forward.rs`), as if
//! needm were not there.

use core::ffi::{c_int, c_void};
use core::ptr;

pub(crate) use super::alt_stack::{Kept, Readiness, Stack};
pub(crate) use super::forward::{fork_child, install, uninstall};
use super::signal::{Info, SI_KERNEL, SIGBUS, SIGSEGV, raised_by_instruction};
#[cfg(any(feature = "asan", feature = "tsan"))]
use super::signal::{block_all, set_blocked};
use super::{forward, libc};
use crate::arch::RED_ZONE;
use crate::arch::linux::MIN_SIGNAL_STACK;
use crate::arch::linux::context::Context;
use crate::os::terms::{Fault, STACK_RAN_OUT, needm_on_fault};

crate::arch::upcalls! {
    "needm_handle" => handle,
}

unsafe extern "C" {
    /// `sigtramp.S`: from a handler to `needm_sigpanic`, with `fault` as its stack pointer
    /// and argument, and these callee-saved registers.
    fn needm_sigjump(fault: *mut c_void, saved: *const usize) -> !;
}

/// From `needm_handler`: the handler.
unsafe extern "C" fn handle(signal: c_int, info: *mut Info, context: *mut c_void) {
    // SAFETY: Linux gives an SA_SIGINFO handler both, on this stack.
    let (what, interrupted) = unsafe { (&*info, &*context.cast::<Context>()) };
    if raised_by_instruction(signal, what.code) {
        let sp = interrupted.sp();
        let fault = Fault {
            number: signal,
            code: what.code,
            addr: what.addr,
            pc: interrupted.pc(),
            sp,
            free_below: sp.saturating_sub(RED_ZONE),
            is_memory: signal == SIGSEGV || signal == SIGBUS,
            // `force_sigsegv` in linux/kernel/signal.c
            maybe_no_room: signal == SIGSEGV && what.code == SI_KERNEL,
        };
        // SAFETY: the fault is of this thread, which runs on its handler stack here.
        let frame = unsafe { needm_on_fault(&raw const fault) };
        if frame == STACK_RAN_OUT {
            // SAFETY: Linux has just called this handler with these three.
            return unsafe { forward::forward_overflow(signal, info, context) };
        }
        if frame != 0 {
            // SAFETY: by the contract of `needm_on_fault` a fault frame is there, below all that
            // is in use on a G. No value of this handler's has a destructor.
            unsafe { leave(frame, interrupted) }
        }
    }
    // SAFETY: Linux has just called this handler with these three.
    unsafe { forward::forward(signal, info, context) }
}

/// Leaves the handler for the G.
///
/// # Safety
/// A fault frame is at `frame`, below all that is in use on a G, and nothing on this stack is
/// needed any more.
#[inline(never)] // its frame is not the handler's while `needm_on_fault` runs
unsafe fn leave(frame: usize, interrupted: &Context) -> ! {
    let saved = interrupted.saved();
    // SAFETY: the caller promises the frame; the registers are read before the jump.
    unsafe { needm_sigjump(ptr::with_exposed_provenance_mut(frame), saved.as_ptr()) }
}

/// Bytes that a signal's frame takes of the signal stack, at most.
pub(crate) fn frame_size() -> usize {
    libc::auxiliary(libc::AT_MINSIGSTKSZ).unwrap_or(MIN_SIGNAL_STACK)
}

/// Runs `work` with all signals blocked.
#[cfg(any(feature = "asan", feature = "tsan"))]
pub(crate) fn without_handlers<R>(work: impl FnOnce() -> R) -> R {
    let mask = block_all();
    let result = work();
    set_blocked(mask);
    result
}
