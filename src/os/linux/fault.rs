//! The handler of the signals that instructions raise.
//!
//! Where no handler was installed before, it runs with the interrupted mask (no `sa_mask`,
//! `SA_NODEFER`), so that it can be left by a jump: no `rt_sigreturn`, no mask to put back. Where
//! Linux has changed more than that, or another handler has called this one, the fault ends by
//! the signal's return, which puts all back: mask, signal stack (`SS_AUTODISARM`), protection keys.
//! It uses nothing of the thread but what `needm_on_fault` uses, and allocates nothing.
//!
//! A signal is a fault if Linux raised it for an instruction. Whether that is a callback's,
//! needm says; all else goes to the action that was there before (`forward.rs`), as if
//! needm were not there.

use core::ffi::{c_int, c_void};
use core::ptr;

pub(crate) use super::alt_stack::{Kept, Readiness, Stack};
pub(crate) use super::forward::{fork_child, install, uninstall};
use super::signal::{self, Info, SI_KERNEL, SIGBUS, SIGSEGV, raised_by_instruction};
#[cfg(any(feature = "asan", feature = "tsan"))]
use super::signal::{block_all, set_blocked};
use super::{forward, libc};
use crate::arch::RED_ZONE;
use crate::arch::linux::MIN_SIGNAL_STACK;
use crate::arch::linux::context::Context;
use crate::arch::linux::{needm_sigresume, needm_sigreturn};
use crate::os::terms::{Fault, STACK_RAN_OUT, needm_on_fault};

crate::arch::upcalls! {
    "needm_handle" => handle,
}

unsafe extern "C" {
    /// `sigtramp.S`: from a handler to `needm_sigpanic`, with `fault` as its stack pointer
    /// and argument, and these callee-saved registers.
    fn needm_sigjump(fault: *mut c_void, saved: *const usize) -> !;
}

/// From `needm_handler`: the handler. `return_to` is where it returns to.
unsafe extern "C" fn handle(
    signal: c_int,
    info: *mut Info,
    context: *mut Context,
    return_to: usize,
) {
    // Else another handler has called.
    let direct = return_to == needm_sigreturn as *const () as usize;
    let mut ran_out = false;
    // SAFETY: Linux gives an SA_SIGINFO handler both, on this stack.
    let (what, interrupted) = unsafe { (&*info, &*context) };
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
        ran_out = frame == STACK_RAN_OUT;
        if frame != 0 && !ran_out {
            let plain = direct
                && !forward::blocks(signal)
                && !signal::Stack::of_frame(interrupted.signal_stack()).is_disarmed_by_handlers();
            // SAFETY: by the contract of `needm_on_fault` a fault frame is there, below all that
            // is in use on a G. No value of this handler's has a destructor.
            unsafe {
                if plain {
                    leave(frame, interrupted)
                }
                (*context).resume_at(frame);
                needm_sigresume(context)
            }
        }
    }
    // SAFETY: this handler is being called with these three.
    unsafe { forward::forward(signal, info, context, direct, ran_out) }
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
