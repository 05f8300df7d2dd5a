// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where on a thread's stack callbacks come from that no handler on a signal stack has made.
//!
//! A thread may install another signal stack at any time, without a call of needm's. So no address is
//! known to be off all signal stacks for good. But where Linux has said once that the thread is on
//! none, there is a stack of the thread's, and another signal stack is elsewhere. Only there do
//! callbacks take the fast paths; elsewhere Linux is asked, by one system call.
//!
//! A stack that is not the thread's own may be unmapped at any time, and a signal stack may get its
//! memory. So one stack's part is known at a time, that of the last place: a callback from elsewhere
//! makes that the part. On the thread's own stack, where that is known without a system call, it is
//! generous ([`OWN_BELOW`], [`OWN_ABOVE`], [`OWN_TOGETHER`]): a signal stack there is in a frame of the
//! thread's. Elsewhere it reaches no farther than callbacks have come from:
//! - [`BELOW`] such a place needm itself has used that stack. A signal stack that lies right below it
//!   has the frame of a signal, which is larger, between its end and any callback there.
//! - [`ABOVE`] such a place a signal stack may begin. But its lowest 2 KiB are what needm itself needs
//!   below a handler there that calls back.
//! - Between two such places that are less than [`LEAST`] apart there is room for no signal stack.
//!   Places farther apart are on one stack if both are on the thread's own.

use core::ops::Range;

use super::sigaltstack::Stack;
use super::spares_calls;
use crate::os::terms::Known;
use crate::sync::{AtomicU32, Relaxed, SeqCst, compiler_fence};

/// What is taken for the same stack below a place that a callback has come from, and above.
const BELOW: usize = 512;
const ABOVE: usize = 1024;

/// The same on the thread's own stack, and how far apart two parts of it are taken for one.
const OWN_BELOW: usize = 16 * 1024;
const OWN_ABOVE: usize = 4 * 1024;
const OWN_TOGETHER: usize = 64 * 1024;

/// No signal stack is smaller: `MINSIGSTKSZ` (sigaltstack(2)).
const LEAST: usize = 2048;

/// Two parts so far apart come from places that are less than [`LEAST`] apart.
const TOGETHER: usize = LEAST - 1 - BELOW - ABOVE;

/// At each so many changes of the part, it is asked whether both are of the thread's own stack: the
/// first time that reads a file.
const MOVES: u32 = 8;

/// How the part changes, beside a [`Known`].
#[repr(C)]
pub(super) struct Moves {
    /// Changes to a place far from the last.
    count: AtomicU32,
    /// 1 while it changes: a handler then leaves it alone.
    changing: AtomicU32,
}

impl Moves {
    /// Linux says that the thread is at `address`, and on no signal stack. `stacks` are known to be
    /// such. `is_own`: whether an address is on the stack that the thread was made with; `own_part`:
    /// the part of that which an address is on, if that is known without a system call.
    pub(super) fn learn(
        &self,
        part: &Known,
        address: usize,
        stacks: [Stack; 2],
        is_own: impl Fn(usize) -> bool,
        own_part: impl Fn(usize) -> Option<Range<usize>>,
    ) {
        // Not one atomic step, which takes as long as twenty others: a handler in between that
        // changes it is done before this goes on.
        if self.changing.load(Relaxed) != 0 {
            return;
        }
        self.changing.store(1, Relaxed);
        compiler_fence(SeqCst);
        let (mut lo, mut hi) = (address.saturating_sub(BELOW), address.saturating_add(ABOVE));
        let own = own_part(address).unwrap_or(0..0);
        if !own.is_empty() {
            lo = address.saturating_sub(OWN_BELOW).max(own.start);
            hi = address.saturating_add(OWN_ABOVE).min(own.end);
        }
        for stack in stacks {
            let (start, end) = (stack.base(), stack.base() + stack.size());
            if stack.size() != 0 && end <= address {
                lo = lo.max(end);
            } else if stack.size() != 0 && start > address {
                hi = hi.min(start);
            }
        }
        let (known, len) = part.get();
        let end = known.wrapping_add(len);
        let overlaps = |stack: &Stack| {
            stack.size() != 0
                && stack.base() < end.max(hi)
                && known.min(lo) < stack.base() + stack.size()
        };
        let is_own_part = own.start <= known && end <= own.end;
        let together = if is_own_part { OWN_TOGETHER } else { TOGETHER };
        if len != 0
            && !stacks.iter().any(overlaps)
            && (lo <= end.saturating_add(together) && known <= hi.saturating_add(together)
                || self.is_to_be_asked() && is_own(address) && is_own(known))
        {
            (lo, hi) = (known.min(lo), end.max(hi));
        }
        part.set(lo, hi - lo);
        compiler_fence(SeqCst);
        self.changing.store(0, Relaxed);
    }

    /// Counts a change to a place far from the last.
    fn is_to_be_asked(&self) -> bool {
        let count = self.count.load(Relaxed).wrapping_add(1);
        self.count.store(count, Relaxed);
        count.is_multiple_of(MOVES) && !spares_calls()
    }
}
