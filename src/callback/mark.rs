// SPDX-License-Identifier: MIT OR Apache-2.0
//! The mark of code that is inside needm (`inside.rs`), and whether that code still goes on.

use crate::lifecycle_lock;
use crate::os;
use crate::pool;
use crate::sync::{AtomicUsize, Relaxed};
use crate::thread::counts::COUNTS;
use crate::thread::hook;
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

/// The first step. `mark` stays in the caller's frame until the last one. The mark of before is returned,
/// for [`end`](crate::callback::inside::end) to put back.
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
    // A coroutine may have put the flag back, in whose code another one noted it.
    let noted = Some(tls.outermost()).filter(|mark| before != innermost && *mark != 0);
    let outermost = noted.unwrap_or(innermost);
    // A function that a handler has called may have been jumped out of, and the handler goes on. Or the handler
    // was, with what it had interrupted, and what was called since has not been.
    let inner_goes_on = !is_left(tls, innermost, at);
    let outer_goes_on =
        if outermost == innermost { inner_goes_on } else { !is_left(tls, outermost, at) };
    // The mark may be of before a coroutine was suspended, which a hook has had go on.
    if !inner_goes_on && !outer_goes_on && !hook::is_under_rusts(tls) {
        tls.set_inside(at);
        if let Some(thread) = tls.thread() {
            thread.forget_left_hook();
            pool::forget_waits(thread);
        }
        COUNTS.forget_own_changes(tls);
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
/// needm: of it no more is said than is known without a system call, because nothing is kept, and signals may come
/// faster than the system answers.
fn own_stack_holds(tls: &Tls, address: usize) -> bool {
    match tls.thread() {
        Some(thread) => thread.own_stack_holds(tls, address),
        None => os::thread::known_own_part(tls.address(), address, 0..0).is_some(),
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
