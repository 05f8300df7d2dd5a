// SPDX-License-Identifier: MIT OR Apache-2.0
//! Forwards signals to the previously installed handlers, which run where and how they would
//! without needm. `actions.rs` knows them.
//!
//! *Mask*: needm's action blocks what the previous one blocks. So that holds from the first
//! instruction of the handler to its return, and no signal comes in between on needm's account.
//!
//! *Stack*: a handler that would run on the interrupted stack without needm is started there,
//! on a copy of the signal's frame, to which it returns. Nothing of needm is in use then, and
//! nothing is left on the signal stack, where the next signal's frame may begin. A handler with
//! `SA_ONSTACK` is started there only if that is the thread's own stack (`maps.rs`).

use core::ffi::c_int;
use core::mem::transmute;

use super::actions::{Which, index_of};
use super::sigaltstack::{self, Stack};
use super::signal::{
    self, Action, Info, SA_ONSTACK, SA_RESETHAND, SA_SIGINFO, SI_KERNEL, SIG_IGN, SIGTRAP,
};
use super::{frame, ids, process};
use crate::arch::RED_ZONE;
use crate::arch::linux::context::Context;
use crate::arch::linux::needm_sigstart;
use crate::os::terms::needm_lent_stack;

/// Does with a signal what would have been done without us. `called`: which handler of needm's was
/// called, and whether by Linux itself. Else another handler has, with its own mask and on its own
/// stack, and would have called the previous one so.
///
/// # Safety
/// The arguments are those of a handler that is being called for this signal.
#[inline(never)] // its frame is not the handler's while `needm_on_fault` runs
pub(super) unsafe fn forward(
    signal: c_int,
    info: *mut Info,
    context: *mut Context,
    called: (Which, bool),
    ran_out: bool,
) {
    let Some(index) = index_of(signal) else { return };
    let (previous, direct) = (called.0.previous(), called.1);
    let action = previous.action(index);
    // SAFETY: Linux has called a handler with both, and they stay while it runs.
    let (code, interrupted) = unsafe { ((*info).code, &*context) };
    let raised = signal::raised_by_instruction(signal, code);
    if !action.has_handler() || ran_out && action.flags & SA_ONSTACK == 0 {
        // Linux has no room on a stack that has run out for a handler without a stack of its own,
        // and takes the default action (force_sigsegv in linux/kernel/signal.c). It does not let
        // a fault be ignored (force_sig_info_to_task), but other signals.
        if !raised && (action.handler == SIG_IGN || signal::is_ignored_by_default(signal)) {
            return;
        }
        // `SI_KERNEL`: there was no room for the frame of another signal, and the instruction is
        // fine.
        let again = signal != SIGTRAP && !(ran_out && code == SI_KERNEL);
        return by_default(signal, info, interrupted, raised, again);
    }
    if action.flags & SA_RESETHAND != 0 {
        previous.spend(index);
    }
    let frame = frame::bounds(interrupted).filter(|_| direct && !ran_out);
    if let Some(frame) = frame
        && (action.flags & SA_ONSTACK == 0 || is_on_lent_stack(interrupted))
    {
        // SAFETY: Linux has called needm's handler with these, and the frame is this one's.
        unsafe { start_on_interrupted_stack(&action, signal, info, context, frame) };
        // There is no room for it.
        return by_default(signal, info, interrupted, raised, signal != SIGTRAP);
    }
    // SAFETY: the action is one that was installed for this signal. The handler is called with the
    // arguments that its form asks for.
    unsafe {
        if action.flags & SA_SIGINFO != 0 {
            let handler: unsafe extern "C" fn(c_int, *mut Info, *mut Context) =
                transmute(action.handler);
            handler(signal, info, context);
        } else {
            let handler: unsafe extern "C" fn(c_int) = transmute(action.handler);
            handler(signal);
        }
    }
}

/// Whether the handler of this signal is on a stack that is needm's alone, and the interrupted code
/// on the thread's own.
fn is_on_lent_stack(interrupted: &Context) -> bool {
    let stack = Stack::of_frame(interrupted.signal_stack());
    needm_lent_stack(stack.base(), interrupted.sp())
}

/// Takes the default action. `raised`: an instruction has raised the signal. `again`: if that runs
/// again, it raises it again, and the process dies at it.
fn by_default(signal: c_int, info: *mut Info, interrupted: &Context, raised: bool, again: bool) {
    // Process 1 of a PID namespace takes no default action of another signal (sig_task_ignored in
    // linux/kernel/signal.c).
    if !raised && ids::process() == 1 {
        return;
    }
    let _ = signal::action(signal, Some(&Action::DEFAULT));
    if !(raised && again) {
        signal::set_blocked(interrupted.mask() & !signal::bit(signal));
        signal::resend(signal, info);
        process::die_of_fault(signal)
    }
}

/// Starts a handler on the interrupted stack, on a copy of the signal's frame, with needm's
/// return: nothing comes back here. Returns if there is no room.
///
/// # Safety
/// Linux has called needm's handler with these, and `frame` is [`frame::bounds`].
unsafe fn start_on_interrupted_stack(
    action: &Action,
    signal: c_int,
    info: *mut Info,
    context: *mut Context,
    frame: (usize, usize),
) {
    let (start, len) = frame;
    // SAFETY: Linux has called a handler with it.
    let by = frame::distance(start, len, unsafe { (*context).sp() } - RED_ZONE);
    let to = start.wrapping_add(by);
    if !sigaltstack::can_write(to, to + len) {
        return;
    }
    let info = (info as usize).wrapping_add(by);
    // SAFETY: Linux can write to the copy's place, which is below all that is in use on the
    // interrupted stack.
    unsafe {
        let copy = frame::copy(context, frame, by);
        needm_sigstart(signal, info, copy as usize, action.handler, to)
    }
}
