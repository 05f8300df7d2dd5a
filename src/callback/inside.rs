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
//! `abandoned.rs`. Where a handler has, the function that it calls finds a mark, and its own one says so
//! ([`INTERRUPTED`]). The first of them, of the code that was interrupted, is in the block as well
//! ([`Tls::outermost`]).
//!
//! A handler may have jumped out of needm's code: then a mark is there, and no code that takes it away. It
//! is known by the word in the frame that it is the address of: a seal, which code that runs there later
//! overwrites.

use crate::callback::interrupt;
use crate::lifecycle_lock;
use crate::os;
use crate::sync::{AtomicUsize, Relaxed};
use crate::tls::{INTERRUPTED, Tls, seal_of};
use core::ptr;

/// In the frame of a function that is inside needm: what its mark is the address of.
pub(crate) struct Mark(AtomicUsize);

impl Mark {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Its address. From here on the seal is there.
    #[inline]
    pub(crate) fn seal(&self) -> usize {
        let at = ptr::from_ref(self).expose_provenance();
        self.0.store(seal_of(at), Relaxed);
        at
    }
}

/// Runs `work` inside needm, on whichever stack. If an interrupt of this thread's callback came
/// meanwhile, the callback ends here.
#[inline]
pub(crate) fn inside<R>(work: impl FnOnce(&'static Tls) -> R) -> R {
    let (tls, mark) = (Tls::current(), Mark::new());
    let before = begin(tls, &mark);
    let result = work(tls);
    end(tls, before);
    result
}

/// The first step. `mark` stays in the caller's frame until the last one. The mark of before is returned,
/// for [`end`] to put back.
#[inline]
pub(crate) fn begin(tls: &Tls, mark: &Mark) -> usize {
    let at = mark.seal();
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
    lifecycle_lock::give_up_left(tls, at, |mark| is_left_for_sure(tls, mark, at));
    let before = tls.inside();
    let innermost = before & !INTERRUPTED;
    let outermost = if before == innermost { innermost } else { tls.outermost() };
    // A function that a handler has called may have been jumped out of, and the handler goes on. Or the handler
    // was, with what it had interrupted, and what was called since has not been.
    let inner_goes_on = !is_left(tls, innermost, at);
    let outer_goes_on =
        if outermost == innermost { inner_goes_on } else { !is_left(tls, outermost, at) };
    if !inner_goes_on && !outer_goes_on {
        tls.set_inside(at);
        if let Some(thread) = tls.thread() {
            thread.forget_left_hook();
        }
        lifecycle_lock::give_up_left(tls, at, |_| true);
        return 0;
    }
    tls.set_outermost(if outer_goes_on { outermost } else { innermost });
    tls.set_inside(at | INTERRUPTED);
    match (outer_goes_on, inner_goes_on) {
        (true, true) => before,
        (true, false) => outermost,
        (false, _) => innermost,
    }
}

/// Whether an address is on the stack that this thread was made with. A thread without a record may be in a start of
/// needm.
fn own_stack_holds(tls: &Tls, address: usize) -> bool {
    match tls.thread() {
        Some(thread) => thread.own_stack_holds(tls, address),
        None => os::thread::own_stack(tls.address()).is_some_and(|own| own.contains(&address)),
    }
}

/// Whether the code that has set this mark was jumped out of: its frame is overwritten, or further down on
/// the thread's own stack than `at`, where a handler is further down than what it has interrupted.
fn is_left(tls: &Tls, mark: usize, at: usize) -> bool {
    let handlers = os::fault::handler_stack();
    let own = |address| {
        !handlers.holds(address)
            && tls.thread().is_none_or(|thread| !thread.ready.holds(address))
            && own_stack_holds(tls, address)
    };
    let is_below = own(at) && !(at < mark && own(mark));
    // A live frame has no other one at its place.
    mark == at || is_below || os::thread::word_at(mark) != Some(seal_of(mark))
}

/// Whether this thread, which is at `at`, was jumped out of the frame with this sealed word: it is overwritten,
/// or further down on the thread's own stack. The frame may be on a G, and its function wait off it.
pub(crate) fn is_left_for_sure(tls: &Tls, mark: usize, at: usize) -> bool {
    let own = |address| own_stack_holds(tls, address);
    let handlers = os::fault::handler_stack();
    let is_handlers =
        || handlers.holds(at) || tls.thread().is_some_and(|thread| thread.ready.holds(at));
    let is_below = mark < at && own(mark) && own(at) && !is_handlers();
    is_below || os::thread::word_at(mark) != Some(seal_of(mark))
}

/// The last step.
#[inline]
pub(crate) fn end(tls: &Tls, before: usize) {
    tls.set_inside(before);
    if let Some(m) = tls.m().filter(|m| m.is_asked_to_end()) {
        interrupt::end_here(m);
    }
}
