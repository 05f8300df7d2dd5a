//! The thread's own record: what stays with a foreign thread between callbacks,
//! and how its end is noticed.
//!
//! A record is taken at a thread's first callback and kept until it ends: the
//! signal stack (`signal/minit.rs`), the M it had last, and what notices the end:
//!
//! 1. A thread-specific key's destructor, where there is a C library: at once, on
//!    the thread itself. Not on the raw exit system call, and not for ever: the
//!    last round of destructors is the last.
//! 2. The kernel's robust-futex list, where the system has it: an entry of ours on
//!    the list that the C library registered for this thread (or, where there is
//!    none, on one of ours) is marked by the kernel when the thread ends in any way.
//! 3. Asking whether a thread of that number lives, where nothing else is to be
//!    had; a number that is used again delays it.
//!
//! 2 and 3 are looked at by who takes an M: a few records each time, all of them
//! when the list is empty.
//!
//! Who changes `state` to `ENDING` is the one who takes the record
//! apart; everybody else leaves it alone.
#![allow(unsafe_code)] // records are reached by pointers

mod robust;

use core::ffi::c_void;
use core::ptr;

use crate::error::Error;
use crate::extra::EXTRA;
use crate::list::{Links, List};
use crate::m::M;
use crate::os::host::{self, Key};
use crate::os::maps;
use crate::os::thread as system;
use crate::runtime;
use crate::signal::minit;
use crate::sync::{AtomicPtr, AtomicU32, AtomicUsize, Relaxed, SeqCst, compiler_fence};
use crate::table::{Rows, Table};
use crate::tls::Tls;

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
const BEFORE_ENTRY: usize = 8;

/// Records that a taker looks at for ended threads, each time.
const GLANCE: u32 = 8;

/// A thread's record.
#[repr(C, align(64))]
pub(crate) struct Thread {
    /// 32 bits each; one is the robust futex, by the C library's offset.
    before: [AtomicU32; BEFORE_ENTRY],
    /// The entry: the next one's address.
    entry: AtomicUsize,
    /// A head of our own, where the thread has none.
    own_head: [AtomicUsize; 3],
    /// Which of `before` is the futex, plus one; 0 without a robust list.
    futex: AtomicU32,
    tid: AtomicU32,
    state: AtomicU32,
    next: AtomicU32,
    index: AtomicU32,
    /// The innermost M that this thread holds, published or about to be.
    pub(crate) m: AtomicPtr<M>,
    /// The M it had last.
    last: AtomicPtr<M>,
    /// The thread's own stack, once it was asked for: from, and to; 0 and 0 before,
    /// 1 and 1 if that cannot be told.
    stack: [AtomicUsize; 2],
    /// The start of the kernel that this record was taken in.
    pub(crate) epoch: AtomicU32,
    pub(crate) sig: minit::Signals,
}

// SAFETY: all fields are atomics, for which zero is valid.
unsafe impl Rows for Thread {}

static THREADS: Table<Thread> = Table::new();
static FREE_THREADS: List = List::new();

/// Threads that are taking a record.
static TAKING: AtomicU32 = AtomicU32::new(0);
/// How often `stop` looks whether they are done, a millisecond each: one that was
/// killed in the middle is not waited for for ever.
const PATIENCE: u32 = 1000;

/// Where the next glance begins.
static HAND: AtomicU32 = AtomicU32::new(0);
/// The key's number plus one, 0 without one.
static KEY: AtomicU32 = AtomicU32::new(0);
impl Links for Table<Thread> {
    fn link(&self, index: u32) -> Option<&AtomicU32> {
        self.get(index).map(|thread| &thread.next)
    }
}

fn key() -> Option<Key> {
    KEY.load(Relaxed).checked_sub(1).map(Key::from_number)
}

/// Makes the key. Only for `runtime::start`.
pub(crate) fn start() {
    let key = host::key_create(ended).map_or(0, |key| key.number() + 1);
    KEY.store(key, SeqCst);
}

/// This thread's record, taken now if it has none. `careful`: the caller may be
/// a signal handler.
pub(crate) fn current(tls: &Tls, careful: bool) -> Result<&'static Thread, Error> {
    if let Some(thread) = tls.thread() {
        if thread.epoch.load(Relaxed) != runtime::epoch() {
            renew(tls, thread);
        }
        thread.sig.minit(careful);
        return Ok(thread);
    }
    let Some(thread) = Thread::take_while_open()? else { return Err(Error::NotStarted) };
    if tls.set_thread(thread).is_err() {
        // A handler that interrupted this very function was first.
        thread.release();
        return tls.thread().ok_or(Error::NoMemory);
    }
    if let Some(key) = key() {
        key.set(ptr::from_ref(thread).cast());
    }
    thread.watch(tls);
    thread.sig.minit(careful);
    Ok(thread)
}

impl Thread {
    /// A record for this thread, unless the kernel is being stopped: `stop` waits
    /// for who is in here, and unmaps no record that is live.
    fn take_while_open() -> Result<Option<&'static Self>, Error> {
        TAKING.fetch_add(1, SeqCst);
        let taken = if runtime::is_open() {
            Self::take().map(Some).ok_or(Error::NoMemory)
        } else {
            Ok(None)
        };
        TAKING.fetch_sub(1, SeqCst);
        taken
    }

    /// A record for this thread, without anything yet.
    fn take() -> Option<&'static Self> {
        let index = FREE_THREADS.pop(&THREADS).map(|(index, _)| index);
        let index = index.or_else(|| THREADS.add().ok())?;
        let thread = THREADS.get(index)?;
        thread.index.store(index, Relaxed);
        thread.tid.store(system::current(), Relaxed);
        thread.futex.store(0, Relaxed);
        thread.m.store(ptr::null_mut(), Relaxed);
        thread.last.store(ptr::null_mut(), Relaxed);
        thread.stack.iter().for_each(|bound| bound.store(0, Relaxed));
        thread.epoch.store(runtime::epoch(), Relaxed);
        let before = thread.state.load(Relaxed) & !PHASE;
        thread.state.store(before.wrapping_add(TAKEN_ONCE) | LIVE, SeqCst);
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

    /// The innermost M it holds.
    pub(crate) fn held(&self) -> Option<&'static M> {
        // SAFETY: as for `last`.
        unsafe { self.m.load(Relaxed).as_ref() }
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
        let (lo, len) = self.sig.bounds();
        m.sig_lo.store(lo, Relaxed);
        m.sig_len.store(len, Relaxed);
        compiler_fence(SeqCst);
        self.m.store(fresh, Relaxed);
        compiler_fence(SeqCst);
        // A handler before that store may have bound one, which is published now;
        // a handler after it has seen `m` and borrowed.
        let now = tls.m();
        if now.map(ptr::from_ref) != over.map(ptr::from_ref) {
            self.m.store(now.map_or(below, |now| ptr::from_ref(now).cast_mut()), Relaxed);
            m.below.store(ptr::null_mut(), Relaxed);
            return Err(());
        }
        self.last.store(fresh, Relaxed);
        Ok(())
    }

    /// Notes that the innermost M is no longer held.
    pub(crate) fn let_go(&self, m: &M) {
        self.m.store(m.below.load(Relaxed), Relaxed);
        m.below.store(ptr::null_mut(), Relaxed);
        m.thread.store(ptr::null_mut(), Relaxed);
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

    /// Whether the thread has ended, as far as can be told; `ask` the system if
    /// nothing else tells.
    fn has_ended(&self, ask: bool) -> bool {
        match self.futex.load(SeqCst).checked_sub(1) {
            Some(place) => system::owner_died(&self.before[place as usize]),
            None => ask && !system::alive(self.tid.load(Relaxed)),
        }
    }

    /// Gives back all that this thread held: it has ended, or is about to.
    fn give_all_back(&self) {
        while let Some(m) = self.held() {
            runtime::settings().hooks().unminit(m);
            self.let_go(m);
            m.reset();
            EXTRA.give(m);
        }
    }

    /// Changes the phase; only for who has the record to itself.
    fn set_phase(&self, phase: u32) {
        self.state.store(self.state.load(Relaxed) & !PHASE | phase, SeqCst);
    }

    fn is_live(&self) -> bool {
        self.state.load(SeqCst) & PHASE == LIVE
    }

    /// Takes the record apart, if it is the one that was seen in `state`.
    fn begin_end(&self, state: u32) -> bool {
        state & PHASE == LIVE
            && self.state.compare_exchange(state, state & !PHASE | ENDING, SeqCst, SeqCst).is_ok()
    }

    /// The record is nobody's any more.
    fn release(&self) {
        self.futex.store(0, Relaxed);
        self.set_phase(FREE);
        FREE_THREADS.push(&THREADS, self.index());
    }

    /// Takes the record of an ended thread apart; how many Ms came back.
    fn reclaim(&self, ask: bool) -> u32 {
        let state = self.state.load(SeqCst);
        if state & PHASE != LIVE || !self.has_ended(ask) || !self.begin_end(state) {
            return 0;
        }
        let mut count = 0;
        if self.epoch.load(Relaxed) == runtime::epoch() {
            let mut m = self.held();
            while let Some(held) = m {
                count += 1;
                m = held.below();
            }
            EXTRA.reclaimed.fetch_add(u64::from(count), Relaxed);
            self.give_all_back();
        }
        self.sig.forget();
        self.release();
        count
    }
}

/// The key's destructor: this thread is ending. It waits for nothing, and takes
/// what it needs from the key's value.
unsafe extern "C" fn ended(value: *mut c_void) {
    // SAFETY: the value is a record, which `current` set for this thread; stop
    // deletes the key before the records go.
    let thread = unsafe { &*value.cast::<Thread>() };
    end(Tls::current(), thread);
}

/// This thread is ending, and says so itself: what a key's destructor does where a C
/// library made the thread. Signals are blocked, so that no handler calls in afterwards.
pub(crate) fn depart(tls: &Tls) {
    // As in `take_while_open`: `stop` waits, or it is over and the record waits for it.
    TAKING.fetch_add(1, SeqCst);
    if let Some(own) = tls.thread().filter(|_| runtime::is_open()) {
        end(tls, own);
    }
    TAKING.fetch_sub(1, SeqCst);
}

/// Undoes all that was done for this thread.
fn end(tls: &Tls, thread: &Thread) {
    if !thread.begin_end(thread.state.load(SeqCst)) {
        return;
    }
    if tls.thread().is_some_and(|own| ptr::eq(own, thread)) {
        tls.clear_thread();
    }
    if thread.epoch.load(Relaxed) == runtime::epoch() {
        thread.give_all_back();
    }
    thread.unwatch(tls);
    if thread.sig.unminit() {
        thread.release();
    } else {
        // This thread still runs on the signal stack: the record waits for its end.
        thread.set_phase(LIVE);
    }
}

/// Looks at a few records for threads that have ended; how many Ms came back.
pub(crate) fn notice_ends() -> u32 {
    let len = THREADS.len();
    if len == 0 {
        return 0;
    }
    let from = HAND.fetch_add(GLANCE, Relaxed);
    let look = |step| THREADS.get(from.wrapping_add(step) % len).map_or(0, |t| t.reclaim(false));
    (0..GLANCE.min(len)).map(look).sum()
}

/// Looks at all records for threads that have ended; how many Ms came back.
pub(crate) fn reclaim_all() -> u32 {
    THREADS.iter().map(|thread| thread.reclaim(true)).sum()
}

/// Ends the kernel's hold on this thread, and on all that have ended. Returns
/// whether any other thread still has a record. Only for `runtime::stop`.
pub(crate) fn stop(tls: &Tls) -> bool {
    if let Some(key) = key() {
        key.delete();
    }
    KEY.store(0, SeqCst);
    if let Some(own) = tls.thread() {
        end(tls, own);
    }
    reclaim_all();
    let mut live = !until(|| TAKING.load(SeqCst) == 0);
    for thread in THREADS.iter() {
        if thread.is_live() {
            live = true;
        } else {
            thread.sig.unmap();
        }
    }
    if !live {
        FREE_THREADS.clear();
        // SAFETY: no live thread's block leads to a record, and the kernel is
        // closed: nobody is on the way to take one.
        unsafe { THREADS.clear() };
    }
    live
}

/// Sleeps until `done`; false if that took too long.
pub(crate) fn until(mut done: impl FnMut() -> bool) -> bool {
    let never = AtomicU32::new(0);
    (0..PATIENCE).any(|_| {
        done() || {
            let _ = system::wait(&never, 0, Some(1_000_000));
            false
        }
    })
}

/// Withdraws the record's claims from an earlier start of the kernel.
fn renew(tls: &Tls, thread: &Thread) {
    tls.publish(None, 0);
    thread.m.store(ptr::null_mut(), Relaxed);
    thread.last.store(ptr::null_mut(), Relaxed);
    thread.epoch.store(runtime::epoch(), Relaxed);
    if let Some(key) = key() {
        key.set(ptr::from_ref(thread).cast());
    }
}

/// In a forked child: only this thread exists.
pub(crate) fn fork_child(tls: &Tls) {
    let own = tls.thread();
    FREE_THREADS.clear();
    for thread in THREADS.iter() {
        if own.is_some_and(|own| ptr::eq(own, thread)) {
            // The kernel has emptied the child's robust list, and a C library
            // registers a new one with it.
            thread.tid.store(system::current(), Relaxed);
            thread.futex.store(0, Relaxed);
            thread.watch(tls);
        } else {
            thread.m.store(ptr::null_mut(), Relaxed);
            thread.sig.forget();
            thread.release();
        }
    }
}
