// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stack that a thread was made with.

use core::ops::Range;

use crate::os;
use crate::sync::Relaxed;
use crate::thread_record::Thread;
use crate::tls::Tls;

/// In the end of [`Thread::stack`]: what is below its lowest address is asked for. No stack ends at an
/// odd address.
const SEEN: usize = 1;

/// Nothing is known.
const UNKNOWN: (usize, usize) = (1, 1);

impl Thread {
    /// The part of the stack that this thread was made with which an address is on, if that is known
    /// without a system call. Also in a handler.
    pub(crate) fn known_own_part(&self, tls: &Tls, address: usize) -> Option<Range<usize>> {
        let found = self.stack[0].load(Relaxed)..self.stack[1].load(Relaxed) & !SEEN;
        os::thread::known_own_part(tls.address(), address, found)
    }

    /// Whether an address is on the stack that this thread was made with. Also in a handler.
    pub(crate) fn own_stack_holds(&self, tls: &Tls, address: usize) -> bool {
        if self.stack[1].load(Relaxed) == 0 {
            let block = tls.address();
            let known = os::thread::own_stack(block).map(|stack| (stack.start, stack.end));
            let end = || os::thread::own_stack_end(block).map(|end| end & !SEEN);
            let seen = || end().map(|end| (end, end | SEEN));
            let (lo, end) = known.or_else(seen).unwrap_or(UNKNOWN);
            self.stack[0].store(lo, Relaxed);
            self.stack[1].store(end, Relaxed);
        }
        let (lo, end) = (self.stack[0].load(Relaxed), self.stack[1].load(Relaxed));
        if (lo..end & !SEEN).contains(&address) {
            return true;
        }
        let further =
            end & SEEN != 0 && address < lo && os::thread::is_own_stack_down_to(address, lo);
        if further {
            self.stack[0].store(address, Relaxed);
        }
        further
    }
}
