//! The extra list: the Ms that no thread holds; who waits for one; newextram.
//!
//! An M's `state` says whose it is, and is the only thing that does:
//!
//! | bits | |
//! | --- | --- |
//! | `READY` | it has a stack and its hooks have run; 0 is a row without an M |
//! | `LISTED` | nobody has popped it since it was put on the list, as far as its holder needs to know |
//! | `HELD` and the rest | the number of the thread that holds it |
//! | only those | its stack has gone with the start of the kernel it was of, but its thread may be anywhere, and look at the row: nobody else gets it until [`Extra::retire`] |
//!
//! Taking is a compare-and-swap that sets `HELD`; giving back is one that clears
//! it. A thread with per-call binding takes the M it had last without looking at
//! the list, so one that is held may still be on the list. Who pops such an M says
//! so, in `listed` and then by clearing `LISTED`, and goes on; who gives it back
//! puts it on the list again.
//!
//! A steady callback gives back by a store, which may undo that clearing. So:
//! - Who pops an M makes its `listed` false, and if it was held looks then whether it is
//!   free by now; who gives one back makes it free and then looks at `listed`; and who
//!   makes that true puts the M on the list, whoever holds it by then.
//! - An M that is free is on the list, or is the last one of a live thread, which
//!   lets go of it in [`Extra::let_go`] when it has another, and when it ends.
//!
//! A thread that is killed between two of these steps leaves an M that is free but
//! not on the list: [`Extra::sweep`] finds it when the list is empty.
//!
//! Nothing here allocates or locks.
#![allow(unsafe_code)] // a word that is defined in assembly

mod make;

use core::ptr;

use crate::arch::needm_gate;
use crate::error::Error;
use crate::layout;
use crate::list::List;
use crate::m::{M, MS};
use crate::needm;
use crate::os::thread as system;
use crate::runtime;
use crate::sync::{AtomicU32, AtomicU64, Relaxed, Release, SeqCst, fence};
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
    /// Rows on it; never fewer than there are.
    listed: AtomicU32,
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
    listed: AtomicU32::new(0),
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

/// Takes `m` if it is free; `popped` from the list, or wherever it is.
pub(crate) fn claim(m: &M, thread: &Thread, popped: bool) -> bool {
    let mut state = m.state.load(SeqCst);
    while state & (READY | HELD) == READY {
        let listed = if popped { 0 } else { state & LISTED };
        let next = READY | listed | held_by(thread);
        match m.state.compare_exchange_weak(state, next, SeqCst, SeqCst) {
            Ok(_) => return true,
            Err(now) => state = now,
        }
    }
    false
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
            self.listed.fetch_sub(1, SeqCst);
            let m = MS.get(index)?;
            // If so, who gives it back is this thread, which then knows that it is not listed.
            let mut mine = claim(m, thread, true);
            m.listed.store(false, Release);
            if !mine {
                fence(SeqCst);
                mine = claim(m, thread, true);
            }
            if mine {
                m.owes.store(u32::from(last), Relaxed);
                return Some(m);
            }
            // Its holder is to know, and looks at this word anyway.
            m.state.fetch_and(!LISTED, SeqCst);
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
            let mut found = self.pop(thread);
            if found.is_none() && thorough {
                thread::reclaim_all();
                found = self.pop(thread).or_else(|| Self::sweep(thread));
            }
            if let Some(m) = found {
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
        // If the kernel was stopped in the meantime, the M has gone with it.
        while is_held_ready(state) {
            match m.state.compare_exchange_weak(state, READY | LISTED, SeqCst, Relaxed) {
                Ok(_) => return self.put(m),
                Err(now) => state = now,
            }
        }
    }

    /// `thread` has another last M than this now. False if it was another thread's, or has
    /// gone with an earlier start of the kernel.
    pub(crate) fn let_go(&self, m: &M, thread: &Thread) -> bool {
        let own = ptr::from_ref(thread).cast_mut();
        let was = m.thread.load(Relaxed) == own
            && m.thread.compare_exchange(own, ptr::null_mut(), SeqCst, SeqCst).is_ok();
        let goes = was && is_ready(m);
        if goes {
            self.put(m);
        }
        goes
    }

    /// Puts an M that is free on the list, unless it is there.
    fn put(&self, m: &M) {
        if !m.listed.load(SeqCst) && !m.listed.swap(true, SeqCst) {
            self.listed.fetch_add(1, SeqCst);
            self.idle.push(&MS, m.index());
        }
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
