// SPDX-License-Identifier: MIT OR Apache-2.0
//! Allocates a record for a thread; moves it to a new epoch; returns a thread's Ms; and reaps:
//! reclaims the records and Ms of threads that have exited.
//!
//! A comment `// model: NAME` marks where `models/` plants a bug of that name, which its tests
//! must find (`models/README.md`).
//!
//! # Safety
//! `needm_stop` unmaps no row of the tables of records and of Ms while any record is live or
//! being dismantled (`thread::stop`, `lifecycle.rs`). A thread that works here has its own live
//! record, or has said that it changes records ([`while_open`]), for which a stop waits. A pointer from a record to
//! an M leads to a row of the table of Ms.
#![allow(unsafe_code)] // pointers to Ms

use crate::error::Error;
use crate::gate;
use crate::m::{M, MS};
use crate::pool;
use crate::pool::{EXTRA, trim};
use crate::state;
use crate::sync::{Relaxed, SeqCst, compiler_fence};
use crate::thread::counts::{COUNTS, own_id, while_open};
use crate::thread_record::{FREE_THREADS, THREADS, Thread};
use crate::tls::Tls;
use core::ptr;

/// How many records a thread checks for an exit when it lacks a record or an M. Where there are
/// no more records than that, [`reap_next`] checks all, else one.
pub(crate) const CHECKS: u32 = 8;

/// One in so many calls of [`reap_next`] asks the system about threads whose exit nothing else
/// shows. Each question is a system call.
const CALLS_PER_QUESTION: u32 = 32;

/// A record for this thread, unless needm is being stopped.
pub(crate) fn allocate_while_open(tls: &Tls) -> Result<Option<&'static Thread>, Error> {
    while_open(|| Thread::allocate(tls).ok_or(Error::NoMemory)).transpose()
}

/// Checks the next record, or all if they are few, and reaps threads that have exited. The result
/// is the number of Ms that were reclaimed.
pub(crate) fn reap_next() -> u32 {
    let count = if THREADS.len() > CHECKS { 1 } else { CHECKS };
    // Not one atomic step: calls that are counted as one only put the next question off.
    let calls = COUNTS.reap_calls.load(Relaxed).wrapping_add(1);
    COUNTS.reap_calls.store(calls, Relaxed);
    let ask_system = calls.is_multiple_of(CALLS_PER_QUESTION);
    next_to_check(count).map(|thread| thread.reap(ask_system)).sum()
}

/// Checks [`CHECKS`] records, asks the system about threads whose exit nothing else shows, and
/// reaps those that have exited. Called before an M is made, so that the Ms of threads which exit
/// unnoticed are used again.
pub(crate) fn reap_next_asking() -> u32 {
    next_to_check(CHECKS).map(|thread| thread.reap(true)).sum()
}

/// Claims the record of a thread that has exited, without its Ms. The caller must be inside
/// [`while_open`].
fn reuse_dead() -> Option<&'static Thread> {
    next_to_check(CHECKS).find(|t| t.seen_exited(false).is_some_and(|state| t.claim_record(state)))
}

/// The records whose turn it is: round robin, one step at a time. With longer steps, or a start
/// that depends on the number of records, some might never have their turn, and the table would
/// grow instead.
fn next_to_check(count: u32) -> impl Iterator<Item = &'static Thread> {
    let len = THREADS.len();
    (0..count.min(len)).filter_map(move |_| {
        let next = COUNTS.next_to_check.load(Relaxed);
        let at = if next < len { next } else { 0 };
        // Not one atomic step: two threads may check the same record, which does no harm.
        COUNTS.next_to_check.store(at + 1, Relaxed);
        THREADS.get(at)
    })
}

/// Reaps `thread` if it has exited. Asks the system if nothing else shows it.
pub(crate) fn reap(thread: &Thread) {
    thread.reap(true);
}

/// Checks all records, and reaps threads that have exited. The result is the number of Ms that
/// were reclaimed.
pub(crate) fn reap_all() -> u32 {
    THREADS.iter().map(|thread| thread.reap(true)).sum()
}

/// Whether an M is on its way to or from a thread.
pub(crate) fn any_in_transfer() -> bool {
    THREADS.iter().any(Thread::is_in_transfer)
}

/// Whether a record is being dismantled.
pub(crate) fn any_is_dismantled() -> bool {
    THREADS.iter().any(Thread::is_being_dismantled)
}

/// Whether a thread waits for an M.
pub(crate) fn any_waits() -> bool {
    THREADS.iter().any(|thread| thread.is_in_use() && thread.waits.load(SeqCst) != 0)
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
        thread.set_admitted(false);
        thread.set_runs_hook(false);
        thread.waits.store(0, Relaxed);
        thread.had_earlier_epochs.store(0, Relaxed);
        thread.stack.iter().for_each(|bound| bound.store(0, Relaxed));
        thread.clear_ms();
        thread.epoch.store(state::epoch(), Relaxed);
        thread.begin_live();
        Some(thread)
    }

    /// Takes `m`, below which is `below`, out of the chain of the Ms that are bound to it. Others lie on it if
    /// handlers have left callbacks that were jumped out of.
    pub(crate) fn unchain(&self, m: &M, below: *mut M) {
        let own = ptr::from_ref(m).cast_mut();
        if self.m.compare_exchange(own, below, Relaxed, Relaxed).is_err() {
            let mut above = self.held();
            while let Some(other) = above.filter(|other| pool::is_held_by(other, self)) {
                if ptr::eq(other.prev_held.load(Relaxed), own) {
                    other.prev_held.store(below, Relaxed);
                    return;
                }
                above = other.prev_held();
            }
        }
    }

    /// Resets `m`, which is bound to this thread, and unbinds it. If it is the innermost M of the
    /// thread, the one below it becomes the innermost; if there is none, the record leads to the last M.
    pub(crate) fn return_m(&self, m: &M) {
        let was = self.begin_transfer();
        m.reset();
        let prev = m.prev_held.load(Relaxed);
        let own = ptr::from_ref(m).cast_mut();
        let keeps = state::settings().binds_calls() && ptr::eq(self.last.load(Relaxed), own);
        if !keeps {
            m.thread.store(ptr::null_mut(), Relaxed);
        }
        // The rebind path wants to find the last M there.
        let outermost = prev.is_null() && ptr::eq(self.m.load(Relaxed), own);
        let last = self.last.load(Relaxed);
        // Before the release: a handler that calls back after it finds that `m` is not this
        // thread's, binds another M, and writes that to `self.m`. Then `prev` would be lost.
        self.unchain(m, if outermost && state::settings().binds_calls() { last } else { prev });
        // After that: a handler that waits at the gate looks along this chain for callbacks below, which do not
        // run meanwhile.
        compiler_fence(SeqCst);
        m.prev_held.store(ptr::null_mut(), Relaxed);
        m.prev_current.store(ptr::null_mut(), Relaxed);
        EXTRA.release(m);
        self.end_transfer(was);
    }

    /// Moves the record to the current epoch. Rows of the previous epoch stay reserved for this
    /// thread, although they hold no M any more: if this runs in a handler, the interrupted code
    /// may be about to read one. Rows of older epochs are freed.
    pub(crate) fn adopt_epoch(&self) {
        let known = self.epoch.load(Relaxed);
        // The row of its last M may hold a new M by now, which is on the list.
        self.last.store(ptr::null_mut(), Relaxed);
        let renewed = self.epoch.compare_exchange(known, state::epoch(), Relaxed, Relaxed);
        // The first time there are no older epochs.
        if renewed.is_ok() && self.had_earlier_epochs.swap(1, Relaxed) != 0 {
            EXTRA.retire(self, Some(known));
        }
    }

    /// Frees the rows that are reserved for this thread, because it can no longer read them.
    fn free_reserved_rows(&self) {
        let is_current = self.epoch.load(Relaxed) == state::epoch();
        if !is_current || self.had_earlier_epochs.load(Relaxed) != 0 {
            EXTRA.retire(self, None);
        }
    }

    /// Unbinds an M of this thread, which has exited or is about to, or has bound another one meanwhile.
    #[inline(never)] // the host is called from one place: tests/nosplit/lists.rs
    pub(crate) fn return_one(&self, m: &M) {
        if state::settings().hooks().unminit.is_some() {
            self.in_hook(true, || state::settings().hooks().unminit(m));
            if !pool::is_held_by(m, self) {
                return; // the hook has had a coroutine go on whose callback was there
            }
        }
        self.return_m(m);
        // Afterwards, because it may wait for the system, and others look for idle ones meanwhile.
        trim::note_returned(m, self);
    }

    /// Unbinds all Ms of this thread, which has exited or is about to. The result is their number.
    /// If a handler binds an M meanwhile, the loop finds it in `self.m` and unbinds it, too.
    pub(crate) fn return_all_ms(&self) -> u32 {
        let mut count = 0;
        let mut unbind = |m: &M| {
            // model: an_exit_that_returns_no_m
            if pool::is_held_by(m, self) {
                count += 1;
                if self.may_leave_code_on(m) {
                    self.leave_behind(m);
                } else {
                    self.return_one(m);
                }
                return true;
            }
            false
        };
        // The rebind path may have just claimed the last M, over one that a handler has left bound.
        let last = || self.last().filter(|last| pool::is_held_by(last, self));
        // model: a_reaper_that_forgets_the_m
        while let Some(m) = self.held().or_else(last) {
            if !unbind(m) {
                let stale = ptr::from_ref(m).cast_mut();
                let _ = self.m.compare_exchange(stale, ptr::null_mut(), Relaxed, Relaxed);
                // A handler may have bound it again in between.
                unbind(m);
            }
        }
        pool::forget_waits(self);
        // model: an_exit_in_transfer_that_is_not_swept
        if self.in_transfer.load(Relaxed) != 0 {
            self.in_transfer.store(0, Relaxed);
            // The thread exited in the middle of binding an M, or of unbinding one: such an M may
            // be missing from the chain that starts at `self.m`.
            for m in MS.iter() {
                unbind(m);
            }
        }
        // Once `last` is out of the record, no callback of this thread rebinds it. A loop, because
        // a handler may have stored another one.
        while !self.last.load(Relaxed).is_null() {
            let last = self.last.swap(ptr::null_mut(), Relaxed);
            // SAFETY: only rows of the table of Ms are ever stored there, and none is unmapped while
            // a record is live or being dismantled, as this one is.
            let Some(last) = (unsafe { last.as_ref() }) else { break };
            // model: a_last_m_that_stays_with_the_dead
            if EXTRA.release_last(last, self) {
                trim::note_returned(last, self);
            }
        }
        count
    }

    /// Puts the record on the list of free ones.
    pub(crate) fn free(&self) {
        self.forget_thread();
        self.set_free();
        FREE_THREADS.push(&THREADS, self.index());
    }

    /// Removes from the record what still refers to its thread.
    fn forget_thread(&self) {
        self.free_reserved_rows();
        self.notice.forget();
    }

    /// Dismantles the record if its thread has exited. With `ask_system`, a system call asks for
    /// that if nothing else shows it. The result is the number of Ms that were reclaimed.
    pub(crate) fn reap(&self, ask_system: bool) -> u32 {
        let exited = self.seen_exited(ask_system);
        exited.and_then(|state| while_open(|| self.dismantle(state))).unwrap_or(0)
    }

    /// Dismantles the record of an exited thread, if it is still in `state`: unbinds the Ms, and
    /// frees the record. The result is the number of Ms. The caller must be inside [`while_open`],
    /// or be the thread that stops needm.
    pub(crate) fn dismantle(&self, state: u32) -> u32 {
        let count = self.reclaim_ms(state);
        // model: a_record_that_is_never_used_again
        if count.is_some() {
            // model: a_record_released_before_its_m
            self.free();
        }
        count.unwrap_or(0)
    }

    /// As [`Thread::dismantle`], but leaves the record to the caller instead of freeing it. False
    /// if another thread was first.
    fn claim_record(&self, state: u32) -> bool {
        let won = self.reclaim_ms(state).is_some();
        if won {
            self.forget_thread();
        }
        won
    }

    /// Unbinds the Ms of an exited thread. The result is their number; `None` if the record is no
    /// longer in `state`, because another thread was first.
    fn reclaim_ms(&self, state: u32) -> Option<u32> {
        if !self.claim(state, own_id(Tls::current())) {
            return None;
        }
        // Before the Ms: the host's hook runs for each of them, and threads that wait for the
        // world need not wait for that.
        // model: a_dead_owner_of_the_world
        gate::disown(self);
        // model: a_record_released_before_its_m here
        let count = self.return_all_ms();
        if count != 0 {
            EXTRA.reclaimed.fetch_add(u64::from(count), Relaxed);
        }
        self.ready.forget();
        self.set_runs_hook(false);
        Some(count)
    }
}
