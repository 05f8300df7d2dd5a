// SPDX-License-Identifier: MIT OR Apache-2.0
//! "Inside needm": code of needm's that runs on a G and changes what outlives the callback, so that
//! no interrupt may end the callback in its middle.
//!
//! A function that the host calls marks that as its first step, and takes the mark away as its last.
//! The mark is a word of the thread's own block, with an address in the function's frame
//! ([`Tls::inside`]). The handler of an interrupt compares: code on the G below that address, in the
//! same callback's part, is needm's. Before the first step and after the last nothing is half
//! done, so an interrupt may end the callback there. After the last step the function looks whether
//! an interrupt came meanwhile.
//!
//! The fast path of `needm_entry` has no time for a mark. There the handler decides by the
//! instruction that was interrupted: `interrupt.rs`.
//!
//! While needm calls functions of the host's that may jump away (deferred functions, C), the word
//! is what it was before the callback, and a flag of the segment, or the segment's `gsp`, keeps
//! interrupts off.
//!
//! The mark also tells a handler whether it has interrupted needm's code, on whichever stack. That may
//! be about to use a callback's record, or an M. So what was jumped out of is then kept:
//! `abandoned.rs`.

use crate::arch::needm_sp;
use crate::callback::interrupt;
use crate::os;
use crate::tls::{INTERRUPTED, Tls};

/// Runs `work` inside needm, on whichever stack. If an interrupt of this thread's callback came
/// meanwhile, the callback ends here.
#[inline]
pub(crate) fn inside<R>(work: impl FnOnce(&'static Tls) -> R) -> R {
    let tls = Tls::current();
    let before = begin(tls, needm_sp());
    let result = work(tls);
    end(tls, before);
    result
}

/// The first step; `at` is the caller's stack pointer. The mark of before is returned, for [`end`]
/// to put back.
#[inline]
pub(crate) fn begin(tls: &Tls, at: usize) -> usize {
    if tls.inside() != 0 {
        return begin_again(tls, at);
    }
    tls.set_inside(at);
    0
}

/// The first step where the thread has a mark. A function of its own, so that those which begin need
/// fewer registers: perf follows frame pointers through `needm_ccall` if that does not use theirs.
#[cold]
#[inline(never)]
fn begin_again(tls: &Tls, at: usize) -> usize {
    let before = tls.inside();
    if is_left(tls, before, at) {
        tls.set_inside(at);
        return 0;
    }
    tls.set_inside(at | INTERRUPTED);
    before
}

/// Whether the code that has set this mark was jumped out of. Where `at` is on the thread's own stack and
/// not in a handler there, only a mark further up on that stack is of code that goes on: a handler that
/// has no stack of its own runs on the one that it has interrupted.
fn is_left(tls: &Tls, mark: usize, at: usize) -> bool {
    let Some(thread) = tls.thread() else { return false };
    let handlers = os::fault::handler_stack();
    let own = |address| {
        !handlers.holds(address)
            && !thread.ready.holds(address)
            && thread.own_stack_holds(tls, address)
    };
    own(at) && !(at <= mark && own(mark))
}

/// The last step.
#[inline]
pub(crate) fn end(tls: &Tls, before: usize) {
    tls.set_inside(before);
    let asked = tls.m().and_then(|m| Some((m, m.segment()?)));
    if let Some((m, segment)) = asked.filter(|(_, segment)| segment.request.is_posted()) {
        interrupt::end_here(m, segment);
    }
}
