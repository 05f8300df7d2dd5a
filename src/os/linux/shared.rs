// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several copies of needm in one process: the signal stack of a thread that calls back into more than
//! one, and whose stack a thread is on. The first copy to need a signal stack makes it, and the others use
//! it.
//!
//! A copy that uses another's counts itself in two words at the lowest end of it, where a stack is not
//! in use. As long as the count is not 0, the stack stays with the thread.
//!
//! A G of another copy looks like a stack that a callback has switched to. So a copy asks the one that was
//! there before it, by a call of that one's handler with a number that no signal has ([`ASKS`]). A handler
//! that does not know the question does nothing.
//!
//! # Safety
//! Functions that look at the two words say so: the stack is mapped, and begins with a page. Its lowest
//! end is in no frame, because no handler comes so far down without an overflow.
#![allow(unsafe_code)] // two words of a signal stack, the code of a handler

use super::actions::{self, Which};
use super::sigaltstack::Stack;
use super::signal::{self, Info, SIGSEGV};
use crate::arch::linux::context::Context;
use crate::arch::linux::{needm_handler, needm_handler_2};
use crate::os::terms::{Fault, needm_is_on_g};
use crate::sync::{AtomicUsize, Relaxed, SeqCst};
use core::ffi::c_int;
use core::mem::transmute;
use core::ptr;

/// In the first word, if the second is a count. No text, no address.
#[allow(clippy::cast_possible_truncation)] // its lower half on 32 bits
const MARK: usize = 0x9e1d_7a35_6e65_656d_u64 as usize;

/// What is at the lowest end.
#[repr(C)]
struct Head {
    mark: AtomicUsize,
    users: AtomicUsize,
}

/// The head of a signal stack.
///
/// # Safety
/// The stack is mapped, can be written to, and a page begins with it, for as long as the head is used.
unsafe fn head<'a>(stack: &Stack) -> &'a Head {
    // SAFETY: the caller promises that it is there, and aligned; all of it is atomic.
    unsafe { &*ptr::with_exposed_provenance(stack.base()) }
}

/// The stack that this copy has mapped is a new thread's: no other copy uses it.
///
/// # Safety
/// This copy has mapped it, and does not unmap it meanwhile.
pub(super) unsafe fn begin(ours: &Stack) {
    // SAFETY: the caller promises the mapping, which is of whole pages.
    let head = unsafe { head(ours) };
    if head.mark.load(Relaxed) != 0 {
        head.mark.store(0, Relaxed);
        head.users.store(0, Relaxed);
    }
}

/// Whether another copy uses the stack that this copy has mapped.
///
/// # Safety
/// This copy has mapped it, and does not unmap it meanwhile.
pub(super) unsafe fn is_used(ours: &Stack) -> bool {
    // SAFETY: the caller promises the mapping, which is of whole pages.
    let head = unsafe { head(ours) };
    head.mark.load(Relaxed) == MARK && head.users.load(SeqCst) != 0
}

/// What `sigtramp.S` has before each handler of needm's (`HANDLER_ROUTINE` in `elf.h`). Not the code: another
/// build's may branch elsewhere.
const NAME: u128 = u128::from_ne_bytes(*b"needm's handler1");

/// Whether a handler is needm's, in another copy of it.
fn is_of_a_copy(handler: usize) -> bool {
    let own = [needm_handler as *const () as usize, needm_handler_2 as *const () as usize];
    let name = handler.wrapping_sub(size_of_val(&NAME));
    if own.contains(&handler) || !signal::can_read(name) || !signal::can_read(handler - 1) {
        return false;
    }
    // SAFETY: Linux has just read both ends of it, which are in one page or in two.
    u128::from_ne_bytes(unsafe { ptr::with_exposed_provenance::<[u8; 16]>(name).read() }) == NAME
}

/// Whether a signal stack that is installed, and that this copy has not made, may be another copy's.
fn may_be_of_a_copy(stack: &Stack, before: [usize; 2]) -> bool {
    let aligned = stack.base().is_multiple_of(super::memory::page_size());
    let free = stack.enabled() && !stack.in_use() && aligned && signal::can_read(stack.base());
    let top = || signal::action(SIGSEGV, None).map_or(0, |action| action.handler);
    free && [top(), before[0], before[1]].into_iter().any(is_of_a_copy)
}

/// This copy uses a signal stack that it has not made. `before`: the handlers that were there before its
/// own. Whether it counts itself.
///
/// # Safety
/// This thread has, or had a moment ago, this signal stack, or none.
pub(super) unsafe fn join(stack: &Stack, before: [usize; 2]) -> bool {
    if !may_be_of_a_copy(stack, before) {
        return false;
    }
    // SAFETY: a page begins with it, and Linux has just read there. The thread keeps the stack that it
    // has in effect mapped, and writable, because handlers run on it.
    let head = unsafe { head(stack) };
    // Where nothing has run, there are zeros.
    let free = head.mark.load(Relaxed) == 0 && head.users.load(Relaxed) == 0;
    if free {
        head.mark.store(MARK, Relaxed);
    }
    let counts = head.mark.load(Relaxed) == MARK;
    if counts {
        head.users.fetch_add(1, SeqCst);
    }
    counts
}

/// This copy, which counts itself there, uses it no more.
///
/// # Safety
/// It is the one that this thread has in effect, and that [`join`] has found to be a copy's.
pub(super) unsafe fn leave(stack: &Stack) {
    // SAFETY: `join` has found that a page begins with it, and the thread keeps the stack that it has in
    // effect mapped.
    let head = unsafe { head(stack) };
    if head.mark.load(Relaxed) == MARK {
        let one_less = |users: usize| users.checked_sub(1);
        let _ = head.users.fetch_update(SeqCst, Relaxed, one_less);
    }
}

/// Beside a signal's number: whether the stack pointer in the context is on a G of the copy that is called, or
/// of one before it.
pub(super) const ASKS: c_int = 1 << 9;

/// The yes, where a signal has its `si_errno`. No error, and no number of a signal.
const YES: c_int = 0x6e65_656d;

/// Whether the code that faulted is on the G of another copy, one that was there before this one.
pub(crate) fn is_on_g_of_a_copy(fault: &Fault) -> bool {
    let [first, second] = actions::before(fault.number);
    let asks = |handler| {
        // SAFETY: the context is that of the fault, whose handler is running.
        unsafe { is_on_its_g(handler, fault.number, fault.context.cast()) }
    };
    asks(first) || second != first && asks(second)
}

/// Whether a handler that was there before is a copy's, which says that this is a G of its own, or of a
/// copy before it.
///
/// # Safety
/// `context` is one that Linux has called a handler with, which is running.
#[inline(never)] // one place that calls a handler
unsafe fn is_on_its_g(handler: usize, signal: c_int, context: *mut Context) -> bool {
    if !is_of_a_copy(handler) {
        return false;
    }
    let mut question = Info::of(signal);
    // SAFETY: it is the code of needm's handler, which is of this type. That takes the question for one, or
    // for a signal that it does not handle, and returns. Both arguments are what a handler is given.
    unsafe {
        let ask: unsafe extern "C" fn(c_int, *mut Info, *mut Context) = transmute(handler);
        ask(signal | ASKS, &raw mut question, context);
    }
    question.errno == YES
}

/// From this copy's handler: the answer to another's question.
///
/// # Safety
/// They are the arguments of [`is_on_its_g`]'s call, and what this copy's handler has added.
#[inline(never)] // its frame is not the handler's otherwise
pub(super) unsafe fn answer(number: c_int, info: *mut Info, context: *mut Context) {
    // SAFETY: both are what a handler is given, which so can be read, by the caller's promise.
    let (signal, sp) = unsafe { ((*info).signo, (*context).sp()) };
    let before = actions::before_one(Which::called(number), signal);
    // SAFETY: the context is that of a fault whose handler is running, by the caller's promise.
    if needm_is_on_g(sp) || unsafe { is_on_its_g(before, signal, context) } {
        // SAFETY: it is a variable of the caller's.
        unsafe { (*info).errno = YES };
    }
}
