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
#![allow(unsafe_code)] // an M from assembly

use crate::barrier;
use crate::error::Error;
use crate::m::M;
use crate::os::thread as system;
use crate::pool;
use crate::pool::{EXTRA, Extra, claim, goes_back, is_borrowed, waiters};
use crate::state;
use crate::sync::{Relaxed, SeqCst, compiler_fence};
use crate::thread;
use crate::thread::reap;
use crate::thread_record::Thread;
use crate::tls::Tls;
use crate::tools;
use core::ptr;

crate::arch::upcalls! {
    "needm_unclaim" => unclaim,
}

/// How long one sleep of a waiter is at most before it looks for dead threads
/// again, whose ends may wake nobody. Nanoseconds.
pub(crate) const LOOK_AGAIN: u64 = 10_000_000;

/// How long a waiter leaves it to others to make the spare. Nanoseconds.
pub(crate) const LEAVE_IT_TO_OTHERS: u64 = 1_000_000;

impl Extra {
    /// Takes the M that this thread had last, if it is still free.
    pub(crate) fn take_again(&self, thread: &Thread) -> Option<&'static M> {
        let m = thread.last()?;
        claim(m, thread, false).then_some(m)
    }

    /// Takes an M, waiting for one if need be: the first step of needm.
    ///
    /// `nested`: this thread holds an M already and must not leave it to others
    /// to make one, since it may have interrupted the one who does.
    pub(crate) fn take(&self, thread: &Thread, nested: bool) -> Result<&'static M, Error> {
        reap::notice_ends();
        match self.pop(thread) {
            Some(m) => Ok(m),
            None => self.take_slowly(thread, nested),
        }
    }

    #[cold]
    pub(crate) fn take_slowly(&self, thread: &Thread, nested: bool) -> Result<&'static M, Error> {
        let start = system::now();
        let limit = state::settings().wait_ns();
        waiters().fetch_add(1, SeqCst);
        // From here on who gives back sees a waiter, or what it gave is seen here.
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
                reap::reclaim_all();
                found = self.pop(thread).or_else(|| Self::sweep(thread));
            }
            if let Some(m) = found {
                break Ok(m);
            }
            if !state::is_open() {
                break Err(Error::NotStarted);
            }
            let elapsed = system::now().saturating_sub(start);
            let mut nap = LOOK_AGAIN;
            if may_make {
                if nested || elapsed >= LEAVE_IT_TO_OTHERS {
                    match self.make(Some(thread)) {
                        Ok(Some(m)) => {
                            m.owes.store(1, Relaxed);
                            break Ok(m);
                        }
                        Ok(None) => {}
                        Err(error) => break Err(error),
                    }
                } else {
                    nap = LEAVE_IT_TO_OTHERS;
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
            let _ = system::wait(&self.returned, seen, Some(nap));
        };
        waiters().fetch_sub(1, SeqCst);
        result
    }
}

impl Extra {
    /// newextram: makes the spare that the taker of the last M owes, and one more
    /// for everybody who waits. Runs on a G, after the gate. What cannot be made
    /// now is made by who needs it.
    pub(crate) fn newextram(&self) {
        if reap::ask_for_ends() != 0 {
            return;
        }
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
        let thread = thread::current(tls, want == Want::Callback)?;
        let was_taking = thread.begin_taking();
        let taken = match thread.knows_what_is() {
            Some(true) => take(tls, thread, want).map(Some),
            Some(false) => Ok(None),
            None => Err(Error::NotStarted),
        };
        if let Ok(Some(Taken::Fresh(m))) = taken {
            state::settings().hooks().minit(m);
        }
        thread.end_taking(was_taking);
        match taken? {
            Some(Taken::Bound(m)) => return Ok(m),
            Some(Taken::Fresh(m)) if tls.publish(m.over(), Some(m), pass(thread, m)) => {
                if !is_borrowed(m) {
                    tls.take_again_at(again(thread, m));
                }
                return Ok(m);
            }
            _ => {}
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Taken {
    Fresh(&'static M),
    /// A handler has called back meanwhile, and its M is this thread's now.
    Bound(&'static M),
}

pub(crate) fn take(tls: &Tls, thread: &'static Thread, want: Want) -> Result<Taken, Error> {
    loop {
        let mut over = tls.m();
        if let Some(stale) = over.filter(|m| !pool::is_held_by(m, thread)) {
            tls.publish(Some(stale), None, 0);
            over = None;
        }
        if let Some(bound) = over.filter(|m| m.segment().is_none()) {
            return Ok(Taken::Bound(bound));
        }
        // After what is published, which is held before: else a handler that comes in between
        // and binds an M leaves one that is published and not seen to be held.
        compiler_fence(SeqCst);
        let below = thread.held().filter(|m| pool::is_held_by(m, thread));
        let per_call = want == Want::Callback && state::settings().binds_calls();
        let again = if per_call && below.is_none() { EXTRA.take_again(thread) } else { None };
        let m = match again {
            Some(m) => m,
            None => EXTRA.take(thread, below.is_some())?,
        };
        m.over.store(over.map_or(ptr::null_mut(), |m| ptr::from_ref(m).cast_mut()), Relaxed);
        m.over_pass.store(tls.pass(), Relaxed);
        if thread.hold(tls, m, below, over).is_ok() {
            return Ok(Taken::Fresh(m));
        }
        // A handler has called back since, and its M is bound now.
        EXTRA.give(m);
        if let Some(bound) = tls.m().filter(|bound| bound.segment().is_none()) {
            return Ok(Taken::Bound(bound));
        }
    }
}

/// What lets a bound M take the steady path. Of the start of the kernel that the M is of,
/// which may be over by now.
pub(crate) fn pass(thread: &Thread, m: &M) -> u32 {
    if goes_back(m) || !needs_no_look(thread) {
        return 0;
    }
    // If a handler has bound it, that may have been before this was known.
    thread.tell_of_signal_stack(m);
    gate_of(m)
}

pub(crate) fn gate_of(m: &M) -> u32 {
    state::gate_of(m.epoch.load(Relaxed))
}

/// What lets this thread's last M be taken again on the steady path.
pub(crate) fn again(thread: &Thread, m: &M) -> u32 {
    let settings = state::settings();
    let hooks = settings.hooks();
    let plain = settings.binds_calls() && hooks.minit.is_none() && hooks.unminit.is_none();
    if plain && needs_no_look(thread) { gate_of(m) } else { 0 }
}

/// Whether neither the gate nor the thread's signal stack wants the slow path.
pub(crate) fn needs_no_look(thread: &Thread) -> bool {
    !state::settings().enters_with_fence() && thread.sig.trusted() && !tools::WATCH_SWITCHES
}

/// Gives this thread's current M back.
#[inline(never)] // one place from which the host is called: tests/nosplit/lists.rs
pub(crate) fn dropm(tls: &Tls, m: &M) {
    let pass = if m.over().is_some() { m.over_pass.load(Relaxed) } else { 0 };
    tls.publish(Some(m), m.over(), pass);
    state::settings().hooks().unminit(m);
    match tls.thread() {
        Some(thread) => thread.give_back(m),
        None => EXTRA.give(m),
    }
}

/// From `needm_entry`: the last M was taken again, and the gate is closed.
pub(crate) extern "C" fn unclaim(m: *const M) {
    // SAFETY: this thread has just taken it.
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
        m.below.store(below, Relaxed);
        m.thread.store(ptr::from_ref(self).cast_mut().cast(), Relaxed);
        self.tell_of_signal_stack(m);
        compiler_fence(SeqCst);
        self.m.store(fresh, Relaxed);
        compiler_fence(SeqCst);
        // A handler before that store may have bound one, which is published now;
        // a handler after it has seen `m` and borrowed.
        let now = tls.m();
        if now.map(ptr::from_ref) != over.map(ptr::from_ref) {
            self.m.store(now.map_or(below, |now| ptr::from_ref(now).cast_mut()), Relaxed);
            m.below.store(ptr::null_mut(), Relaxed);
            m.over.store(ptr::null_mut(), Relaxed);
            m.thread.store(ptr::null_mut(), Relaxed);
            return Err(());
        }
        // What is borrowed goes back before what is below it, which stays the last one.
        if below.is_null() {
            let before = self.last.swap(fresh, Relaxed);
            // SAFETY: as for `last`.
            if let Some(before) = unsafe { before.as_ref() }.filter(|b| !ptr::eq(*b, m)) {
                EXTRA.let_go(before, self);
            }
        }
        Ok(())
    }
}
