// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts: another thread is suspended, and goes on in needm.
//!
//! The thread that interrupts suspends the other one, and is told by `look` what that is at. If it runs
//! on the stack of a callback, its context is changed as if it had called `needm_interrupt_landing`
//! between two instructions: below its stack pointer, with all its registers kept (`landing.S`).
//! [`interrupted`] runs there, on the thread itself, and ends the callback or returns to it.
//!
//! A thread that waits in Windows (`Sleep`, a read from a pipe) goes there when the wait is over:
//! Windows ends no wait for a change of a context.
//!
//! Only the instruction and the stack pointer are changed. The other registers are those that a call
//! of Windows's sets, if the thread was in one.

use super::fault::fits_stack;
use super::suspend::{alone, suspended};
use super::sys::{GetCurrentThreadId, GetThreadId, Handle, SwitchToThread};
use super::{exit::Notice, last_error};
use crate::arch::windows::context::Words;
use crate::arch::windows::needm_interrupt_landing;
use crate::os::terms::{AFTER_HANDLER, Interrupted, Look, needm_on_interrupt};
use core::ops::Range;

crate::arch::upcalls! {
    "needm_interrupted" => interrupted,
}

/// It can.
pub(crate) const EXIST: bool = true;

/// What `needm_interrupt_landing` and all that it calls need of a stack, in bytes.
pub(crate) const ROOM: usize = 4096;

/// Nothing is sent, so there is nothing to choose.
pub(crate) fn number(chosen: i32) -> Option<i32> {
    (chosen == 0).then_some(0)
}
pub(crate) fn install(_: i32) {}
pub(crate) fn uninstall() {}
pub(crate) fn fork_child() {}

/// How often a thread is looked at that is between two places where it can be interrupted.
const LOOKS: u32 = 1000;

/// Interrupts the thread of a record. False if there is none. If the thread is at a place where
/// it cannot be interrupted for all the time that this takes, it goes on.
pub(crate) fn send(notice: &Notice, mut look: impl FnMut(usize, usize) -> Look) -> bool {
    for _ in 0..LOOKS {
        let Some((handle, id)) = notice.known() else { return false };
        if id == GetCurrentThreadId() {
            // It is inside needm, whose end looks for requests.
            return true;
        }
        match alone(|| interrupt(handle, id, &mut look)) {
            None => return false,
            Some(Look::Retry) => last_error::keeping(|| {
                SwitchToThread();
            }),
            Some(_) => return true,
        }
    }
    true
}

/// What `look` says of the thread, which goes on in `needm_interrupt_landing` if that is `Run`.
fn interrupt(handle: Handle, id: u32, look: &mut impl FnMut(usize, usize) -> Look) -> Option<Look> {
    suspended(handle, |context| {
        // SAFETY: Windows refuses what is not a thread's handle.
        if unsafe { GetThreadId(handle) } != id {
            // The record is another thread's by now, and the handle was closed.
            return (false, None);
        }
        let said = look(context.pc(), context.sp());
        let runs = said == Look::Run;
        if runs {
            // SAFETY: `look` says that there is room below the thread's stack pointer, where nothing is in
            // use: the convention has no red zone.
            unsafe { context.call(needm_interrupt_landing) };
        }
        (runs, Some(said))
    })?
}

/// From `needm_interrupt_landing`: this thread was interrupted at the instruction at `*at`, the
/// stack pointer above that. 0: it goes on there. Else where a fault frame is to be, whose words are
/// in `words`.
unsafe extern "C" fn interrupted(at: *const usize, words: *mut Words) -> usize {
    // SAFETY: the landing has it on the stack.
    let pc = unsafe { *at };
    let sp = at as usize + size_of::<usize>();
    let at = Interrupted {
        pc,
        sp,
        free_below: sp,
        on_handler_stack: false,
        blocked: 0,
        frame_to: words.cast(),
    };
    // SAFETY: the thread was interrupted just there.
    match last_error::keeping(|| unsafe { needm_on_interrupt(&raw const at) }) {
        0 | AFTER_HANDLER => 0,
        frame => {
            fits_stack(frame);
            frame
        }
    }
}

/// Nothing to do: this thread is inside needm, whose end looks for requests.
pub(crate) fn send_here() {}
pub(crate) fn send_after_handler() {}
pub(crate) fn admit() {}

// Windows has no handlers that run between two instructions.
pub(crate) fn a_handler_seems_to_run(_: Range<usize>) -> bool {
    false
}
pub(crate) fn a_handler_runs_on(_: Range<usize>, _: usize) -> bool {
    false
}
pub(crate) fn a_handler_interrupted(_: Range<usize>, _: impl Fn(usize, usize) -> bool) -> bool {
    false
}
pub(crate) fn a_handler_ran_on(_: Range<usize>, _: usize, _: &Interrupted) -> bool {
    false
}
pub(crate) fn leave_handlers(_: Range<usize>, _: bool) {}
