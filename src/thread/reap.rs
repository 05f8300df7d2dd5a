//! (to be written)
#![allow(unsafe_code)]

use crate::error::Error;
use crate::gate;
use crate::m::{M, MS};
use crate::pool;
use crate::pool::{EXTRA, trim};
use crate::state;
use crate::sync::{AtomicU32, Relaxed, Release, SeqCst};
use crate::thread::death;
use crate::thread_record::{FREE, FREE_THREADS, LIVE, PHASE, TAKEN_ONCE, THREADS, Thread};
use crate::tls::Tls;
use core::ptr;

/// Records that are looked at for ended threads, each time, by who lacks a record or an M;
/// and by who takes one, if there are no more.
pub(crate) const GLANCE: u32 = 8;

/// Threads that take a record, or one apart: [`while_open`].
pub(crate) static TAKING: AtomicU32 = AtomicU32::new(0);

/// Where the next glance begins.
pub(crate) static HAND: AtomicU32 = AtomicU32::new(0);

/// A record for this thread, unless the kernel is being stopped.
pub(crate) fn take_while_open(tls: &Tls) -> Result<Option<&'static Thread>, Error> {
    while_open(|| Thread::take(tls).ok_or(Error::NoMemory)).transpose()
}

/// Does `work`, which [`stop`] waits for before it unmaps anything; `None` if the kernel is
/// being stopped.
pub(crate) fn while_open<R>(work: impl FnOnce() -> R) -> Option<R> {
    TAKING.fetch_add(1, SeqCst);
    let done = state::is_open().then(work);
    // A forked child starts from 0, maybe in the middle of this.
    let _ = TAKING.fetch_update(SeqCst, SeqCst, |taking| taking.checked_sub(1));
    done
}

/// Looks at a record, or at all if they are few, for threads that have ended; how many Ms
/// came back.
pub(crate) fn notice_ends() -> u32 {
    let count = if THREADS.len() > GLANCE { 1 } else { GLANCE };
    glance(count).map(|thread| thread.reclaim(false)).sum()
}

/// Looks at some more, and asks the system about those of which nothing else tells. Before
/// an M is made, so that threads whose ends nobody hears of do not take one each.
pub(crate) fn ask_for_ends() -> u32 {
    glance(GLANCE).map(|thread| thread.reclaim(true)).sum()
}

/// The record of a thread that has ended, now the caller's. Only while the kernel does not
/// stop.
pub(crate) fn left_behind() -> Option<&'static Thread> {
    glance(GLANCE).find(|t| t.seen_ended(false).is_some_and(|state| t.take_over(state)))
}

/// The records whose turn it is: one after the other, from the first to the last. Were the
/// hand to go in strides, or its place to depend on how many there are, some might never
/// have their turn, and the table would grow instead.
pub(crate) fn glance(count: u32) -> impl Iterator<Item = &'static Thread> {
    let len = THREADS.len();
    (0..count.min(len)).filter_map(move |_| {
        let hand = HAND.load(Relaxed);
        let at = if hand < len { hand } else { 0 };
        // Not in one step: where two look at the same one, nothing is lost.
        HAND.store(at + 1, Relaxed);
        THREADS.get(at)
    })
}

/// Looks whether one thread has ended.
pub(crate) fn notice_end_of(thread: &Thread) {
    thread.reclaim(true);
}

/// Looks at all records for threads that have ended; how many Ms came back.
pub(crate) fn reclaim_all() -> u32 {
    THREADS.iter().map(|thread| thread.reclaim(true)).sum()
}

/// Whether an M is on its way to or from a thread.
pub(crate) fn is_any_on_its_way() -> bool {
    THREADS.iter().any(Thread::is_on_its_way)
}

impl Thread {
    /// A record for this thread, without anything yet.
    pub(crate) fn take(tls: &Tls) -> Option<&'static Self> {
        let free = FREE_THREADS.pop(&THREADS).and_then(|(index, _)| THREADS.get(index));
        let thread = match free.or_else(crate::thread::reap::left_behind) {
            Some(thread) => thread,
            None => {
                let index = THREADS.add().ok()?;
                let thread = THREADS.get(index)?;
                thread.index.store(index, Relaxed);
                thread
            }
        };
        thread.claim.store(pool::listed_and_held_by(thread) as usize, Relaxed);
        thread.tid.store(death::tid(tls), Relaxed);
        thread.futex.store(0, Relaxed);
        thread.taking.store(0, Relaxed);
        thread.left.store(0, Relaxed);
        thread.own_head[0].store(0, Relaxed);
        thread.has_known_others.store(0, Relaxed);
        thread.stack.iter().for_each(|bound| bound.store(0, Relaxed));
        thread.forget_ms();
        thread.epoch.store(state::epoch(), Relaxed);
        let before = thread.state.load(Relaxed) & !PHASE;
        thread.state.store(before.wrapping_add(TAKEN_ONCE) | LIVE, Release);
        Some(thread)
    }

    /// Gives back the innermost M that it holds, as new.
    pub(crate) fn give_back(&self, m: &M) {
        let was = self.begin_taking();
        m.reset();
        let below = m.below.load(Relaxed);
        m.below.store(ptr::null_mut(), Relaxed);
        m.over.store(ptr::null_mut(), Relaxed);
        if !(state::settings().binds_calls() && ptr::eq(self.last.load(Relaxed), m)) {
            m.thread.store(ptr::null_mut(), Relaxed);
        }
        // Before it goes: a handler that calls back afterwards may hold another.
        let own = ptr::from_ref(m).cast_mut();
        let _ = self.m.compare_exchange(own, below, Relaxed, Relaxed);
        EXTRA.give(m);
        self.end_taking(was);
    }

    /// Goes on in the present start of the kernel. Rows of the one that it knew stay its
    /// own for now, and are no Ms: what this has interrupted may be about to look at one.
    pub(crate) fn renew(&self) {
        let known = self.epoch.load(Relaxed);
        // Its row may be an M again by now, and on the list.
        self.last.store(ptr::null_mut(), Relaxed);
        let renewed = self.epoch.compare_exchange(known, state::epoch(), Relaxed, Relaxed);
        if renewed.is_ok() && self.has_known_others.swap(1, Relaxed) != 0 {
            EXTRA.retire(self, Some(known));
        }
    }

    /// The thread is at its end, and looks at no row any more.
    pub(crate) fn retire_rows(&self) {
        let knows = self.epoch.load(Relaxed) == state::epoch();
        if !knows || self.has_known_others.load(Relaxed) != 0 {
            EXTRA.retire(self, None);
        }
    }

    /// Gives back all that this thread held, which has ended or is about to; how many
    /// Ms that was. What a handler takes in between stays noted.
    pub(crate) fn give_all_back(&self) -> u32 {
        let mut count = 0;
        let mut give = |m: &M| {
            count += 1;
            state::settings().hooks().unminit(m);
            trim::given(m, self);
            self.give_back(m);
        };
        while let Some(m) = self.held() {
            if pool::is_held_by(m, self) {
                give(m);
            } else {
                let stale = ptr::from_ref(m).cast_mut();
                let _ = self.m.compare_exchange(stale, ptr::null_mut(), Relaxed, Relaxed);
            }
        }
        if self.taking.load(Relaxed) != 0 {
            self.taking.store(0, Relaxed);
            // It ended in the middle of taking one, or of giving one back.
            MS.iter().filter(|m| pool::is_held_by(m, self)).for_each(give);
        }
        // SAFETY: as for `last()`.
        while let Some(last) = unsafe { self.last.swap(ptr::null_mut(), Relaxed).as_ref() } {
            // Nobody waits for this one to be taken again.
            if EXTRA.let_go(last, self) {
                trim::given(last, self);
            }
        }
        count
    }

    /// The record is nobody's any more.
    pub(crate) fn release(&self) {
        self.clear();
        self.set_phase(FREE);
        FREE_THREADS.push(&THREADS, self.index());
    }

    /// What a record is as long as it is nobody's.
    pub(crate) fn clear(&self) {
        self.retire_rows();
        self.futex.store(0, Relaxed);
    }

    /// Takes the record of an ended thread apart; how many Ms came back.
    pub(crate) fn reclaim(&self, ask: bool) -> u32 {
        let ended = self.seen_ended(ask);
        ended
            .and_then(|state| crate::thread::reap::while_open(|| self.take_apart(state)))
            .unwrap_or(0)
    }

    /// The state of a record whose thread has ended.
    pub(crate) fn seen_ended(&self, ask: bool) -> Option<u32> {
        let state = self.state();
        (state & PHASE == LIVE && self.has_ended(ask)).then_some(state)
    }

    /// Takes the record of a thread that has ended apart, if it is still in `state`. Only
    /// while the kernel does not stop, or for who stops it.
    pub(crate) fn take_apart(&self, state: u32) -> u32 {
        let count = self.take_all_off(state);
        if count.is_some() {
            self.release();
        }
        count.unwrap_or(0)
    }

    /// The same, but the record is then the caller's; false if it is not.
    pub(crate) fn take_over(&self, state: u32) -> bool {
        let whole = self.take_all_off(state).is_some();
        if whole {
            self.clear();
        }
        whole
    }

    pub(crate) fn take_all_off(&self, state: u32) -> Option<u32> {
        if !self.begin_end(state) {
            return None;
        }
        gate::disown(self);
        let count = self.give_all_back();
        if count != 0 {
            EXTRA.reclaimed.fetch_add(u64::from(count), Relaxed);
        }
        self.sig.forget();
        Some(count)
    }
}
