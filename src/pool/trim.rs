// SPDX-License-Identifier: MIT OR Apache-2.0
//! Gives the memory of idle Ms back to the system, because a burst of threads must not cost
//! its stacks for ever.
//!
//! The Ms that were returned last are bound next, and keep their memory. Others give up the pages of their
//! stacks once more than a few Ms, and twice as many as are bound, have memory. Not at once, because each
//! time the system has to stop all processors on which this process runs: the fewer Ms are bound, the more
//! of those whose stacks lie side by side are idle, and they give up their memory in one system call. So
//! the end of a burst releases the stacks of the burst, while steady traffic reuses warm ones.

use crate::m::{M, MS};
use crate::pool;
use crate::pool::EXTRA;
use crate::sync::{Alone, AtomicU32, Relaxed};
use crate::thread_record::Thread;
use core::cell::Cell;

/// How many of the Ms that were returned last keep their memory, at least.
const WARM: u32 = 64;

/// How many more have memory before any gives it up, with none bound; and how many for each that is.
const SLACK: u32 = 32;
const PER_BOUND: u32 = 2;

/// So many rows, one after another, are looked at together.
const GROUP: u32 = u32::BITS;

/// How many Ms were returned so far, of how many there is memory to give up, and which group is looked at
/// next.
struct Returned {
    count: AtomicU32,
    touched: AtomicU32,
    next_group: AtomicU32,
}

static RETURNED: Alone<Returned> = Alone(Returned {
    count: AtomicU32::new(0),
    touched: AtomicU32::new(0),
    next_group: AtomicU32::new(0),
});

/// Whether Ms have memory to give up: a bit of a word in the first row of their group.
fn touched_of(row: u32) -> Option<(&'static AtomicU32, u32)> {
    let first = MS.get(row - row % GROUP)?;
    Some((&first.touched, 1 << (row % GROUP)))
}

fn is_touched(row: u32) -> bool {
    touched_of(row).is_some_and(|(word, bit)| word.load(Relaxed) & bit != 0)
}

/// Notes that there is no memory to give up of the M in this row.
pub(crate) fn forget(row: u32) {
    if let Some((word, bit)) = touched_of(row)
        && word.fetch_and(!bit, Relaxed) & bit != 0
    {
        RETURNED.touched.fetch_sub(1, Relaxed);
    }
}

/// Notes that `thread` has returned `m`. If there is too much memory now, gives up some.
pub(crate) fn note_returned(m: &M, thread: &Thread) {
    m.returned_at.store(RETURNED.count.fetch_add(1, Relaxed), Relaxed);
    if let Some((word, bit)) = touched_of(m.index())
        && word.load(Relaxed) & bit == 0
        && word.fetch_or(bit, Relaxed) & bit == 0
    {
        RETURNED.touched.fetch_add(1, Relaxed);
    }
    let bound = EXTRA.made.load(Relaxed).saturating_sub(EXTRA.listed.load(Relaxed));
    let most = bound.saturating_mul(PER_BOUND).saturating_add(WARM + SLACK);
    if RETURNED.touched.load(Relaxed) > most {
        give_up_some(thread);
    }
}

/// Gives up the memory of one group.
#[cold]
#[inline(never)]
fn give_up_some(thread: &Thread) {
    let groups = MS.len().div_ceil(GROUP);
    for _ in 0..groups {
        let group = RETURNED.next_group.fetch_add(1, Relaxed) % groups.max(1);
        if give_up(group * GROUP, thread) {
            return;
        }
    }
}

/// Gives up the memory of the Ms in the group from row `first` on that are cold. False if there are none.
fn give_up(first: u32, thread: &Thread) -> bool {
    let cold = || (first..first + GROUP).filter(|row| is_cold(*row));
    let Some((lowest, highest)) = cold().next().zip(cold().next_back()) else { return false };
    let was_in_transfer = thread.begin_transfer();
    // The rows of those that are claimed here, in the order of their stacks: also of those between that
    // have no memory.
    let rows = [const { Cell::new(0) }; GROUP as usize];
    let mut count = 0;
    for row in lowest..=highest {
        let idle = MS.get(row).filter(|m| is_idle(m) && (!is_touched(row) || is_cold(row)));
        let claimed = idle.filter(|m| pool::claim(m, thread, false));
        let Some((_, slot)) = claimed.zip(rows.get(count)) else { continue };
        slot.set(row);
        count += 1;
        // Few are not in place already.
        for pair in rows.get(..count).unwrap_or_default().windows(2).rev() {
            let [lower, higher] = pair else { break };
            if is_in_order(lower.get(), higher.get()) {
                break;
            }
            lower.swap(higher);
        }
    }
    let claimed = || rows.iter().take(count).map(Cell::get);
    let mut from: Option<&M> = None;
    let mut to: Option<&M> = None;
    for m in claimed().filter_map(|row| MS.get(row)) {
        let touched = is_touched(m.index());
        if touched {
            m.note_used();
            forget(m.index());
        }
        (from, to) = match from.zip(to) {
            Some((from, to)) if to.stack.is_below(&m.stack) => (Some(from), Some(m)),
            other => {
                discard(other);
                (touched.then_some(m), touched.then_some(m))
            }
        };
    }
    discard(from.zip(to));
    claimed().filter_map(|row| MS.get(row)).for_each(|m| EXTRA.release(m));
    thread.end_transfer(was_in_transfer);
    true
}

/// Gives up the memory of the stacks from one M's to the other's, all of which are side by side.
fn discard(stacks: Option<(&M, &M)>) {
    if let Some((lowest, highest)) = stacks {
        lowest.stack.discard_to(&highest.stack);
    }
}

/// Whether the stack of one row's M is below that of the other's.
fn is_in_order(lower: u32, higher: u32) -> bool {
    let lo = |row| MS.get(row).map(|m| m.stack.lo());
    lo(lower) < lo(higher)
}

/// Whether an M is idle, and no thread's last one.
fn is_idle(m: &M) -> bool {
    !pool::is_held(m) && m.thread.load(Relaxed).is_null()
}

/// Whether the memory of the M in this row was returned long ago, and is still there, and not in use.
fn is_cold(row: u32) -> bool {
    let age = |m: &M| RETURNED.count.load(Relaxed).wrapping_sub(m.returned_at.load(Relaxed));
    is_touched(row) && MS.get(row).is_some_and(|m| is_idle(m) && age(m) > WARM)
}
