//! needm and dropm: this thread takes an M, and gives it back.
//!
//! The M is published as needm's last step and withdrawn as dropm's first, so a
//! signal handler that calls back in between sees a thread without an M and borrows
//! another. What it borrows lies over what the thread holds, and goes back at the
//! end of its callback.
//!
//! The steady path of per-call binding is in `arch/<arch>/entry.S` and does the same
//! steps in the same order, for an M that was this thread's last and needs nothing
//! but to be taken: `tls.rs` says when it may.
//!
//! # Safety
//! Pointers to Ms lead to rows of a table, which stay mapped while a live thread has a
//! record. The thread that is here has one, or has been given the M by assembly.
#![allow(unsafe_code)] // an M from assembly

use crate::barrier;
use crate::error::Error;
use crate::m::M;
use crate::os::wait::{now, wait};
use crate::pool;
use crate::pool::{EXTRA, Extra, claim, is_temporary, unbinds_on_exit, waiters};
use crate::state;
use crate::sync::{Relaxed, SeqCst, compiler_fence};
use crate::thread;
use crate::thread::reap;
use crate::thread_record::Thread;
use crate::tls::Tls;
use crate::tools;
use core::ptr;

crate::arch::upcalls! {
    "needm_dropm" => dropm_rebound,
}

/// How long one sleep of a waiter is at most before it looks for dead threads
/// again, whose ends may wake no thread. Nanoseconds.
pub(crate) const MAX_SLEEP: u64 = 10_000_000;

/// How long a waiter leaves it to others to make the spare. Nanoseconds.
const GRACE: u64 = 1_000_000;

impl Extra {
    /// Takes the M that this thread had last, if it is still free.
    fn rebind(&self, thread: &Thread) -> Option<&'static M> {
        let m = thread.last()?;
        claim(m, thread, false).then_some(m)
    }

    /// Takes an M, waiting for one if need be: the first step of needm.
    ///
    /// `nested`: this thread holds an M already and must not leave it to others
    /// to make one, since it may have interrupted the very thread that does.
    pub(crate) fn acquire(&self, thread: &Thread, nested: bool) -> Result<&'static M, Error> {
        reap::reap_next();
        match self.pop(thread) {
            Some(m) => Ok(m),
            None => self.acquire_slow(thread, nested),
        }
    }

    #[cold]
    fn acquire_slow(&self, thread: &Thread, nested: bool) -> Result<&'static M, Error> {
        let start = now();
        let limit = state::settings().wait_ns();
        waiters().fetch_add(1, SeqCst);
        // From here on a thread that unbinds an M sees a waiter, or the M is seen here.
        barrier::heavy_barrier();
        let mut waited = false;
        let result = loop {
            let seen = self.returned.load(SeqCst);
            // Most often a spare is just being made, and going through all that there is
            // would cost the more the more there is.
            let may_make = self.made.load(Relaxed) < state::settings().max_ms();
            let thorough = waited || nested || !may_make;
            let mut found = self.pop(thread);
            if found.is_none() && thorough {
                // model: a_waiter_that_does_not_reap
                reap::reap_all();
                found = self.pop(thread).or_else(|| Self::sweep(thread));
            }
            if let Some(m) = found {
                break Ok(m);
            }
            if !state::is_open() {
                break Err(Error::NotStarted);
            }
            let elapsed = now().saturating_sub(start);
            let mut nap = MAX_SLEEP;
            if may_make {
                if nested || elapsed >= GRACE {
                    match self.make(Some(thread)) {
                        Ok(Some(m)) => {
                            m.owes_spare.store(1, Relaxed);
                            break Ok(m);
                        }
                        Ok(None) => {}
                        Err(error) => break Err(error),
                    }
                } else {
                    nap = GRACE;
                }
            }
            if let Some(limit) = limit {
                if elapsed >= limit {
                    self.timeouts.fetch_add(1, Relaxed);
                    break Err(Error::TimedOut);
                }
                nap = nap.min(limit - elapsed);
            }
            if !waited {
                waited = true;
                self.waits.fetch_add(1, Relaxed);
            }
            // model: a_waiter_that_reads_too_late
            wait(&self.returned, seen, Some(nap));
        };
        waiters().fetch_sub(1, SeqCst);
        result
    }
}

impl Extra {
    /// newextram: makes the spare that the thread which took the last M owes the list, and one
    /// for each thread that waits. Runs on a G, after the gate. What cannot be made now is
    /// made by the thread that needs it.
    pub(crate) fn newextram(&self) {
        if reap::reap_next_asking() != 0 {
            return;
        }
        // model: a_taker_that_makes_no_spare
        for _ in 0..self.waiting().max(1) {
            // What others make at the same time counts.
            let wanted = self.listed.load(SeqCst) < self.waiting().max(1);
            if !wanted || !matches!(self.make(None), Ok(Some(_))) {
                return;
            }
        }
    }
}

/// Why an M is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// For a callback.
    Callback,
    /// For the thread, by `attach`.
    Attach,
}

/// Takes an M for this thread and publishes it over whatever is.
#[inline(never)] // as for `dropm`
pub(crate) fn needm(tls: &Tls, want: Want) -> Result<&'static M, Error> {
    loop {
        let thread = thread::ready_record(tls, want == Want::Callback)?;
        let was_in_transfer = thread.begin_transfer();
        let taken = match thread.is_current_epoch() {
            Some(true) => acquire_m(tls, thread, want).map(Some),
            Some(false) => Ok(None),
            None => Err(Error::NotStarted),
        };
        if let Ok(Some(Acquired::Fresh(m))) = taken {
            state::settings().hooks().minit(m);
        }
        thread.end_transfer(was_in_transfer);
        match taken? {
            Some(Acquired::Bound(m)) => return Ok(m),
            Some(Acquired::Fresh(m))
                if tls.publish(m.prev_current(), Some(m), bound_epoch_for(thread, m)) =>
            {
                if !is_temporary(m) {
                    tls.set_rebind_epoch(rebind_epoch_for(thread, m));
                }
                return Ok(m);
            }
            _ => {}
        }
    }
}

#[derive(Clone, Copy)]
enum Acquired {
    Fresh(&'static M),
    /// A handler has called back meanwhile, and its M is this thread's now.
    Bound(&'static M),
}

fn acquire_m(tls: &Tls, thread: &'static Thread, want: Want) -> Result<Acquired, Error> {
    loop {
        let mut over = tls.m();
        if let Some(stale) = over.filter(|m| !pool::is_held_by(m, thread)) {
            tls.publish(Some(stale), None, 0);
            over = None;
        }
        if let Some(bound) = over.filter(|m| m.segment().is_none()) {
            return Ok(Acquired::Bound(bound));
        }
        // After what is published, which is held before: else a handler that comes in between
        // and binds an M leaves one that is published and not seen to be held.
        compiler_fence(SeqCst);
        let below = thread.held().filter(|m| pool::is_held_by(m, thread));
        let per_call = want == Want::Callback && state::settings().binds_calls();
        let again = if per_call && below.is_none() { EXTRA.rebind(thread) } else { None };
        let m = match again {
            Some(m) => m,
            None => EXTRA.acquire(thread, below.is_some())?,
        };
        m.prev_current
            .store(over.map_or(ptr::null_mut(), |m| ptr::from_ref(m).cast_mut()), Relaxed);
        m.prev_bound_epoch.store(tls.bound_epoch(), Relaxed);
        if thread.hold(tls, m, below, over).is_ok() {
            return Ok(Acquired::Fresh(m));
        }
        // A handler has called back since, and its M is bound now.
        EXTRA.release(m);
        if let Some(bound) = tls.m().filter(|bound| bound.segment().is_none()) {
            return Ok(Acquired::Bound(bound));
        }
    }
}

/// What lets a bound M take the steady path. Of the start of needm that the M is of,
/// which may be over by now.
pub(crate) fn bound_epoch_for(thread: &Thread, m: &M) -> u32 {
    if unbinds_on_exit(m) || !fast_path_allowed(thread) {
        return 0;
    }
    // If a handler has bound it, that may have been before this was known.
    thread.note_handler_stack(m);
    gate_of(m)
}

/// The gate's value while it is open in the start of needm that `m` is of.
pub(crate) fn gate_of(m: &M) -> u32 {
    state::gate_of(m.epoch.load(Relaxed))
}

/// What lets this thread's last M be taken again on the steady path.
fn rebind_epoch_for(thread: &Thread, m: &M) -> u32 {
    let settings = state::settings();
    let hooks = settings.hooks();
    let plain = settings.binds_calls() && hooks.minit.is_none() && hooks.unminit.is_none();
    if plain && fast_path_allowed(thread) { gate_of(m) } else { 0 }
}

/// Whether neither the gate nor the thread's handler stack wants the slow path.
fn fast_path_allowed(thread: &Thread) -> bool {
    !state::settings().enters_with_fence() && !thread.ready.needs_checks() && !tools::WATCH_SWITCHES
}

/// Gives this thread's current M back.
#[inline(never)] // one place from which the host is called: tests/nosplit/lists.rs
pub(crate) fn dropm(tls: &Tls, m: &M) {
    let pass = if m.prev_current().is_some() { m.prev_bound_epoch.load(Relaxed) } else { 0 };
    tls.publish(Some(m), m.prev_current(), pass);
    state::settings().hooks().unminit(m);
    match tls.thread() {
        Some(thread) => thread.return_m(m),
        None => EXTRA.release(m),
    }
}

/// From `needm_entry`: the last M was taken again, and the gate is closed.
extern "C" fn dropm_rebound(m: *const M) {
    // SAFETY: assembly has just bound this M to this thread, so its row is mapped.
    dropm(Tls::current(), unsafe { &*m });
}

impl Thread {
    /// Notes that this thread holds `m` now, unless a handler has bound an M since
    /// `below` and `over` were read.
    pub(crate) fn hold(
        &self,
        tls: &Tls,
        m: &'static M,
        below: Option<&'static M>,
        over: Option<&'static M>,
    ) -> Result<(), ()> {
        let below = below.map_or(ptr::null_mut(), |m| ptr::from_ref(m).cast_mut());
        let fresh = ptr::from_ref(m).cast_mut();
        m.prev_held.store(below, Relaxed);
        m.thread.store(ptr::from_ref(self).cast_mut().cast(), Relaxed);
        self.note_handler_stack(m);
        compiler_fence(SeqCst);
        self.m.store(fresh, Relaxed);
        compiler_fence(SeqCst);
        // A handler before that store may have bound one, which is published now;
        // a handler after it has seen `m` and borrowed.
        let now = tls.m();
        if now.map(ptr::from_ref) != over.map(ptr::from_ref) {
            self.m.store(now.map_or(below, |now| ptr::from_ref(now).cast_mut()), Relaxed);
            m.prev_held.store(ptr::null_mut(), Relaxed);
            m.prev_current.store(ptr::null_mut(), Relaxed);
            m.thread.store(ptr::null_mut(), Relaxed);
            return Err(());
        }
        // What is borrowed goes back before what is below it, which stays the last one.
        if below.is_null() {
            let before = self.last.swap(fresh, Relaxed);
            // SAFETY: only rows of the table of Ms are ever stored there, which stay mapped while a
            // live thread has a record; this one does.
            if let Some(before) = unsafe { before.as_ref() }.filter(|b| !ptr::eq(*b, m)) {
                EXTRA.release_last(before, self);
            }
        }
        Ok(())
    }
}
