// SPDX-License-Identifier: MIT OR Apache-2.0
//! The extra list: the list from which threads bind Ms, and the threads that wait for one.
//!
//! An M's `state` says which thread it is bound to, and nothing else does:
//!
//! | bits | |
//! | --- | --- |
//! | `READY` | it has a stack and its hooks have run; 0 is a row without an M |
//! | `LISTED` | no thread has popped it since it was put on the list: the thread that it is bound to may unbind it by a store |
//! | `HELD` and the rest | it is bound to a thread, and the row of that thread's record |
//! | `HELD` without `READY` | a stop of needm has unmapped its stack; the row stays reserved while its thread may still read it, until [`Extra::retire`] |
//! | the same, and all other bits | code is left behind on its G: [`Extra::leave_behind`] |
//!
//! Binding is a compare-and-swap that sets `HELD`; unbinding is one that clears
//! it. A thread with per-call binding binds the M it had last without looking at
//! the list, so one that is bound may still be on the list. A thread that pops such an M
//! clears `listed`, then `LISTED`, and tries the next; the thread that unbinds it puts it on
//! the list again.
//!
//! A callback on the fast path unbinds by a plain store, which may undo that clearing: the M
//! then looks listed, but is not. So:
//! - A thread that pops an M sets `listed` to false. If the M was bound, the thread then looks
//!   again whether it is free by now. A thread that unbinds an M on the slow path makes it free
//!   and then looks at `listed`. The thread that changes `listed` to true puts the M on the
//!   list, bound or not.
//! - An M that is free is on the list, or is the last one of a live thread. That thread puts it
//!   on the list ([`Extra::release_last`]) when it has another last one, and when it exits.
//!
//! A thread that is killed between two of these steps leaves an M that is free but
//! not on the list: [`Extra::sweep`] finds it when the list is empty.
//!
//! Nothing here allocates or locks.
//!
//! # Safety
//! Assembly defines the count of waiters; it is an atomic and lives as long as the program.
#![allow(unsafe_code)] // a word that is defined in assembly

mod make;
pub(crate) mod trim;

use crate::arch::needm_gate;
use crate::index_list::List;
use crate::layout;
use crate::m::{M, MS};
use crate::os;
use crate::state;
use crate::sync::{Alone, AtomicU32, AtomicU64, Relaxed, Release, SeqCst, fence};
use crate::thread_record::{THREADS, Thread};
use core::ptr;

crate::arch::upcalls! {
    "needm_wake" => wake,
}

/// It has a stack, and its hooks have run.
pub(crate) const READY: u32 = 1;
/// No thread has popped it since it was put on the list.
pub(crate) const LISTED: u32 = 2;

const _: () = assert!(READY | LISTED == layout::m::IDLE);

/// It is bound to a thread.
pub(crate) const HELD: u32 = 4;

/// Above these bits: the row of that thread's record.
const OWNER_SHIFT: u32 = 3;

/// The state of a row that holds no M any more, but the G of one: [`Extra::leave_behind`].
const LEFT_BEHIND: u32 = !(READY | LISTED);

/// The list, and the threads that wait for it.
pub(crate) struct Extra {
    pub(crate) idle: List,
    /// How many rows are on it, or a few more: raised before a push, lowered after a pop.
    pub(crate) listed: AtomicU32,
    /// Rows of the table that hold no M.
    pub(crate) blank: List,
    /// Ms that exist, those that are just being made included.
    pub(crate) made: AtomicU32,
    /// Changes when an M is unbound while a thread waits. Waiters sleep on it.
    pub(crate) returned: AtomicU32,
    pub(crate) waits: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) reclaimed: AtomicU64,
}

/// The one extra list.
pub(crate) static EXTRA: Alone<Extra> = Alone(Extra {
    idle: List::new(),
    listed: AtomicU32::new(0),
    blank: List::new(),
    made: AtomicU32::new(0),
    returned: AtomicU32::new(0),
    waits: AtomicU64::new(0),
    timeouts: AtomicU64::new(0),
    reclaimed: AtomicU64::new(0),
});

/// Threads that wait for an M.
pub(crate) fn waiters() -> &'static AtomicU32 {
    // SAFETY: defined in arch/<arch>/tls.S, aligned, and all of it atomic.
    unsafe { &needm_gate.waiters }
}

/// `thread`, the caller, waits for an M from here on, maybe in a handler over another wait. How many waits of its there
/// were.
pub(crate) fn begin_wait(thread: &Thread) -> u32 {
    let before = thread.waits.load(Relaxed);
    waiters().fetch_add(1, SeqCst);
    thread.waits.store(before + 1, SeqCst);
    before
}

/// That wait is over. A handler's over it may have been jumped out of.
pub(crate) fn end_wait(thread: &Thread, before: u32) {
    let waits = thread.waits.load(Relaxed);
    thread.waits.store(before, SeqCst);
    count_off(waits.saturating_sub(before));
}

/// `thread` waits no more, although waits of its have not come to an end: they were jumped out of, or it has exited.
pub(crate) fn forget_waits(thread: &Thread) {
    if thread.waits.load(Relaxed) != 0 {
        count_off(thread.waits.swap(0, SeqCst));
    }
}

/// A stop of needm sets the count to 0, and a fork does in the child. So it must not go below that.
fn count_off(waits: u32) {
    let less = |count: u32| Some(count.saturating_sub(waits));
    let _ = waiters().fetch_update(SeqCst, SeqCst, less);
}

/// From `needm_entry`: an M was unbound, and a thread waits for one.
pub(crate) extern "C" fn wake() {
    EXTRA.wake();
}

/// The bits of `state` for an M that is bound to this thread.
pub(crate) fn held_by(thread: &Thread) -> u32 {
    HELD | thread.index() << OWNER_SHIFT
}

/// The state of an M that is on the list and bound to this thread.
pub(crate) fn listed_and_held_by(thread: &Thread) -> u32 {
    READY | LISTED | held_by(thread)
}

/// Whether this M is bound to this thread.
pub(crate) fn is_held_by(m: &M, thread: &Thread) -> bool {
    m.state.load(Relaxed) & !LISTED == READY | held_by(thread)
}

/// The Ms that are bound to this thread, from `first` down. What the thread's record or an M leads to may have
/// been unbound since, and be another thread's.
pub(crate) fn held_from(
    first: Option<&'static M>,
    thread: &Thread,
) -> impl Iterator<Item = &'static M> {
    let held = move |m: &&M| is_held_by(m, thread);
    core::iter::successors(first.filter(held), move |m| m.prev_held().filter(held))
}

/// From any thread: the end of the rebind path is to unbind this M by [`Extra::release`], not by
/// a store. Whether the M is on the list, `listed` says.
pub(crate) fn keep_off_rebind_path(m: &M) {
    if is_held_ready(m.state.load(SeqCst)) {
        m.state.fetch_and(!LISTED, SeqCst);
    }
}

/// Whether [`keep_off_rebind_path`] still holds.
pub(crate) fn is_kept_off_rebind_path(m: &M) -> bool {
    m.state.load(SeqCst) & LISTED == 0
}

/// Whether this M is bound to a thread.
pub(crate) fn is_held(m: &M) -> bool {
    m.state.load(Relaxed) & HELD != 0
}

/// Whether it is none any more, and what is left on its G goes on without one.
pub(crate) fn is_left_behind(m: &M) -> bool {
    m.state.load(Relaxed) == LEFT_BEHIND
}

/// The system's ID of the thread that this M is bound to; 0 if it is bound to none, or if the ID is
/// not known.
pub(crate) fn thread_id(m: &M) -> u64 {
    let holder = || m.state.load(SeqCst) & !LISTED;
    let mut held = holder();
    while is_held_ready(held) {
        let id = THREADS.get(held >> OWNER_SHIFT).map_or(0, |thread| thread.notice.thread_id());
        // The record is another thread's only after it has given the M back.
        let now = holder();
        if now == held {
            return id;
        }
        held = now;
    }
    0
}

/// What `ask` says of the thread that holds this M; false if none does.
pub(crate) fn with_holder(m: &M, ask: impl FnOnce(&Thread) -> bool) -> bool {
    let held = m.state.load(SeqCst);
    is_held_ready(held) && THREADS.get(held >> OWNER_SHIFT).is_some_and(ask)
}

fn is_held_ready(state: u32) -> bool {
    state & (READY | HELD) == READY | HELD
}

/// Whether this row holds an M.
pub(crate) fn is_ready(m: &M) -> bool {
    m.state.load(SeqCst) & READY != 0
}

/// Binds `m` to `thread` if it is free. `popped`: the caller has just popped it from the list.
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
    /// Binds the first M of the list that is free.
    pub(crate) fn pop(&self, thread: &Thread) -> Option<&'static M> {
        loop {
            let (index, last) = self.idle.pop(&MS)?;
            self.listed.fetch_sub(1, SeqCst);
            let m = MS.get(index)?;
            // On success the state is not LISTED, so this thread enlists the M when it unbinds it.
            let mut mine = claim(m, thread, true);
            // model: a_popped_m_that_is_not_listed_again
            m.listed.store(false, Release);
            if !mine {
                fence(SeqCst);
                // model: a_popper_that_does_not_look_again
                mine = claim(m, thread, true);
            }
            if mine {
                m.owes_spare.store(last, Relaxed);
                return Some(m);
            }
            // Tells the thread that it is bound to, which reads this word to unbind the M.
            m.state.fetch_and(!LISTED, SeqCst);
        }
    }

    /// Binds an M that is free but not on the list.
    pub(crate) fn sweep(thread: &Thread) -> Option<&'static M> {
        let m = MS.iter().find(|m| claim(m, thread, false))?;
        m.owes_spare.store(true, Relaxed);
        Some(m)
    }

    /// Unbinds an M, which is as new by now: the last step of dropm.
    pub(crate) fn release(&self, m: &M) {
        let mut state = m.state.load(Relaxed);
        // If needm was stopped meanwhile, the row is no M any more.
        while is_held_ready(state) {
            // model: a_release_that_publishes_nothing
            match m.state.compare_exchange_weak(state, READY | LISTED, SeqCst, Relaxed) {
                Ok(_) => return self.enlist(m),
                Err(now) => state = now,
            }
        }
    }

    /// Puts `m` on the list, because `thread` no longer keeps it as its last one. False if
    /// another thread has had it since, or if it is of an earlier start of needm.
    pub(crate) fn release_last(&self, m: &M, thread: &Thread) -> bool {
        let own = ptr::from_ref(thread).cast_mut().cast();
        let was = m.thread.load(Relaxed) == own
            && m.thread.compare_exchange(own, ptr::null_mut(), SeqCst, SeqCst).is_ok();
        let goes = was && is_ready(m);
        // model: a_last_m_that_is_never_released
        if goes {
            self.enlist(m);
        }
        goes
    }

    /// Puts an M that is free on the list, unless it is there.
    pub(crate) fn enlist(&self, m: &M) {
        if !m.listed.load(SeqCst) && !m.listed.swap(true, SeqCst) {
            self.listed.fetch_add(1, SeqCst);
            self.idle.push(&MS, m.index());
        }
        // model: a_release_that_wakes_no_waiter
        self.wake();
    }

    /// Wakes a thread that waits, if one does.
    pub(crate) fn wake(&self) {
        if waiters().load(SeqCst) != 0 {
            self.returned.fetch_add(1, SeqCst);
            os::wait::wake(&self.returned, 1);
        }
    }

    /// Wakes every waiter, so that it looks again: needm is being stopped.
    pub(crate) fn wake_all(&self) {
        self.returned.fetch_add(1, SeqCst);
        os::wait::wake(&self.returned, u32::MAX >> 1);
    }

    /// How many threads are waiting.
    pub(crate) fn waiting(&self) -> u32 {
        waiters().load(SeqCst)
    }

    /// Whether an M is bound that the end of a callback unbinds. With no callback under way, it
    /// is just being bound or unbound.
    pub(crate) fn any_in_transfer(&self) -> bool {
        MS.iter().any(|m| is_ready(m) && is_held(m) && unbinds_on_exit(m))
    }

    /// Counts of Ms: made, idle, bound.
    pub(crate) fn count(&self) -> (u64, u64, u64) {
        let held = MS.iter().filter(|m| is_ready(m) && is_held(m)).count() as u64;
        let ready = MS.iter().filter(|m| is_ready(m)).count() as u64;
        (ready, ready - held.min(ready), held)
    }
}

/// Whether `m` was bound on top of another M: then the end of its callback unbinds it, with
/// either binding.
pub(crate) fn is_temporary(m: &M) -> bool {
    !m.prev_held.load(Relaxed).is_null()
}

/// Whether the end of its outermost callback unbinds `m`.
pub(crate) fn unbinds_on_exit(m: &M) -> bool {
    is_temporary(m) || state::settings().binds_calls() && !m.attached.load(Relaxed)
}
