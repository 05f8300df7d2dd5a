// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where on a thread's stacks callbacks come from that no handler on a signal stack has made.
//!
//! A thread may install another signal stack at any time, without a call of needm's. So no address is
//! known to be off all signal stacks for good. But where Linux has said once that the thread is on
//! none, there is a stack of the thread's, and another signal stack is elsewhere. Only there do
//! callbacks take the fast paths; elsewhere Linux is asked, by one system call.
//!
//! The part that assembly looks at comes first. The others are of other fibers.

use super::sigaltstack::Stack;
use crate::os::terms::Known;
use crate::sync::{AtomicU32, Relaxed, SeqCst, compiler_fence};

/// What is taken for the same stack below an address on it, and above.
const BELOW: usize = 16 * 1024;
const ABOVE: usize = 4 * 1024;

/// Two addresses at most so far apart are taken for being on one stack, with all that is between.
const TOGETHER: usize = 64 * 1024;

/// The parts of other stacks than the last.
const OTHERS: usize = 7;

/// The further parts that are known, beside a [`Known`].
#[repr(C)]
pub(super) struct Others {
    parts: [Known; OTHERS],
    /// 1 while they change: a handler then leaves them alone.
    changing: AtomicU32,
}

impl Others {
    /// Runs `work`, unless this is a handler that has interrupted it.
    fn change(&self, work: impl FnOnce()) {
        // Not one atomic step, which takes as long as twenty others: a handler in between that
        // changes them is done before this goes on.
        if self.changing.load(Relaxed) != 0 {
            return;
        }
        self.changing.store(1, Relaxed);
        compiler_fence(SeqCst);
        work();
        compiler_fence(SeqCst);
        self.changing.store(0, Relaxed);
    }

    /// Whether an address is known. If it is, its part is `first` then, unless that changes just now.
    pub(super) fn find(&self, first: &Known, address: usize) -> bool {
        if first.holds(address) {
            return true;
        }
        let mut found = false;
        self.change(|| {
            if let Some(part) = self.parts.iter().find(|part| part.holds(address)) {
                let (to_front, back) = (part.get(), first.get());
                part.set(back.0, back.1);
                first.set(to_front.0, to_front.1);
                found = true;
            }
        });
        found
    }

    /// Linux says that the thread is at `address`, and on no signal stack. `stacks` are known to be
    /// such.
    pub(super) fn learn(&self, first: &Known, address: usize, stacks: [Stack; 2]) {
        let (mut lo, mut hi) = (address.saturating_sub(BELOW), address.saturating_add(ABOVE));
        for stack in stacks {
            let (start, end) = (stack.base(), stack.base() + stack.size());
            if stack.size() != 0 && end <= address {
                lo = lo.max(end);
            } else if stack.size() != 0 && start > address {
                hi = hi.min(start);
            }
        }
        self.change(|| {
            let (known, len) = first.get();
            let end = known.wrapping_add(len);
            let near = len != 0
                && lo <= end.saturating_add(TOGETHER)
                && known <= hi.saturating_add(TOGETHER);
            let overlaps = |stack: &Stack| {
                stack.size() != 0
                    && stack.base() < end.max(hi)
                    && known.min(lo) < stack.base() + stack.size()
            };
            if near && !stacks.iter().any(overlaps) {
                (lo, hi) = (known.min(lo), end.max(hi));
            } else {
                // The oldest goes.
                for at in (1..OTHERS).rev() {
                    let (lo, len) = self.parts[at - 1].get();
                    self.parts[at].set(lo, len);
                }
                self.parts[0].set(known, len);
            }
            first.set(lo, hi - lo);
        });
    }

    /// No address is known.
    pub(super) fn forget(&self, first: &Known) {
        first.set(0, 0);
        for part in &self.parts {
            part.set(0, 0);
        }
    }
}
