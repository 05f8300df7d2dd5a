// SPDX-License-Identifier: MIT OR Apache-2.0
//! For how long a thread has been waiting: by the clock or, where the system does not let it be
//! read, by the sleeps.

use crate::os::wait::{now, wait};
use crate::sync::AtomicU32;

/// A wait that has begun.
pub(crate) struct Waiting {
    start: Option<u64>,
    slept: u64,
}

/// What a sleep that ended early counts for, in nanoseconds: more than none, so that the wait
/// ends even if the system refuses to let the thread sleep.
const EARLY: u64 = 1000;

/// How long a thread without a clock sleeps at a time, in nanoseconds.
const SLICE: u64 = 500_000;

impl Waiting {
    /// From now on.
    pub(crate) fn begin() -> Self {
        Self { start: now(), slept: 0 }
    }

    /// Nanoseconds since.
    pub(crate) fn elapsed(&self) -> u64 {
        let by_clock = self.start.zip(now()).map(|(start, now)| now.saturating_sub(start));
        by_clock.unwrap_or(self.slept)
    }

    /// How long to sleep now: at most `most`, and not beyond `limit`, both in nanoseconds. `None`
    /// if the limit has passed.
    pub(crate) fn nap(&self, limit: Option<u64>, most: u64) -> Option<u64> {
        let Some(limit) = limit else { return Some(most) };
        let left = limit.saturating_sub(self.elapsed());
        (left != 0).then_some(left.min(most))
    }

    /// Sleeps while `word` is `seen`, at most `nanos`.
    ///
    /// Without a clock it does not sleep on the word: of a sleep that a wake-up ends it is not
    /// known how long it was, and under load there are thousands of them. It sleeps for a short
    /// time that is known, and the caller looks again.
    pub(crate) fn sleep(&mut self, word: &AtomicU32, seen: u32, nanos: u64) {
        if self.start.is_some() {
            wait(word, seen, Some(nanos));
            return;
        }
        let never = AtomicU32::new(0);
        let nanos = nanos.min(SLICE);
        let whole = wait(&never, 0, Some(nanos));
        self.slept = self.slept.saturating_add(if whole { nanos } else { EARLY });
    }
}
