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

/// How many records a thread checks for an exit when it lacks a record or an M. Where there are
/// no more records than that, [`reap_next`] checks all, else one.
pub(crate) const CHECKS: u32 = 8;

/// How often [`reap_next`] asks the system about threads whose exit nothing else shows: once in so
/// many times, because each question is a system call.
const ASKS_ONCE_IN: u32 = 32;

/// Counts for [`ASKS_ONCE_IN`].
static REAPED: AtomicU32 = AtomicU32::new(0);

/// Threads that are allocating or dismantling a record: [`while_open`].
pub(crate) static RECORD_CHANGES: AtomicU32 = AtomicU32::new(0);

/// Where [`next_to_check`] begins.
static NEXT_TO_CHECK: AtomicU32 = AtomicU32::new(0);

/// A record for this thread, unless needm is being stopped.
pub(crate) fn allocate_while_open(tls: &Tls) -> Result<Option<&'static Thread>, Error> {
    while_open(|| Thread::allocate(tls).ok_or(Error::NoMemory)).transpose()
}

/// Does `work`; `None` if needm is being stopped. `thread::stop` waits for the work before it
/// unmaps anything.
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

/// Checks the next record, or all if they are few, and reaps threads that have exited. Returns
/// how many Ms came back.
pub(crate) fn reap_next() -> u32 {
    let count = if THREADS.len() > CHECKS { 1 } else { CHECKS };
    // Not one atomic step, as in `next_to_check`.
    let turn = REAPED.load(Relaxed).wrapping_add(1);
    REAPED.store(turn, Relaxed);
    let ask = turn.is_multiple_of(ASKS_ONCE_IN);
    next_to_check(count).map(|thread| thread.reap(ask)).sum()
}

/// Checks some more records, and asks the system about threads whose exit nothing else shows.
/// Called before an M is made, so that threads which exit unnoticed do not take a new M each.
pub(crate) fn reap_next_asking() -> u32 {
    next_to_check(CHECKS).map(|thread| thread.reap(true)).sum()
}

/// The record of a thread that has exited, now the caller's. Only while needm is not being
/// stopped.
fn reuse_dead() -> Option<&'static Thread> {
    next_to_check(CHECKS).find(|t| t.seen_exited(false).is_some_and(|state| t.claim_record(state)))
}

/// The records whose turn it is: round robin, one step at a time. With longer steps, or a start
/// that depends on the number of records, some might never have their turn, and the table would
/// grow instead.
fn next_to_check(count: u32) -> impl Iterator<Item = &'static Thread> {
    let len = THREADS.len();
    (0..count.min(len)).filter_map(move |_| {
        let next = NEXT_TO_CHECK.load(Relaxed);
        let at = if next < len { next } else { 0 };
        // Not one atomic step: two threads may check the same record, which does no harm.
        NEXT_TO_CHECK.store(at + 1, Relaxed);
        THREADS.get(at)
    })
}

/// Reaps `thread` if it has exited, and asks the system if nothing else shows it.
pub(crate) fn reap(thread: &Thread) {
    thread.reap(true);
}

/// Checks all records, and reaps threads that have exited. Returns how many Ms came back.
pub(crate) fn reap_all() -> u32 {
    THREADS.iter().map(|thread| thread.reap(true)).sum()
}

/// Whether an M is on its way to or from a thread.
pub(crate) fn any_in_transfer() -> bool {
    THREADS.iter().any(Thread::is_in_transfer)
}

/// Whether a hook of the host's runs for an M that is on its way to or from a thread.
pub(crate) fn any_in_hook() -> bool {
    THREADS.iter().any(Thread::is_in_hook)
}

impl Thread {
    /// An empty record for this thread: a free one, that of an exited thread, or a new row.
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

    /// Unbinds the innermost M of this thread, as new.
    pub(crate) fn return_m(&self, m: &M) {
        let was = self.begin_transfer();
        m.reset();
        let below = m.prev_held.load(Relaxed);
        m.prev_held.store(ptr::null_mut(), Relaxed);
        m.prev_current.store(ptr::null_mut(), Relaxed);
        if !(state::settings().binds_calls() && ptr::eq(self.last.load(Relaxed), m)) {
            m.thread.store(ptr::null_mut(), Relaxed);
        }
        // Before the release, because a handler that calls back after it may bind another M.
        let own = ptr::from_ref(m).cast_mut();
        let _ = self.m.compare_exchange(own, below, Relaxed, Relaxed);
        EXTRA.release(m);
        self.end_transfer(was);
    }

    /// Makes this a record of the current start of needm. Rows of the start before stay reserved
    /// for this thread, and are no Ms: if this runs in a handler, the code that the handler has
    /// interrupted may be about to read one.
    pub(crate) fn adopt_epoch(&self) {
        let known = self.epoch.load(Relaxed);
        // The row of its last M may hold a new M by now, which is on the list.
        self.last.store(ptr::null_mut(), Relaxed);
        let renewed = self.epoch.compare_exchange(known, state::epoch(), Relaxed, Relaxed);
        if renewed.is_ok() && self.had_earlier_epochs.swap(1, Relaxed) != 0 {
            EXTRA.retire(self, Some(known));
        }
    }

    /// Frees the rows that are reserved for this thread, which reads none any more.
    fn retire_rows(&self) {
        let knows = self.epoch.load(Relaxed) == state::epoch();
        if !knows || self.had_earlier_epochs.load(Relaxed) != 0 {
            EXTRA.retire(self, None);
        }
    }

    /// Unbinds all Ms of this thread, which has exited or is about to, and returns how many that
    /// were. An M that a handler binds in between stays recorded.
    pub(crate) fn return_all_ms(&self) -> u32 {
        let mut count = 0;
        let mut give = |m: &M| {
            count += 1;
            self.in_hook(|| state::settings().hooks().unminit(m));
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
            // The thread exited in the middle of binding an M, or of unbinding one.
            MS.iter().filter(|m| pool::is_held_by(m, self)).for_each(give);
        }
        // SAFETY: only rows of the table of Ms are ever stored there, which stay mapped while
        // this record is in use.
        while let Some(last) = unsafe { self.last.swap(ptr::null_mut(), Relaxed).as_ref() } {
            // From here on no thread rebinds this one as its last.
            // model: a_last_m_that_stays_with_the_dead
            if EXTRA.release_last(last, self) {
                trim::note_returned(last, self);
            }
        }
        count
    }

    /// Frees the record.
    pub(crate) fn release(&self) {
        self.clear();
        self.set_phase(FREE);
        FREE_THREADS.push(&THREADS, self.index());
    }

    /// Takes out of the record what still refers to its thread.
    pub(crate) fn clear(&self) {
        self.retire_rows();
        self.notice.forget();
    }

    /// Dismantles the record if its thread has exited; `ask` the system if nothing else shows it.
    /// Returns how many Ms came back.
    pub(crate) fn reap(&self, ask: bool) -> u32 {
        let exited = self.seen_exited(ask);
        exited.and_then(|state| while_open(|| self.dismantle(state))).unwrap_or(0)
    }

    /// The record's state, if its thread has exited.
    pub(crate) fn seen_exited(&self, ask: bool) -> Option<u32> {
        // model: a_reaper_that_looks_too_late
        let state = self.state();
        let has_exited = state & PHASE == LIVE && self.notice.has_exited(ask);
        has_exited.then_some(state)
    }

    /// Dismantles the record of an exited thread, if it is still in `state`: returns the Ms, and
    /// frees the record. Returns how many Ms came back. Only while needm is not being stopped, or
    /// for the thread that stops it.
    pub(crate) fn dismantle(&self, state: u32) -> u32 {
        let count = self.strip(state);
        // model: a_record_that_is_never_used_again
        if count.is_some() {
            // model: a_record_released_before_its_m
            self.release();
        }
        count.unwrap_or(0)
    }

    /// As [`Thread::dismantle`], but the record is then the caller's. False if another thread was
    /// first.
    fn claim_record(&self, state: u32) -> bool {
        let whole = self.strip(state).is_some();
        if whole {
            self.clear();
        }
        whole
    }

    /// Returns the Ms of an exited thread; `None` if its record is no longer in `state`.
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
