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
//! ([`INTERRUPTED`](crate::tls::INTERRUPTED)). The first of them, of the code that was interrupted, is in the block as well
//! ([`Tls::outermost`]).
//!
//! A handler may have jumped out of needm's code: then a mark is there, and no code that takes it away. It
//! is known by the word in the frame that it is the address of: a seal, which code that runs there later
//! overwrites.

use crate::callback::interrupt;
pub(crate) use crate::callback::mark::{Mark, begin, is_left_for_sure};
use crate::tls::Tls;

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

/// The last step.
#[inline]
pub(crate) fn end(tls: &Tls, before: usize) {
    tls.set_inside(before);
    if let Some(m) = tls.m().filter(|m| m.is_asked_to_end()) {
        interrupt::end_here(m);
    }
}
