//! The extra list: the Ms that no thread holds; who waits for one; newextram.
//!
//! An M's `state` says whose it is, and is the only thing that does:
//!
//! | bits | |
//! | --- | --- |
//! | `READY` | it has a stack and its hooks have run; 0 is a row without an M |
//! | `LISTED` | it is on the list, or about to be put there |
//! | `HELD` and the rest | the number of the thread that holds it |
//! | only those | its stack has gone with the start of the kernel it was of, but its thread may be anywhere, and look at the row: nobody else gets it until [`Extra::retire`] |
//!
//! Taking is a compare-and-swap that sets `HELD`; giving back is one that clears
//! it. A thread with per-call binding takes the M it had last without looking at
//! the list, so one that is held may still be listed; who pops such an M clears
//! `LISTED` and goes on, and the holder puts it back on the list later. Whatever
//! is interrupted for good between two of these steps leaves an M that is free
//! but not on the list: [`sweep`] finds it when the list is empty.
//!
//! Nothing here allocates or locks.
#![allow(unsafe_code)] // a word that is defined in assembly

use core::ptr;

use crate::arch::needm_gate;
use crate::error::Error;
use crate::layout;
use crate::list::List;
use crate::m::{M, MS};
use crate::needm;
use crate::os::thread as system;
use crate::runtime;
use crate::sync::{AtomicU32, AtomicU64, Relaxed, Release, SeqCst};
use crate::thread::{self, Thread};
use crate::world;

const READY: u32 = 1;
const LISTED: u32 = 2;
const _: () = assert!(READY | LISTED == layout::m::IDLE);
const HELD: u32 = 4;
const OWNER_SHIFT: u32 = 3;

/// How long one sleep of a waiter is at most before it looks for dead threads
/// again, whose ends may wake nobody. Nanoseconds.
const LOOK_AGAIN: u64 = 10_000_000;

/// How long a waiter leaves it to others to make the spare. Nanoseconds.
const LEAVE_IT_TO_OTHERS: u64 = 1_000_000;

/// The list, and who waits for it.
pub(crate) struct Extra {
    idle: List,
    /// Rows of the table that hold no M.
    blank: List,
    /// Ms made and not refused, or being made.
    made: AtomicU32,
    /// Changes when an M comes back while somebody waits: what waiters sleep on.
    returned: AtomicU32,
    pub(crate) waits: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) reclaimed: AtomicU64,
}

/// The one extra list.
pub(crate) static EXTRA: Extra = Extra {
    idle: List::new(),
    blank: List::new(),
    made: AtomicU32::new(0),
    returned: AtomicU32::new(0),
    waits: AtomicU64::new(0),
    timeouts: AtomicU64::new(0),
    reclaimed: AtomicU64::new(0),
};

/// Threads that wait for an M.
fn waiters() -> &'static AtomicU32 {
    // SAFETY: defined in arch/<arch>/tls.S, aligned, and all of it atomic.
    unsafe { &needm_gate.waiters }
}

/// From `needm_entry`: an M has come back, and somebody waits.
pub(crate) extern "C" fn wake() {
    EXTRA.wake();
}

fn held_by(thread: &Thread) -> u32 {
    HELD | thread.index() << OWNER_SHIFT
}

/// The state of an M that is on the list and held by this thread.
pub(crate) fn listed_and_held_by(thread: &Thread) -> u32 {
    READY | LISTED | held_by(thread)
}

/// Whether this thread holds this M.
pub(crate) fn is_held_by(m: &M, thread: &Thread) -> bool {
    m.state.load(Relaxed) & !LISTED == READY | held_by(thread)
}

/// Whether a thread holds this M.
pub(crate) fn is_held(m: &M) -> bool {
    m.state.load(Relaxed) & HELD != 0
}

fn is_held_ready(state: u32) -> bool {
    state & (READY | HELD) == READY | HELD
}

/// Whether this row holds an M.
pub(crate) fn is_ready(m: &M) -> bool {
    m.state.load(SeqCst) & READY != 0
}

/// Takes `m` if it is free.
pub(crate) fn claim(m: &M, thread: &Thread, unlist: bool) -> bool {
    let mut state = m.state.load(Relaxed);
    loop {
        let free = state & READY != 0 && state & HELD == 0;
        let listed = if unlist { 0 } else { state & LISTED };
        let next = if free { READY | listed | held_by(thread) } else { state & !LISTED };
        if !free && !unlist {
            return false;
        }
        match m.state.compare_exchange_weak(state, next, SeqCst, Relaxed) {
            Ok(_) => return free,
            Err(now) => state = now,
        }
    }
}

impl Extra {
    /// Takes the M that this thread had last, if it is still free.
    pub(crate) fn take_again(&self, thread: &Thread) -> Option<&'static M> {
        let m = thread.last()?;
        claim(m, thread, false).then_some(m)
    }

    /// Takes the first M of the list.
    fn pop(&self, thread: &Thread) -> Option<&'static M> {
        loop {
            let (index, last) = self.idle.pop(&MS)?;
            let m = MS.get(index)?;
            if claim(m, thread, true) {
                m.owes.store(u32::from(last), Relaxed);
                return Some(m);
            }
        }
    }

    /// Takes an M that is free but not on the list.
    fn sweep(thread: &Thread) -> Option<&'static M> {
        let m = MS.iter().find(|m| claim(m, thread, false))?;
        m.owes.store(1, Relaxed);
        Some(m)
    }

    /// Takes an M, waiting for one if need be: the first step of needm.
    ///
    /// `nested`: this thread holds an M already and must not leave it to others
    /// to make one, since it may have interrupted the one who does.
    pub(crate) fn take(&self, thread: &Thread, nested: bool) -> Result<&'static M, Error> {
        thread::notice_ends();
        match self.pop(thread) {
            Some(m) => Ok(m),
            None => self.take_slowly(thread, nested),
        }
    }

    #[cold]
    fn take_slowly(&self, thread: &Thread, nested: bool) -> Result<&'static M, Error> {
        let start = system::now();
        let limit = runtime::settings().wait_ns();
        waiters().fetch_add(1, SeqCst);
        // From here on who gives back sees a waiter, or what it gave is seen here.
        world::heavy_barrier();
        let mut waited = false;
        let result = loop {
            let seen = self.returned.load(SeqCst);
            // Most often a spare is just being made, and going through all that there is
            // would cost the more the more there is.
            let may_make = self.made.load(Relaxed) < runtime::settings().max_ms();
            let thorough = waited || nested || !may_make;
            if thorough {
                thread::reclaim_all();
            }
            let found = self.pop(thread);
            if let Some(m) = found.or_else(|| thorough.then(|| Self::sweep(thread)).flatten()) {
                break Ok(m);
            }
            if !runtime::is_open() {
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

    /// Gives an M back: the last step of dropm. It is as new, and nobody's.
    pub(crate) fn give(&self, m: &M) {
        let mut state = m.state.load(Relaxed);
        if state & LISTED != 0 && is_held_ready(state) {
            // On the list already: a store does. Should who pops it clear LISTED
            // just now, a sweep finds it, as the head of this file says.
            m.state.store(READY | LISTED, Release);
            world::order();
            self.wake();
            return;
        }
        // If the kernel was stopped in the meantime, the M has gone with it.
        while is_held_ready(state) {
            match m.state.compare_exchange_weak(state, READY | LISTED, SeqCst, Relaxed) {
                Ok(_) => return self.put(m),
                Err(now) => state = now,
            }
        }
    }

    /// Puts an M that says LISTED on the list.
    fn put(&self, m: &M) {
        self.idle.push(&MS, m.index());
        self.wake();
    }

    fn wake(&self) {
        if waiters().load(SeqCst) != 0 {
            self.returned.fetch_add(1, SeqCst);
            system::wake(&self.returned, 1);
        }
    }

    /// Has every waiter look again: the kernel is being stopped.
    pub(crate) fn wake_all(&self) {
        self.returned.fetch_add(1, SeqCst);
        system::wake(&self.returned, u32::MAX >> 1);
    }

    /// How many threads are waiting.
    pub(crate) fn waiting(&self) -> u32 {
        waiters().load(SeqCst)
    }

    /// Makes an M, for `thread` or for the list; `None` if there are `max_ms`.
    pub(crate) fn make(&self, thread: Option<&Thread>) -> Result<Option<&'static M>, Error> {
        let settings = runtime::settings();
        let max = settings.max_ms();
        if self.made.fetch_update(SeqCst, Relaxed, |made| (made < max).then_some(made + 1)).is_err()
        {
            return Ok(None);
        }
        let made = self.make_one(thread);
        if made.is_err() {
            self.made.fetch_sub(1, SeqCst);
        }
        made.map(Some)
    }

    fn make_one(&self, thread: Option<&Thread>) -> Result<&'static M, Error> {
        let settings = runtime::settings();
        let index = match self.blank.pop(&MS) {
            Some((index, _)) => index,
            None => MS.add().map_err(|_| Error::NoMemory)?,
        };
        let m = MS.get(index).ok_or(Error::NoMemory)?;
        if let Err(error) = m.stack.map(settings.stack_size()) {
            self.blank.push(&MS, index);
            return Err(error);
        }
        m.set_local(ptr::null_mut());
        m.epoch.store(runtime::epoch(), Relaxed);
        m.fill(index);
        if !settings.hooks().m_new(m) {
            self.unmake(m);
            return Err(Error::NoMemory);
        }
        match thread {
            Some(thread) => m.state.store(READY | held_by(thread), SeqCst),
            None => {
                m.state.store(READY | LISTED, SeqCst);
                self.put(m);
            }
        }
        Ok(m)
    }

    /// Undoes what [`Extra::make`] did, but for its count. A row that a thread holds
    /// stays with it.
    fn unmake(&self, m: &M) {
        let stays = |state: u32| if state & HELD == 0 { 0 } else { state & !(READY | LISTED) };
        let before = m.state.fetch_update(SeqCst, Relaxed, |state| Some(stays(state)));
        // SAFETY: nothing runs on it, and an M that is not READY is not entered.
        unsafe { m.stack.unmap() };
        if before.is_ok_and(|before| stays(before) == 0) {
            self.blank.push(&MS, m.index());
        }
    }

    /// Frees the rows that `thread` still held when the kernel was stopped: those of
    /// starts before `epoch`, or all.
    pub(crate) fn retire(&self, thread: &Thread, epoch: Option<u32>) {
        let own = held_by(thread);
        let is_old = |m: &&M| epoch.is_none_or(|epoch| m.epoch.load(Relaxed) != epoch);
        for m in MS.iter().filter(is_old) {
            if m.state.compare_exchange(own, 0, SeqCst, Relaxed).is_ok() {
                self.blank.push(&MS, m.index());
            }
        }
    }

    /// Makes `count` Ms for the list.
    pub(crate) fn seed(&self, count: u32) -> Result<(), Error> {
        (0..count).try_for_each(|_| self.make(None).map(drop))
    }

    /// newextram: makes the spare that the taker of the last M owes, and one more
    /// for everybody who waits. Runs on a G, after the gate. What cannot be made
    /// now is made by who needs it.
    pub(crate) fn newextram(&self) {
        if thread::notice_ends() != 0 {
            return;
        }
        for _ in 0..self.waiting().max(1) {
            if !matches!(self.make(None), Ok(Some(_))) {
                return;
            }
        }
    }

    /// Unmaps the stack of every M, and leaves its row blank.
    ///
    /// Only for `runtime::stop`, when no thread is in a callback or on its way.
    pub(crate) fn end(&self) {
        for m in MS.iter().filter(|m| is_ready(m)) {
            runtime::settings().hooks().m_free(m);
            self.unmake(m);
        }
        self.made.store(0, SeqCst);
        self.idle.clear();
    }

    /// Forgets the list; the table's rows are about to go.
    pub(crate) fn forget_rows(&self) {
        self.idle.clear();
        self.blank.clear();
    }

    /// In a forked child: everything that no longer has a thread is free again.
    /// `keep` says what the surviving thread holds.
    pub(crate) fn rebuild(&self, keep: impl Fn(&M) -> bool) {
        self.idle.clear();
        self.blank.clear();
        waiters().store(0, SeqCst);
        let mut made = 0;
        for index in (0..MS.len()).rev() {
            let Some(m) = MS.get(index) else { continue };
            if !is_ready(m) {
                // A row that its maker did not finish there: nothing in it can
                // be trusted but that it is nobody's.
                m.state.store(0, Relaxed);
                self.blank.push(&MS, index);
                continue;
            }
            made += 1;
            if keep(m) {
                m.state.fetch_and(!LISTED, Relaxed);
                if runtime::settings().binds_calls() {
                    // On the list all the same: it may go back there by a store.
                    m.state.fetch_or(LISTED, Relaxed);
                    self.idle.push(&MS, index);
                }
                continue;
            }
            if is_held(m) {
                self.reclaimed.fetch_add(1, Relaxed);
            }
            m.reset();
            m.below.store(ptr::null_mut(), Relaxed);
            m.over.store(ptr::null_mut(), Relaxed);
            m.thread.store(ptr::null_mut(), Relaxed);
            m.state.store(READY | LISTED, SeqCst);
            self.idle.push(&MS, index);
        }
        self.made.store(made, SeqCst);
    }

    /// Whether an M is on its way to or from a thread that does not keep it.
    pub(crate) fn is_any_on_its_way(&self) -> bool {
        MS.iter().any(|m| is_ready(m) && is_held(m) && needm::goes_back(m))
    }

    /// Counts of Ms: made, idle, held.
    pub(crate) fn count(&self) -> (u64, u64, u64) {
        let held = MS.iter().filter(|m| is_ready(m) && is_held(m)).count() as u64;
        let ready = MS.iter().filter(|m| is_ready(m)).count() as u64;
        (ready, ready - held.min(ready), held)
    }
}
