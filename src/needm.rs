//! needm and dropm: binds an M to this thread, and unbinds it.
//!
//! The M is published as needm's last step and withdrawn as dropm's first. So a signal
//! handler that calls back in between sees a thread without an M, and binds another, on top
//! of what the thread holds. The end of the handler's callback unbinds that one again.
//!
//! The rebind fast path is in `arch/<arch>/entry.S` and does the same steps in the same
//! order, for an M that was this thread's last and needs nothing else: `tls.rs` says when it
//! is allowed.
//!
//! # Safety
//! Pointers to Ms lead to rows of a table, which stay mapped while a live thread has a
//! record. A thread that calls a function here has one, or has the M from assembly.
#![allow(unsafe_code)] // an M from assembly

use crate::barrier;
use crate::error::Error;
use crate::m::M;
use crate::os::wait::{now, wait};
use crate::pool;
use crate::pool::{EXTRA, Extra, claim, is_temporary, unbinds_on_exit, waiters};
use crate::state;
use crate::sync::{AtomicU32, Relaxed, SeqCst, compiler_fence};
use crate::thread;
use crate::thread::reap;
use crate::thread_record::Thread;
use crate::tls::Tls;
use crate::tools;
use core::ptr;

crate::arch::upcalls! {
    "needm_dropm" => dropm_rebound,
}

/// The longest sleep of a waiter, in nanoseconds. Then it looks for exited threads again, because
/// an exit may wake no waiter.
pub(crate) const MAX_SLEEP: u64 = 10_000_000;

/// How long a waiter waits for another thread's spare before it makes an M itself, in
/// nanoseconds.
const GRACE: u64 = 1_000_000;

impl Extra {
    /// Binds the M that this thread had last, if it is still free.
    fn rebind(&self, thread: &Thread) -> Option<&'static M> {
        let m = thread.last()?;
        claim(m, thread, false).then_some(m)
    }

    /// Binds an M, and waits for one if need be: the first step of needm.
    ///
    /// `nested`: this thread holds an M already. It must not wait for a spare, because it may be
    /// in a handler that has interrupted the code which makes that spare.
    pub(crate) fn acquire(&self, thread: &Thread, nested: bool) -> Result<&'static M, Error> {
        reap::reap_next();
        match self.pop(thread) {
            Some(m) => Ok(m),
            None => self.acquire_slow(thread, nested),
        }
    }

    #[cold]
    fn acquire_slow(&self, thread: &Thread, nested: bool) -> Result<&'static M, Error> {
        let mut waiting = Waiting::begin();
        let limit = state::settings().wait_ns();
        waiters().fetch_add(1, SeqCst);
        // From here on a thread that unbinds an M sees a waiter, or the M is seen here.
        barrier::heavy_barrier();
        let mut waited = false;
        let result = loop {
            let seen = self.returned.load(SeqCst);
            // Most often another thread is just making a spare. To go through all records and all
            // Ms then costs more the more there are, and brings nothing.
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
            let elapsed = waiting.elapsed();
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
            waiting.sleep(&self.returned, seen, nap);
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
            // Spares that other threads make at the same time count.
            let wanted = self.listed.load(SeqCst) < self.waiting().max(1);
            if !wanted || !matches!(self.make(None), Ok(Some(_))) {
                return;
            }
        }
    }
}

/// For how long a thread has been waiting: by the clock or, where the system does not let it be
/// read, by the sleeps.
struct Waiting {
    start: Option<u64>,
    slept: u64,
}

impl Waiting {
    /// What a sleep that ended early counts for, in nanoseconds: more than none, so that the wait
    /// ends even if the system refuses to let the thread sleep.
    const EARLY: u64 = 1000;

    fn begin() -> Self {
        Self { start: now(), slept: 0 }
    }

    fn elapsed(&self) -> u64 {
        let by_clock = self.start.zip(now()).map(|(start, now)| now.saturating_sub(start));
        by_clock.unwrap_or(self.slept)
    }

    /// Sleeps while `word` is `seen`, at most `nanos`.
    fn sleep(&mut self, word: &AtomicU32, seen: u32, nanos: u64) {
        let whole = wait(word, seen, Some(nanos));
        self.slept = self.slept.saturating_add(if whole { nanos } else { Self::EARLY });
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

/// Binds an M to this thread, and publishes it in the place of the current one, if there is one.
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
            thread.in_hook(|| state::settings().hooks().minit(m));
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
    /// A handler has called back meanwhile, and its M is still bound to this thread.
    Bound(&'static M),
}

fn acquire_m(tls: &Tls, thread: &'static Thread, want: Want) -> Result<Acquired, Error> {
    loop {
        let mut current = tls.m();
        if let Some(stale) = current.filter(|m| !pool::is_held_by(m, thread)) {
            tls.publish(Some(stale), None, 0);
            current = None;
        }
        if let Some(bound) = current.filter(|m| m.segment().is_none()) {
            return Ok(Acquired::Bound(bound));
        }
        // Read after `current`, because an M is held before it is published. In the other order,
        // a handler in between could bind an M that is seen as published but not as held.
        compiler_fence(SeqCst);
        let held = thread.held().filter(|m| pool::is_held_by(m, thread));
        let per_call = want == Want::Callback && state::settings().binds_calls();
        let again = if per_call && held.is_none() { EXTRA.rebind(thread) } else { None };
        let m = match again {
            Some(m) => m,
            None => EXTRA.acquire(thread, held.is_some())?,
        };
        m.prev_current
            .store(current.map_or(ptr::null_mut(), |m| ptr::from_ref(m).cast_mut()), Relaxed);
        m.prev_bound_epoch.store(tls.bound_epoch(), Relaxed);
        if thread.hold(tls, m, held, current).is_ok() {
            return Ok(Acquired::Fresh(m));
        }
        // A handler has called back since, and its M is bound now.
        EXTRA.release(m);
        if let Some(bound) = tls.m().filter(|bound| bound.segment().is_none()) {
            return Ok(Acquired::Bound(bound));
        }
    }
}

/// The gate's value for which `m`, bound to `thread`, is allowed the bound fast path; 0 if it is
/// not. The value is of the start of needm in which `m` was made, which may be over by now.
pub(crate) fn bound_epoch_for(thread: &Thread, m: &M) -> u32 {
    if unbinds_on_exit(m) || !fast_path_allowed(thread) {
        return 0;
    }
    // If a handler has bound it, the handler stack may not have been known then.
    thread.note_handler_stack(m);
    gate_of(m)
}

/// The gate's value while it is open in the start of needm in which `m` was made.
pub(crate) fn gate_of(m: &M) -> u32 {
    state::gate_of(m.epoch.load(Relaxed))
}

/// The gate's value for which this thread is allowed the rebind fast path; 0 if it is not.
fn rebind_epoch_for(thread: &Thread, m: &M) -> u32 {
    let settings = state::settings();
    let hooks = settings.hooks();
    let plain = settings.binds_calls() && hooks.minit.is_none() && hooks.unminit.is_none();
    if plain && fast_path_allowed(thread) { gate_of(m) } else { 0 }
}

/// Whether a callback needs no fence, no check of the handler stack, and no report to a sanitizer.
fn fast_path_allowed(thread: &Thread) -> bool {
    !barrier::enters_with_fence()
        && !thread.ready.needs_checks()
        && thread.notice.is_settled()
        && !tools::WATCH_SWITCHES
}

/// Unbinds this thread's current M.
#[inline(never)] // one place from which the host is called: tests/nosplit/lists.rs
pub(crate) fn dropm(tls: &Tls, m: &M) {
    let epoch = if m.prev_current().is_some() { m.prev_bound_epoch.load(Relaxed) } else { 0 };
    tls.publish(Some(m), m.prev_current(), epoch);
    let thread = tls.thread();
    let was_in_transfer = thread.map(Thread::begin_hook);
    // If needm is being stopped and does not wait for this M, the M may be unmapped by now.
    let stays = state::is_open() || pool::unbinds_on_exit(m);
    if stays {
        state::settings().hooks().unminit(m);
    }
    if let Some((thread, was_in_transfer)) = thread.zip(was_in_transfer) {
        thread.end_transfer(was_in_transfer);
    }
    match thread.filter(|_| stays) {
        Some(thread) => thread.return_m(m),
        None if stays => EXTRA.release(m),
        None => {}
    }
}

/// From `needm_entry`, rebind path: the gate closed on the way in, or the M is off the list and a
/// plain store would lose it.
extern "C" fn dropm_rebound(m: *const M) {
    // SAFETY: assembly has just bound this M to this thread, so its row is mapped.
    dropm(Tls::current(), unsafe { &*m });
}

impl Thread {
    /// Notes that this thread holds `m` now, unless a handler has bound an M since `held` and
    /// `current` were read.
    pub(crate) fn hold(
        &self,
        tls: &Tls,
        m: &'static M,
        held: Option<&'static M>,
        current: Option<&'static M>,
    ) -> Result<(), ()> {
        let held = held.map_or(ptr::null_mut(), |m| ptr::from_ref(m).cast_mut());
        let fresh = ptr::from_ref(m).cast_mut();
        m.prev_held.store(held, Relaxed);
        m.thread.store(ptr::from_ref(self).cast_mut().cast(), Relaxed);
        self.note_handler_stack(m);
        compiler_fence(SeqCst);
        self.m.store(fresh, Relaxed);
        compiler_fence(SeqCst);
        // A handler before that store may have bound an M, which is published now. A handler after
        // it has seen `m`, has bound one on top, and has unbound that again.
        let now = tls.m();
        if now.map(ptr::from_ref) != current.map(ptr::from_ref) {
            self.m.store(now.map_or(held, |now| ptr::from_ref(now).cast_mut()), Relaxed);
            m.prev_held.store(ptr::null_mut(), Relaxed);
            m.prev_current.store(ptr::null_mut(), Relaxed);
            m.thread.store(ptr::null_mut(), Relaxed);
            return Err(());
        }
        // An M on top of another is unbound before that one, which stays the last one.
        if held.is_null() {
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
