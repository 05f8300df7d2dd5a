// SPDX-License-Identifier: MIT OR Apache-2.0
//! What needm counts.

use crate::callback::inside::inside;
use crate::callback::panic::RAISED;
use crate::pool::EXTRA;
use crate::sync::Relaxed;
use crate::thread::counts::while_open;

/// What needm has made and counted.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// needm::callback(|_| ())?;
/// let stats = needm::stats();
/// assert_eq!((stats.ms_total, stats.ms_bound, stats.ms_idle), (2, 1, 1)); // and a spare
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Ms made.
    pub ms_total: u64,
    /// Ms that are bound to no thread.
    pub ms_idle: u64,
    /// Ms that are bound to threads.
    pub ms_bound: u64,
    /// Ms reclaimed from threads that exited without unbinding them.
    pub ms_reclaimed: u64,
    /// Times that a thread had to wait for an M.
    pub waits: u64,
    /// Times that one gave up.
    pub timeouts: u64,
    /// Panics raised in callbacks. A Rust panic is none that unwinds to the callback's caller.
    pub panics: u64,
    /// Faults raised in callbacks, overflows not counted.
    pub faults: u64,
    /// Stacks that ran out.
    pub overflows: u64,
    /// Callbacks ended by an interrupt.
    pub interrupts: u64,
}

/// What needm has made and counted, since the process began; see [`Stats`] for an example.
#[must_use]
pub fn stats() -> Stats {
    // This thread may have no record, for which a stop would leave the Ms mapped.
    let counts = inside(|_| while_open(|| EXTRA.count()));
    let (ms_total, ms_idle, ms_bound) = counts.unwrap_or((0, 0, 0));
    Stats {
        ms_total,
        ms_idle,
        ms_bound,
        ms_reclaimed: EXTRA.reclaimed.load(Relaxed),
        waits: EXTRA.waits.load(Relaxed),
        timeouts: EXTRA.timeouts.load(Relaxed),
        panics: RAISED.panics.load(Relaxed),
        faults: RAISED.faults.load(Relaxed),
        overflows: RAISED.overflows.load(Relaxed),
        interrupts: RAISED.interrupts.load(Relaxed),
    }
}
