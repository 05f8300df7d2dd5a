// SPDX-License-Identifier: MIT OR Apache-2.0
//! A signal's frame: what Linux leaves on a stack for the time of a handler, and from which the
//! handler's return goes on.
//!
//! # Safety
//! The context is one that Linux has given to a handler of needm's, which runs.

use core::ffi::c_int;
use core::ptr;

use super::sigaltstack::Stack;
use super::signal::{self, Info, SIGABRT, SIGTRAP};
use crate::arch::linux::context::{Context, FRAME_HEAD};
use crate::arch::linux::needm_sigresume;
use crate::arch::{needm_gate, needm_sp};
use crate::layout;
use crate::os::terms::Fault;
use crate::sync::Relaxed;

/// Whether callbacks leave floating-point control alone: then a return to one does, too.
pub(super) fn leaves_fp_control() -> bool {
    // SAFETY: defined in arch/<arch>/tls.S, aligned, and all of it atomic.
    unsafe { &needm_gate.value }.load(Relaxed) & layout::gate::LEAVES_FP != 0
}

/// What the floating-point state in a frame is aligned to (XSAVE).
const ALIGN: usize = 64;

/// A frame may be aligned within that many bytes more.
pub(crate) const KEEP_MORE: usize = ALIGN;

/// The frame with this context, if Linux has put it at the end of the signal stack,
/// because the interrupted code was not there: where it begins, and its bytes.
pub(super) fn bounds(interrupted: &Context) -> Option<(usize, usize)> {
    let stack = Stack::of_frame(interrupted.signal_stack());
    let start = ptr::from_ref(interrupted).addr() - FRAME_HEAD;
    let moved = stack.holds(needm_sp()) && stack.holds(start) && !stack.holds(interrupted.sp());
    moved.then(|| (start, stack.base() + stack.size() - start))
}

/// How far a copy of `[start, start + len)` that ends at `end` or up to [`ALIGN`] bytes below is
/// from the original.
pub(super) fn distance(start: usize, len: usize, end: usize) -> usize {
    // The same place in a line of `ALIGN` bytes.
    (end - len).wrapping_sub(start) & !(ALIGN - 1)
}

/// Copies the frame `[start, start + len)` of `context` to `by` bytes above. The copy's context.
///
/// # Safety
/// These are [`bounds`], and nothing uses the place of the copy, which can be written to.
pub(super) unsafe fn copy(
    context: *mut Context,
    (start, len): (usize, usize),
    by: usize,
) -> *mut Context {
    let copied = (context as usize).wrapping_add(by) as *mut Context;
    // SAFETY: by the caller's promise the frame is there for all of `len`, and so is the copy's place, which
    // nothing else uses.
    unsafe {
        ptr::copy_nonoverlapping(start as *const u8, start.wrapping_add(by) as *mut u8, len);
        Context::relocate(copied, by, start.wrapping_add(by) + len);
    }
    copied
}

/// Copies the frame of `fault` into `[room, room + fault.frame + KEEP_MORE)`; the copy's context.
///
/// # Safety
/// The handler of this fault is running, and nothing uses that room.
pub(crate) unsafe fn keep(fault: &Fault, room: usize) -> usize {
    let context = fault.context.cast::<Context>();
    // SAFETY: the handler of this fault is running, by the caller's promise, so Linux's frame with
    // the context is there.
    let Some(bounds) = bounds(unsafe { &*context }) else { return 0 };
    let by = distance(bounds.0, bounds.1, room + fault.frame + KEEP_MORE);
    // SAFETY: the caller's promise; the copy ends at the end of the room, or less than
    // `KEEP_MORE` bytes below.
    unsafe { copy(context, bounds, by) as usize }
}

/// Returns to what a fault had interrupted, whose context [`keep`] has kept. The instruction
/// raises the signal once more; one that would not is sent it.
///
/// # Safety
/// `kept` is as [`keep`] has left it, and nothing on this stack is needed any more.
pub(crate) unsafe fn raise_again(kept: usize, number: c_int, code: c_int) -> ! {
    let context = kept as *mut Context;
    // SAFETY: the caller promises the context, to which the signal's return then leads.
    unsafe {
        // What the instruction would not raise comes when the return unblocks it, before it runs.
        if number == SIGTRAP {
            signal::block_all();
            let info = Info::new(number, code, (*context).pc());
            signal::resend(number, &raw const info);
        } else if number == SIGABRT {
            signal::block_all();
            signal::send(number);
        }
        needm_sigresume(context)
    }
}
