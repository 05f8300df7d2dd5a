//! Gives the memory of idle Ms back to the system, because a burst of threads must not cost
//! its stacks for ever.
//!
//! The Ms that were returned last are bound next, and keep their memory. Each M that is
//! returned pushes an older one out of a ring; if that one has not been bound since, its
//! stack's pages are given up. So the end of a burst releases the stacks of the burst, while
//! steady traffic reuses warm ones.

use crate::m::{M, MS};
use crate::pool;
use crate::pool::EXTRA;
use crate::sync::{AtomicU32, Relaxed};
use crate::thread_record::Thread;

/// How many of the Ms that were returned last keep their memory.
const WARM: usize = 64;

/// The Ms that were returned last: their rows' numbers plus one, 0 where there is none.
static RECENT: [AtomicU32; WARM] = [const { AtomicU32::new(0) }; WARM];

/// Ms returned so far; modulo [`WARM`], the next place in [`RECENT`].
static RETURNED: AtomicU32 = AtomicU32::new(0);

/// Notes that `thread` returns `m`, and gives up the memory of the M that was returned [`WARM`]
/// returns ago, if that one is still idle.
pub(crate) fn note_returned(m: &M, thread: &Thread) {
    let now = RETURNED.fetch_add(1, Relaxed);
    m.returned_at.store(now, Relaxed);
    m.touched.store(true, Relaxed);
    let place = now as usize % WARM;
    let before = RECENT[place].swap(m.index() + 1, Relaxed);
    let Some(cold) = before.checked_sub(1).and_then(|index| MS.get(index)) else { return };
    if !is_cold(cold, now) {
        return;
    }
    let was_in_transfer = thread.begin_transfer();
    if pool::claim(cold, thread, false) {
        cold.touched.store(false, Relaxed);
        cold.stack.discard();
        EXTRA.release(cold);
    }
    thread.end_transfer(was_in_transfer);
}

fn is_cold(m: &M, now: u32) -> bool {
    m.touched.load(Relaxed)
        && m.thread.load(Relaxed).is_null()
        && now.wrapping_sub(m.returned_at.load(Relaxed)) as usize >= WARM
}
