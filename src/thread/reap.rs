//! Getting a record, and reaping: records of threads that have exited are found, what they
//! held is returned, and the records are used again.
//!
//! # Safety
//! As for [`super`]: rows stay mapped while a live thread has a record, and a pointer from a
//! record leads to a row of the table of Ms.
#![allow(unsafe_code)] // pointers to Ms

use crate::error::Error;
use crate::gate;
use crate::m::{M, MS};
use crate::pool;
use crate::pool::{EXTRA, trim};
use crate::state;
use crate::sync::{AtomicU32, Relaxed, Release, SeqCst};
use crate::thread_record::{FREE, FREE_THREADS, LIVE, ONE_GENERATION, PHASE, THREADS, Thread};
use crate::tls::Tls;
use core::ptr;

/// Records that are looked at for ended threads, each time, by a thread that lacks a record
/// or an M; and by one that gets one, if there are no more.
pub(crate) const CHECKS: u32 = 8;

/// Threads that take a record, or one apart: [`while_open`].
pub(crate) static RECORD_CHANGES: AtomicU32 = AtomicU32::new(0);

/// Where [`next_to_check`] begins.
static NEXT_TO_CHECK: AtomicU32 = AtomicU32::new(0);

/// A record for this thread, unless needm is being stopped.
pub(crate) fn allocate_while_open(tls: &Tls) -> Result<Option<&'static Thread>, Error> {
    while_open(|| Thread::allocate(tls).ok_or(Error::NoMemory)).transpose()
}

/// Does `work`, which [`stop`] waits for before it unmaps anything; `None` if needm is
/// being stopped.
pub(crate) fn while_open<R>(work: impl FnOnce() -> R) -> Option<R> {
    // model: a_change_that_is_announced_too_late
    // model: a_change_that_is_announced_unordered
    RECORD_CHANGES.fetch_add(1, SeqCst);
    let is_open = state::is_open();
    let done = is_open.then(work);
    // A forked child starts from 0, maybe in the middle of this.
    let _ = RECORD_CHANGES.fetch_update(SeqCst, SeqCst, |changes| changes.checked_sub(1));
    done
}

/// Looks at a record, or at all if they are few, for threads that have ended; how many Ms
/// came back.
pub(crate) fn reap_next() -> u32 {
    let count = if THREADS.len() > CHECKS { 1 } else { CHECKS };
    next_to_check(count).map(|thread| thread.reap(false)).sum()
}

/// Looks at some more, and asks the system about those of which nothing else tells. Before
/// an M is made, so that threads that exit unnoticed do not take one each.
pub(crate) fn reap_next_asking() -> u32 {
    next_to_check(CHECKS).map(|thread| thread.reap(true)).sum()
}

/// The record of a thread that has ended, now the caller's. Only while needm does not
/// stop.
fn reuse_dead() -> Option<&'static Thread> {
    next_to_check(CHECKS).find(|t| t.seen_exited(false).is_some_and(|state| t.claim_record(state)))
}

/// The records whose turn it is: one after the other, from the first to the last. Were the
/// hand to go in strides, or its place to depend on how many there are, some might never
/// have their turn, and the table would grow instead.
fn next_to_check(count: u32) -> impl Iterator<Item = &'static Thread> {
    let len = THREADS.len();
    (0..count.min(len)).filter_map(move |_| {
        let hand = NEXT_TO_CHECK.load(Relaxed);
        let at = if hand < len { hand } else { 0 };
        // Not in one step: where two look at the same one, nothing is lost.
        NEXT_TO_CHECK.store(at + 1, Relaxed);
        THREADS.get(at)
    })
}

/// Looks whether one thread has ended.
pub(crate) fn reap(thread: &Thread) {
    thread.reap(true);
}

/// Looks at all records for threads that have ended; how many Ms came back.
pub(crate) fn reap_all() -> u32 {
    THREADS.iter().map(|thread| thread.reap(true)).sum()
}

/// Whether an M is on its way to or from a thread.
pub(crate) fn any_in_transfer() -> bool {
    THREADS.iter().any(Thread::is_in_transfer)
}

impl Thread {
    /// A record for this thread, without anything yet.
    fn allocate(tls: &Tls) -> Option<&'static Self> {
        let free = FREE_THREADS.pop(&THREADS).and_then(|(index, _)| THREADS.get(index));
        let thread = match free.or_else(reuse_dead) {
            Some(thread) => thread,
            None => {
                let index = THREADS.add().ok()?;
                let thread = THREADS.get(index)?;
                thread.index.store(index, Relaxed);
                thread
            }
        };
        thread.claim.store(pool::listed_and_held_by(thread) as usize, Relaxed);
        thread.notice.begin(tls.address());
        thread.in_transfer.store(0, Relaxed);
        thread.destructor_ran.store(0, Relaxed);
        thread.had_earlier_epochs.store(0, Relaxed);
        thread.stack.iter().for_each(|bound| bound.store(0, Relaxed));
        thread.clear_ms();
        thread.epoch.store(state::epoch(), Relaxed);
        let before = thread.state.load(Relaxed) & !PHASE;
        // model: a_record_without_a_generation
        // model: a_record_that_is_taken_unordered
        thread.state.store(before.wrapping_add(ONE_GENERATION) | LIVE, Release);
        Some(thread)
    }

    /// Gives back the innermost M that it holds, as new.
    pub(crate) fn return_m(&self, m: &M) {
        let was = self.begin_transfer();
        m.reset();
        let below = m.prev_held.load(Relaxed);
        m.prev_held.store(ptr::null_mut(), Relaxed);
        m.prev_current.store(ptr::null_mut(), Relaxed);
        if !(state::settings().binds_calls() && ptr::eq(self.last.load(Relaxed), m)) {
            m.thread.store(ptr::null_mut(), Relaxed);
        }
        // Before it goes: a handler that calls back afterwards may hold another.
        let own = ptr::from_ref(m).cast_mut();
        let _ = self.m.compare_exchange(own, below, Relaxed, Relaxed);
        EXTRA.release(m);
        self.end_transfer(was);
    }

    /// Goes on in the present start of needm. Rows of the one that it knew stay its
    /// own for now, and are no Ms: what this has interrupted may be about to look at one.
    pub(crate) fn adopt_epoch(&self) {
        let known = self.epoch.load(Relaxed);
        // Its row may be an M again by now, and on the list.
        self.last.store(ptr::null_mut(), Relaxed);
        let renewed = self.epoch.compare_exchange(known, state::epoch(), Relaxed, Relaxed);
        if renewed.is_ok() && self.had_earlier_epochs.swap(1, Relaxed) != 0 {
            EXTRA.retire(self, Some(known));
        }
    }

    /// The thread is at its end, and looks at no row any more.
    fn retire_rows(&self) {
        let knows = self.epoch.load(Relaxed) == state::epoch();
        if !knows || self.had_earlier_epochs.load(Relaxed) != 0 {
            EXTRA.retire(self, None);
        }
    }

    /// Gives back all that this thread held, which has ended or is about to; how many
    /// Ms that was. What a handler takes in between stays noted.
    pub(crate) fn return_all_ms(&self) -> u32 {
        let mut count = 0;
        let mut give = |m: &M| {
            count += 1;
            state::settings().hooks().unminit(m);
            trim::note_returned(m, self);
            self.return_m(m);
        };
        // model: a_reaper_that_forgets_the_m
        while let Some(m) = self.held() {
            // model: an_exit_that_returns_no_m
            if pool::is_held_by(m, self) {
                give(m);
            } else {
                let stale = ptr::from_ref(m).cast_mut();
                let _ = self.m.compare_exchange(stale, ptr::null_mut(), Relaxed, Relaxed);
            }
        }
        // model: an_exit_in_transfer_that_is_not_swept
        if self.in_transfer.load(Relaxed) != 0 {
            self.in_transfer.store(0, Relaxed);
            // It ended in the middle of taking one, or of giving one back.
            MS.iter().filter(|m| pool::is_held_by(m, self)).for_each(give);
        }
        // SAFETY: only rows of the table of Ms are ever stored there, which stay mapped while
        // this record is in use.
        while let Some(last) = unsafe { self.last.swap(ptr::null_mut(), Relaxed).as_ref() } {
            // No thread binds this one again as its last.
            // model: a_last_m_that_stays_with_the_dead
            if EXTRA.release_last(last, self) {
                trim::note_returned(last, self);
            }
        }
        count
    }

    /// The record is no thread's any more.
    pub(crate) fn release(&self) {
        self.clear();
        self.set_phase(FREE);
        FREE_THREADS.push(&THREADS, self.index());
    }

    /// What a record is as long as it is no thread's.
    pub(crate) fn clear(&self) {
        self.retire_rows();
        self.notice.forget();
    }

    /// Takes the record of an ended thread apart; how many Ms came back.
    pub(crate) fn reap(&self, ask: bool) -> u32 {
        let ended = self.seen_exited(ask);
        ended.and_then(|state| while_open(|| self.dismantle(state))).unwrap_or(0)
    }

    /// The state of a record whose thread has ended.
    pub(crate) fn seen_exited(&self, ask: bool) -> Option<u32> {
        // model: a_reaper_that_looks_too_late
        let state = self.state();
        let has_exited = state & PHASE == LIVE && self.notice.has_exited(ask);
        has_exited.then_some(state)
    }

    /// Takes the record of a thread that has ended apart, if it is still in `state`. Only
    /// while needm does not stop, or for the thread that stops it.
    pub(crate) fn dismantle(&self, state: u32) -> u32 {
        let count = self.strip(state);
        // model: a_record_that_is_never_used_again
        if count.is_some() {
            // model: a_record_released_before_its_m
            self.release();
        }
        count.unwrap_or(0)
    }

    /// The same, but the record is then the caller's; false if it is not.
    fn claim_record(&self, state: u32) -> bool {
        let whole = self.strip(state).is_some();
        if whole {
            self.clear();
        }
        whole
    }

    fn strip(&self, state: u32) -> Option<u32> {
        if !self.begin_exit(state) {
            return None;
        }
        // model: a_dead_owner_of_the_world
        gate::disown(self);
        // model: a_record_released_before_its_m here
        let count = self.return_all_ms();
        if count != 0 {
            EXTRA.reclaimed.fetch_add(u64::from(count), Relaxed);
        }
        self.ready.forget();
        Some(count)
    }
}
