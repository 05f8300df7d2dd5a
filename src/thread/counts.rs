// SPDX-License-Identifier: MIT OR Apache-2.0
//! What first callbacks and exits of all threads write: which threads change records, and whose records are looked
//! at next.
//!
//! A comment `// model: NAME` marks where `models/` plants a bug of that name.

use crate::os::exit;
use crate::state;
use crate::sync::{Alone, AtomicU32, Ordering, Relaxed, Release, SeqCst};
use crate::thread_record::{THREADS, Thread};
use crate::tls::Tls;
use core::cell::Cell;
use core::ptr;

/// So many threads may say at once that they change records: with the rest of [`Counts`] in two lines.
const CHANGING: usize = if cfg!(needm_loom) { 2 } else { 29 };

/// What a thread's first callback writes.
pub(crate) struct Counts {
    /// The IDs of the threads that allocate or dismantle a record: [`while_open`]. Not a count, which would stay raised
    /// if a thread is jumped out of that, or exits there.
    changing: [AtomicU32; CHANGING],
    /// How many do for which there was no room.
    more_changing: AtomicU32,
    /// Calls of `reap_next`.
    pub(super) reap_calls: AtomicU32,
    /// Where the next look at records begins.
    pub(super) next_to_check: AtomicU32,
}

/// Those of all threads.
pub(crate) static COUNTS: Alone<Counts> = Alone(Counts {
    changing: [const { AtomicU32::new(0) }; CHANGING],
    more_changing: AtomicU32::new(0),
    reap_calls: AtomicU32::new(0),
    next_to_check: AtomicU32::new(0),
});

impl Counts {
    /// Says that the thread with this ID changes records. Where it says so; `None` if it is counted.
    #[inline] // with its order, or there is a table of jumps
    fn begin_change(&self, id: u32, order: Ordering) -> Option<&AtomicU32> {
        let first = self.changing.get(id as usize % CHANGING);
        let is_taken = |place: &&AtomicU32| {
            id != 0
                && place.load(Relaxed) == 0
                && place.compare_exchange(0, id, order, Relaxed).is_ok()
        };
        first.filter(is_taken).or_else(|| self.begin_change_elsewhere(id))
    }

    /// The same where another thread says so there: in any place, once those are forgotten that have exited.
    #[cold]
    #[inline(never)]
    fn begin_change_elsewhere(&self, id: u32) -> Option<&AtomicU32> {
        let is_taken = |place: &&AtomicU32| place.compare_exchange(0, id, SeqCst, Relaxed).is_ok();
        let find = || self.changing.iter().find(is_taken);
        let place =
            if id == 0 { None } else { find().or_else(|| self.any_changes().then(find)?) };
        if place.is_none() {
            self.more_changing.fetch_add(1, SeqCst);
        }
        place
    }

    /// Takes that back. A fork forgets all in the child, perhaps between the two.
    fn end_change(&self, id: u32, place: Option<&AtomicU32>) {
        match place {
            // No other thread changes it while this one lives.
            Some(place) if place.load(Relaxed) == id => place.store(0, Release),
            Some(_) => {}
            None => {
                let one_less = |changing: u32| changing.checked_sub(1);
                let _ = self.more_changing.fetch_update(SeqCst, SeqCst, one_less);
            }
        }
    }

    /// Whether a thread changes records. One that has exited in the middle of that does not.
    pub(crate) fn any_changes(&self) -> bool {
        let changes = |place: &AtomicU32| {
            let id = place.load(SeqCst);
            id != 0
                && (exit::is_alive(id) || place.compare_exchange(id, 0, SeqCst, SeqCst).is_err())
        };
        // All are looked at: in one round all that are dead are forgotten.
        let changing = self.changing.iter().filter(|place| changes(place)).count();
        changing != 0 || self.more_changing.load(SeqCst) != 0
    }

    /// No code of needm's is under way on this thread but the caller's: it changes no records, and what it has begun
    /// to dismantle, other threads may.
    pub(crate) fn forget_own_changes(&self, tls: &Tls) {
        let more = self.more_changing.load(Relaxed) != 0;
        if !more && self.changing.iter().all(|place| place.load(Relaxed) == 0) {
            return;
        }
        let id = own_id(tls);
        let own = || self.changing.iter().filter(|place| id != 0 && place.load(Relaxed) == id);
        if more || own().next().is_some() {
            let is_own = |thread: &&Thread| tls.thread().is_some_and(|own| ptr::eq(own, *thread));
            let others = THREADS.iter().filter(|thread| !is_own(thread));
            others.for_each(|thread| thread.abandon_dismantling(id));
        }
        own().for_each(|place| place.store(0, Release));
    }

    /// Does `work`, which changes records.
    pub(crate) fn change<R>(&self, tls: &Tls, work: impl FnOnce() -> R) -> R {
        let id = own_id(tls);
        let place = self.begin_change(id, SeqCst);
        let done = work();
        self.end_change(id, place);
        done
    }

    /// In a forked child: no other thread exists.
    pub(crate) fn fork_child(&self) {
        self.changing.iter().for_each(|place| place.store(0, SeqCst));
        self.more_changing.store(0, SeqCst);
    }
}

/// This thread's ID: without a system call where its record has it.
pub(super) fn own_id(tls: &Tls) -> u32 {
    let noted = tls.thread().and_then(|own| u32::try_from(own.notice.thread_id()).ok());
    noted.filter(|id| *id != 0).unwrap_or_else(|| exit::thread_id(tls.address()))
}

/// Does `work`; `None` if needm is being stopped. `thread::stop` waits for the work before it
/// unmaps anything.
pub(crate) fn while_open<R>(work: impl FnOnce() -> R) -> Option<R> {
    let (id, place) = (own_id(Tls::current()), Cell::new(None));
    // model: a_change_that_is_announced_too_late
    // model: a_change_that_is_announced_unordered
    place.set(COUNTS.begin_change(id, SeqCst));
    let is_open = state::is_open();
    let done = is_open.then(work);
    COUNTS.end_change(id, place.get());
    done
}
