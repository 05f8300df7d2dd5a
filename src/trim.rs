//! The memory of idle Ms goes back to the system: a burst of threads must not cost
//! its stacks for ever.
//!
//! The Ms that were given back last are the next to be taken and stay warm. At each
//! thread's end a few of the others are looked at, wherever on the list they are: one
//! that has not been used since is taken, its stack's pages are given up, and it is
//! put back. So a burst pays for itself while it ends, and who comes and goes steadily
//! finds a warm M and pays nothing.

use crate::extra::{self, EXTRA};
use crate::m::{M, MS};
use crate::sync::{AtomicU32, Relaxed};
use crate::thread::Thread;

/// Ms given back last that keep their memory.
const WARM: u32 = 64;

/// Ms that are looked at each time.
const LOOKS: u32 = 8;

/// Ms given back by threads so far.
static GIVEN: AtomicU32 = AtomicU32::new(0);
/// Where the next look begins.
static HAND: AtomicU32 = AtomicU32::new(0);

/// Notes that a thread has no more use for `m`.
pub(crate) fn given(m: &M) {
    m.given.store(GIVEN.fetch_add(1, Relaxed).wrapping_add(1), Relaxed);
    m.touched.store(true, Relaxed);
}

fn is_cold(m: &M) -> bool {
    m.touched.load(Relaxed)
        && m.thread.load(Relaxed).is_null()
        && GIVEN.load(Relaxed).wrapping_sub(m.given.load(Relaxed)) > WARM
}

/// Gives up the memory of a few Ms that are not in use; `thread` is who looks.
pub(crate) fn trim(thread: &Thread) {
    let len = MS.len();
    if len <= WARM {
        return;
    }
    let from = HAND.fetch_add(LOOKS, Relaxed);
    for m in (0..LOOKS).filter_map(|step| MS.get(from.wrapping_add(step) % len)) {
        if is_cold(m) && extra::claim(m, thread, false) {
            m.touched.store(false, Relaxed);
            m.stack.discard();
            EXTRA.give(m);
        }
    }
}
