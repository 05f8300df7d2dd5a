// SPDX-License-Identifier: MIT OR Apache-2.0
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

use super::actions::Which;
pub(crate) use super::actions::{agree_with_memory, install, uninstall};
pub(crate) use super::alt_stack::Readiness;
pub(crate) use super::frame::{KEEP_MORE, keep, raise_again};
pub(crate) use super::handler_callback::Kept;
pub(crate) use super::shared::is_on_g_of_a_copy;
pub(crate) use super::sigaltstack::Stack;
use super::signal::{self, Info, SI_KERNEL, SIGABRT, SIGBUS, SIGSEGV, raised_by_instruction};
#[cfg(any(feature = "asan", feature = "tsan"))]
use super::signal::{block_all, set_blocked};
use super::{actions, forward, frame, ids, interrupt, libc, shared};
use crate::arch::RED_ZONE;
use crate::arch::linux::MIN_SIGNAL_STACK;
use crate::arch::linux::context::Context;
use crate::arch::linux::needm_sigresume;
use crate::layout;
use crate::os::terms::{Fault, RESUME, STACK_RAN_OUT, needm_on_fault};

crate::arch::upcalls! {
    "needm_handle" => handle,
}

unsafe extern "C" {
    /// `sigtramp.S`: from a handler to `needm_sigpanic`, with `fault` as its stack pointer
    /// and argument, and these callee-saved registers.
    fn needm_sigjump(fault: *mut c_void, saved: *const usize) -> !;
}

/// From `needm_handler` and `needm_handler_2`: the handler. `number` is that of the signal, and which
/// of them; `return_to` is where it returns to.
unsafe extern "C" fn handle(
    number: c_int,
    info: *mut Info,
    context: *mut Context,
    return_to: usize,
) {
    if number & shared::ASKS != 0 {
        // SAFETY: another copy's handler is calling this one with its question.
        return unsafe { shared::answer(number, info, context) };
    }
    let (signal, which) = (number & !layout::fault::SECOND, Which::called(number));
    let mut ran_out = false;
    // SAFETY: Linux gives an SA_SIGINFO handler both, on this stack.
    let (what, interrupted) = unsafe { (&*info, &*context) };
    let blocks = actions::blocks(which, signal);
    // Else another handler has called.
    let direct = signal::called_by_linux(return_to, interrupted, blocks);
    if signal == actions::interrupts_by() {
        // SAFETY: this handler is being called with these three.
        return unsafe { interrupt::handle(signal, info, context, (which, direct)) };
    }
    // A child of `vfork` has its parent's callback in its memory, but its fault is its own.
    let own = raised_by_instruction(signal, what.code)
        || signal::aborts_itself(signal, what, interrupted);
    if own && !ids::is_visitor() {
        let sp = interrupted.sp();
        let fault = Fault {
            number: signal,
            code: what.code,
            addr: if signal == SIGABRT { 0 } else { what.addr },
            pc: interrupted.pc(),
            sp,
            free_below: sp.saturating_sub(RED_ZONE),
            is_memory: signal == SIGSEGV || signal == SIGBUS,
            is_overflow: false,
            // `force_sigsegv` in linux/kernel/signal.c
            maybe_no_room: signal == SIGSEGV && what.code == SI_KERNEL,
            blocked: interrupted.mask() != 0,
            context: context.cast(),
            frame: if direct { frame::bounds(interrupted).map_or(0, |(_, len)| len) } else { 0 },
            frame_to: ptr::null_mut(),
        };
        // SAFETY: the fault is of this thread, which runs on its handler stack here.
        let frame = unsafe { needm_on_fault(&raw const fault) };
        if frame == RESUME {
            return;
        }
        ran_out = frame == STACK_RAN_OUT;
        if frame != 0 && !ran_out {
            let plain =
                direct && !Stack::of_frame(interrupted.signal_stack()).is_disarmed_by_handlers();
            let leaves_fp = frame::leaves_fp_control();
            // SAFETY: by the contract of `needm_on_fault` a fault frame is there, below all that
            // is in use on a stack of an M. No value of this handler's has a destructor.
            unsafe {
                if plain {
                    // Not by a return of the handler, after which qemu-i386 takes one thread for
                    // another. A handler that comes in between finds this stack in use.
                    if blocks != 0 {
                        signal::set_blocked(interrupted.mask());
                    }
                    leave(frame, interrupted, leaves_fp)
                }
                Context::resume_at(context, frame, leaves_fp);
                needm_sigresume(context)
            }
        }
    }
    // SAFETY: this handler is being called with these three.
    unsafe { forward::forward(signal, info, context, (which, direct), ran_out) }
}

/// Leaves the handler for the G.
///
/// # Safety
/// A fault frame is at `frame`, below all that is in use on a stack of an M, and nothing on this
/// stack is needed any more.
#[inline(never)] // its frame is not the handler's while `needm_on_fault` runs
unsafe fn leave(frame: usize, interrupted: &Context, leaves_fp: bool) -> ! {
    let saved = interrupted.saved();
    if leaves_fp {
        interrupted.load_fp_control();
    }
    interrupted.load_protection_keys();
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
