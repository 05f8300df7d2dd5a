//! The memory of idle Ms goes back to the system: a burst of threads must not cost
//! its stacks for ever.
//!
//! The Ms that threads gave back last are the next to be taken and stay warm. Each one
//! that is given back pushes another out of a ring; if that has not been used since, its
//! stack's pages are given up. So a burst pays for itself while it ends, and threads
//! that come and go steadily find warm Ms and pay nothing.

use crate::m::{M, MS};
use crate::pool;
use crate::pool::EXTRA;
use crate::sync::{AtomicU32, Relaxed};
use crate::thread_record::Thread;

/// Ms given back last that keep their memory.
const WARM: usize = 64;

/// The Ms that threads gave back last: their rows' numbers plus one, 0 where none was.
static RECENT: [AtomicU32; WARM] = [const { AtomicU32::new(0) }; WARM];

/// Ms given back by threads so far; also the next place in [`RECENT`].
static RETURNED: AtomicU32 = AtomicU32::new(0);

/// Notes that a thread has no more use for `m`, and gives up the memory of the one that
/// was given back [`WARM`] times ago, if it is still idle. `thread` is the one that unbinds `m`.
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
