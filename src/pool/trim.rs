// SPDX-License-Identifier: MIT OR Apache-2.0
//! Gives the memory of idle Ms back to the system, because a burst of threads must not cost
//! its stacks for ever.
//!
//! The Ms that were returned last are bound next, and keep their memory. Those that were returned
//! earlier, and have not been bound since, give up the pages of their stacks, [`BATCH`] at a time:
//! where their stacks lie side by side, as those of a burst do, all of them in one system call. So
//! the end of a burst releases the stacks of the burst, while steady traffic reuses warm ones.

use crate::m::{M, MS};
use crate::pool;
use crate::pool::EXTRA;
use crate::sync::{Alone, AtomicU32, Relaxed};
use crate::thread_record::Thread;
use core::cell::Cell;

/// How many of the Ms that were returned last keep their memory, at least; at most, [`BATCH`] more.
const WARM: u32 = 64;

/// How many Ms give up their memory at a time.
const BATCH: u32 = 32;

/// Places for the Ms that were returned last.
const PLACES: usize = 128;

const _: () = assert!(PLACES.is_power_of_two() && (WARM + BATCH) as usize <= PLACES);

/// The Ms that were returned last.
struct Returned {
    /// How many were returned so far; modulo [`PLACES`], the next place in `recent`.
    count: AtomicU32,
    /// Their rows' numbers plus one, 0 where there is none.
    recent: [AtomicU32; PLACES],
}

static RETURNED: Alone<Returned> =
    Alone(Returned { count: AtomicU32::new(0), recent: [const { AtomicU32::new(0) }; PLACES] });

/// The place of the M that was returned when so many had been.
fn place(returned: u32) -> &'static AtomicU32 {
    &RETURNED.recent[returned as usize % PLACES]
}

/// Notes that `thread` returns `m`. Once in [`BATCH`] times, gives up the memory of as many Ms that
/// were returned before the last [`WARM`], of those that are still idle.
pub(crate) fn note_returned(m: &M, thread: &Thread) {
    let now = RETURNED.count.fetch_add(1, Relaxed);
    m.returned_at.store(now, Relaxed);
    m.touched.store(true, Relaxed);
    // What was there was overlooked: it was not idle yet, or the thread that was to look was slow.
    let overlooked = place(now).swap(m.index() + 1, Relaxed).wrapping_sub(1);
    let next = now.wrapping_add(1);
    if next.is_multiple_of(BATCH) {
        give_up_batch(next.wrapping_sub(WARM + BATCH), thread);
    }
    if overlooked != m.index() && MS.get(overlooked).is_some_and(is_cold) {
        give_up_one(overlooked, thread);
    }
}

/// Gives up the memory of the Ms from `first` on, as they were returned.
#[cold]
#[inline(never)]
fn give_up_batch(first: u32, thread: &Thread) {
    give_up((0..BATCH).filter_map(|later| take(first.wrapping_add(later))), thread);
}

/// Gives up the memory of the M in this row.
#[cold]
#[inline(never)]
fn give_up_one(row: u32, thread: &Thread) {
    give_up(core::iter::once(row), thread);
}

/// The row of the M that was returned when so many had been, if its memory is to be given up, which
/// nobody else does then.
fn take(returned: u32) -> Option<u32> {
    let row = place(returned).load(Relaxed);
    let is_cold = || MS.get(row.wrapping_sub(1)).is_some_and(is_cold);
    let taken =
        row != 0 && is_cold() && place(returned).compare_exchange(row, 0, Relaxed, Relaxed).is_ok();
    taken.then(|| row.wrapping_sub(1))
}

/// Gives up the memory of the Ms in these rows that are cold, [`BATCH`] at most.
fn give_up(cold: impl Iterator<Item = u32>, thread: &Thread) {
    let was_in_transfer = thread.begin_transfer();
    // The rows of those that are claimed here, in the order of their stacks.
    let rows = [const { Cell::new(0) }; BATCH as usize];
    let claimed = |count: usize| rows.iter().take(count).filter_map(|row| MS.get(row.get()));
    let mut count = 0;
    for row in cold {
        let cold = MS.get(row).filter(|m| is_cold(m) && pool::claim(m, thread, false));
        let Some((m, slot)) = cold.zip(rows.get(count)) else { continue };
        m.touched.store(false, Relaxed);
        m.note_used();
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
    let mut stacks = claimed(count).map(|m| &m.stack).peekable();
    while let Some(lowest) = stacks.next() {
        let mut highest = lowest;
        while let Some(next) = stacks.next_if(|next| highest.is_below(next)) {
            highest = next;
        }
        lowest.discard_to(highest);
    }
    claimed(count).for_each(|m| EXTRA.release(m));
    thread.end_transfer(was_in_transfer);
}

/// Whether the stack of one row's M is below that of the other's.
fn is_in_order(lower: u32, higher: u32) -> bool {
    let lo = |row| MS.get(row).map(|m| m.stack.lo());
    lo(lower) < lo(higher)
}

/// Whether the memory of an M that was returned long ago is still there, and not in use.
fn is_cold(m: &M) -> bool {
    let age = RETURNED.count.load(Relaxed).wrapping_sub(m.returned_at.load(Relaxed));
    m.touched.load(Relaxed) && m.thread.load(Relaxed).is_null() && age > WARM
}
