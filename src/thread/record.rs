//! The record itself: what it holds, whose it is, and taking it apart.
//!
//! Who changes `state` to `ENDING` is the one who takes the record apart; everybody
//! else leaves it alone.
#![allow(unsafe_code)] // records are reached by pointers

use core::ptr;

use memoffset::offset_of;

use super::{FREE_THREADS, THREADS, robust};
use crate::extra::{self, EXTRA};
use crate::layout;
use crate::m::{M, MS};
use crate::os::maps;
use crate::os::thread as system;
use crate::runtime;
use crate::signal::minit;
use crate::sync::{AtomicPtr, AtomicU32, AtomicUsize, Relaxed, Release, SeqCst, compiler_fence};
use crate::tls::Tls;
use crate::trim;
use crate::world;

// `state`: one of these, and above them a count that rises with each thread that
// takes the record, so that who has found one thread's end cannot take the record of
// the next apart.
const FREE: u32 = 0;
const LIVE: u32 = 1;
const ENDING: u32 = 2;
const PHASE: u32 = 3;
const TAKEN_ONCE: u32 = PHASE + 1;

/// Words before a robust entry that a C library's offset may point into, and of
/// which glibc writes the last one when a lock is linked in front of the entry
/// (its list is doubly linked on 64 bits).
pub(super) const BEFORE_ENTRY: usize = 8;

/// A thread's record.
#[repr(C, align(128))]
pub(crate) struct Thread {
    /// The innermost M that this thread holds, published or about to be; or one that it
    /// is about to take, or has just given back: [`extra::is_held_by`] tells.
    m: AtomicPtr<M>,
    /// The M it had last.
    last: AtomicPtr<M>,
    /// What an M's state is that is on the list and held by this thread.
    claim: AtomicUsize,
    pub(crate) sig: minit::Signals,
    /// Not 0 while this thread takes an M or gives one back: Ms that say they are its
    /// own may then be missing from the chain that starts at `m`.
    taking: AtomicU32,
    /// 1 once the key's destructor has run and the record waits for the thread's end.
    pub(super) left: AtomicU32,
    /// 32 bits each; one is the robust futex, by the C library's offset.
    pub(super) before: [AtomicU32; BEFORE_ENTRY],
    /// The entry: the next one's address.
    pub(super) entry: AtomicUsize,
    /// A head of our own, where the thread has none; its first word is 0 if it has.
    pub(super) own_head: [AtomicUsize; 3],
    /// Which of `before` is the futex, plus one; 0 without a robust list.
    pub(super) futex: AtomicU32,
    pub(super) tid: AtomicU32,
    state: AtomicU32,
    pub(super) next: AtomicU32,
    index: AtomicU32,
    /// The start of the kernel that this thread knows of.
    pub(crate) epoch: AtomicU32,
    /// 1 if it has known others: rows of theirs may say that they are its own.
    has_known_others: AtomicU32,
    /// The thread's own stack, once it was asked for: from, and to; 0 and 0 before,
    /// 1 and 1 if that cannot be told.
    stack: [AtomicUsize; 2],
}

const WORD: usize = size_of::<usize>();
const _: () = {
    assert!(offset_of!(Thread, m) == layout::thread::M * WORD);
    assert!(offset_of!(Thread, last) == layout::thread::LAST * WORD);
    assert!(offset_of!(Thread, claim) == layout::thread::CLAIM * WORD);
    let sig = offset_of!(Thread, sig);
    assert!(sig + offset_of!(minit::Signals, base) == layout::thread::SIG_LO * WORD);
    assert!(sig + offset_of!(minit::Signals, size) == layout::thread::SIG_LEN * WORD);
    assert!(offset_of!(Thread, entry) % WORD == 0);
};

impl Thread {
    /// A record for this thread, without anything yet.
    pub(super) fn take(tls: &Tls) -> Option<&'static Self> {
        let free = FREE_THREADS.pop(&THREADS).and_then(|(index, _)| THREADS.get(index));
        let thread = match free.or_else(super::left_behind) {
            Some(thread) => thread,
            None => {
                let index = THREADS.add().ok()?;
                let thread = THREADS.get(index)?;
                thread.index.store(index, Relaxed);
                thread
            }
        };
        thread.claim.store(extra::listed_and_held_by(thread) as usize, Relaxed);
        thread.tid.store(robust::tid(tls), Relaxed);
        thread.futex.store(0, Relaxed);
        thread.taking.store(0, Relaxed);
        thread.left.store(0, Relaxed);
        thread.own_head[0].store(0, Relaxed);
        thread.has_known_others.store(0, Relaxed);
        thread.stack.iter().for_each(|bound| bound.store(0, Relaxed));
        thread.forget_ms();
        thread.epoch.store(runtime::epoch(), Relaxed);
        let before = thread.state.load(Relaxed) & !PHASE;
        thread.state.store(before.wrapping_add(TAKEN_ONCE) | LIVE, Release);
        Some(thread)
    }

    pub(crate) fn index(&self) -> u32 {
        self.index.load(Relaxed)
    }

    /// The M it had last, if the kernel has not been stopped since.
    pub(crate) fn last(&self) -> Option<&'static M> {
        // SAFETY: set only to rows of the table, which `runtime::stop` keeps
        // for as long as there is a live record of another thread's.
        unsafe { self.last.load(Relaxed).as_ref() }
    }

    /// The innermost M it holds, or may hold.
    pub(crate) fn held(&self) -> Option<&'static M> {
        // SAFETY: as for `last`.
        unsafe { self.m.load(Relaxed).as_ref() }
    }

    /// Says that an M is on its way to or from this thread; what it said before. If the
    /// kernel is open now, it is not stopped until [`Thread::end_taking`].
    pub(crate) fn begin_taking(&self) -> u32 {
        let was = self.taking.load(Relaxed);
        self.taking.store(1, Relaxed);
        world::order();
        was
    }

    /// Whether it knows of the present start of the kernel; `None` if that is over.
    pub(crate) fn knows_what_is(&self) -> Option<bool> {
        runtime::is_open().then(|| self.epoch.load(Relaxed) == runtime::epoch())
    }

    /// Says what was said before [`Thread::begin_taking`].
    pub(crate) fn end_taking(&self, was: u32) {
        compiler_fence(SeqCst);
        self.taking.store(was, Relaxed);
    }

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
        m.thread.store(ptr::from_ref(self).cast_mut(), Relaxed);
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

    /// Has the steady path of `m` know which callers are handlers on the signal stack.
    pub(crate) fn tell_of_signal_stack(&self, m: &M) {
        let (lo, len) = self.sig.bounds();
        m.sig_lo.store(lo, Relaxed);
        m.sig_len.store(len, Relaxed);
    }

    /// Gives back the innermost M that it holds, as new.
    pub(crate) fn give_back(&self, m: &M) {
        let was = self.begin_taking();
        m.reset();
        let below = m.below.load(Relaxed);
        m.below.store(ptr::null_mut(), Relaxed);
        m.over.store(ptr::null_mut(), Relaxed);
        if !(runtime::settings().binds_calls() && ptr::eq(self.last.load(Relaxed), m)) {
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
    pub(super) fn renew(&self) {
        let known = self.epoch.load(Relaxed);
        // Its row may be an M again by now, and on the list.
        self.last.store(ptr::null_mut(), Relaxed);
        let renewed = self.epoch.compare_exchange(known, runtime::epoch(), Relaxed, Relaxed);
        if renewed.is_ok() && self.has_known_others.swap(1, Relaxed) != 0 {
            EXTRA.retire(self, Some(known));
        }
    }

    /// The thread is at its end, and looks at no row any more.
    fn retire_rows(&self) {
        let knows = self.epoch.load(Relaxed) == runtime::epoch();
        if !knows || self.has_known_others.load(Relaxed) != 0 {
            EXTRA.retire(self, None);
        }
    }

    /// Whether an M is on its way to or from this thread, or the record is being taken
    /// apart.
    pub(crate) fn is_on_its_way(&self) -> bool {
        match self.state() & PHASE {
            FREE => false,
            LIVE => self.taking.load(Relaxed) != 0,
            _ => true,
        }
    }

    /// Withdraws its claims to Ms.
    pub(super) fn forget_ms(&self) {
        self.m.store(ptr::null_mut(), Relaxed);
        self.last.store(ptr::null_mut(), Relaxed);
    }

    /// Whether an address is on the stack that this thread was made with.
    pub(crate) fn own_stack_holds(&self, tls: &Tls, address: usize) -> bool {
        if self.stack[1].load(Relaxed) == 0 {
            let stack = maps::own_stack(ptr::from_ref(tls) as usize).unwrap_or(1..1);
            self.stack[0].store(stack.start, Relaxed);
            self.stack[1].store(stack.end, Relaxed);
        }
        (self.stack[0].load(Relaxed)..self.stack[1].load(Relaxed)).contains(&address)
    }

    /// Whether the kernel marks this record at the thread's end.
    pub(super) fn is_watched(&self) -> bool {
        self.futex.load(SeqCst) != 0
    }

    /// Whether the thread has ended, as far as can be told; `ask` the system if
    /// nothing else tells.
    fn has_ended(&self, ask: bool) -> bool {
        match self.futex.load(SeqCst).checked_sub(1) {
            Some(place) => self.before.get(place as usize).is_some_and(system::owner_died),
            None => ask && !system::alive(self.tid.load(Relaxed)),
        }
    }

    /// Gives back all that this thread held, which has ended or is about to; how many
    /// Ms that was. What a handler takes in between stays noted.
    pub(super) fn give_all_back(&self) -> u32 {
        let mut count = 0;
        let mut give = |m: &M| {
            count += 1;
            runtime::settings().hooks().unminit(m);
            trim::given(m, self);
            self.give_back(m);
        };
        while let Some(m) = self.held() {
            if extra::is_held_by(m, self) {
                give(m);
            } else {
                let stale = ptr::from_ref(m).cast_mut();
                let _ = self.m.compare_exchange(stale, ptr::null_mut(), Relaxed, Relaxed);
            }
        }
        if self.taking.load(Relaxed) != 0 {
            self.taking.store(0, Relaxed);
            // It ended in the middle of taking one, or of giving one back.
            MS.iter().filter(|m| extra::is_held_by(m, self)).for_each(give);
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

    /// Changes the phase; only for who has the record to itself.
    fn set_phase(&self, phase: u32) {
        self.state.store(self.state.load(Relaxed) & !PHASE | phase, Release);
    }

    /// Makes the record what it was before [`Thread::begin_end`].
    pub(super) fn live_on(&self) {
        self.set_phase(LIVE);
    }

    pub(super) fn is_taken(&self) -> bool {
        self.state.load(SeqCst) & PHASE != FREE
    }

    pub(super) fn state(&self) -> u32 {
        self.state.load(SeqCst)
    }

    /// Takes the record apart, if it is the one that was seen in `state`.
    pub(super) fn begin_end(&self, state: u32) -> bool {
        state & PHASE == LIVE
            && self.state.compare_exchange(state, state & !PHASE | ENDING, SeqCst, SeqCst).is_ok()
    }

    /// The record is nobody's any more.
    pub(super) fn release(&self) {
        self.clear();
        self.set_phase(FREE);
        FREE_THREADS.push(&THREADS, self.index());
    }

    /// What a record is as long as it is nobody's.
    fn clear(&self) {
        self.retire_rows();
        self.futex.store(0, Relaxed);
    }

    /// Takes the record of an ended thread apart; how many Ms came back.
    pub(super) fn reclaim(&self, ask: bool) -> u32 {
        let ended = self.seen_ended(ask);
        ended.and_then(|state| super::while_open(|| self.take_apart(state))).unwrap_or(0)
    }

    /// The state of a record whose thread has ended.
    pub(super) fn seen_ended(&self, ask: bool) -> Option<u32> {
        let state = self.state();
        (state & PHASE == LIVE && self.has_ended(ask)).then_some(state)
    }

    /// Takes the record of a thread that has ended apart, if it is still in `state`. Only
    /// while the kernel does not stop, or for who stops it.
    pub(super) fn take_apart(&self, state: u32) -> u32 {
        let count = self.take_all_off(state);
        if count.is_some() {
            self.release();
        }
        count.unwrap_or(0)
    }

    /// The same, but the record is then the caller's; false if it is not.
    pub(super) fn take_over(&self, state: u32) -> bool {
        let whole = self.take_all_off(state).is_some();
        if whole {
            self.clear();
        }
        whole
    }

    fn take_all_off(&self, state: u32) -> Option<u32> {
        if !self.begin_end(state) {
            return None;
        }
        world::disown(self);
        let count = self.give_all_back();
        if count != 0 {
            EXTRA.reclaimed.fetch_add(u64::from(count), Relaxed);
        }
        self.sig.forget();
        Some(count)
    }
}
