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
//! 2 is looked at by who takes an M, or a record, and 3 by who makes an M: a few records
//! each time, all of them when there are no more to be had.
//!
//! Where the kernel marks the record, 1 gives back the Ms and no more: the signal stack
//! stays with the thread for what is left of it, and the record with the signal stack,
//! until the mark is there. Taking the signal stack out is a system call, which the
//! thread's end makes needless.
#![allow(unsafe_code)] // the table of records

mod record;
mod robust;

pub(crate) use record::Thread;

use core::ffi::c_void;
use core::ptr;

use crate::error::Error;
use crate::list::{Links, List};
use crate::os::host::{self, Key};
use crate::os::thread as system;
use crate::runtime;
use crate::sync::{AtomicU32, Relaxed, SeqCst};
use crate::table::{Rows, Table};
use crate::tls::Tls;
use crate::world;

/// Records that are looked at for ended threads, each time, by who lacks a record or an M;
/// and by who takes one, if there are no more.
const GLANCE: u32 = 8;

// SAFETY: all fields are atomics, for which zero is valid.
unsafe impl Rows for Thread {}

static THREADS: Table<Thread> = Table::new();
static FREE_THREADS: List = List::new();

/// Threads that take a record, or one apart: [`while_open`].
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

/// This thread's record, with a signal stack for the thread. `careful`: the caller may be
/// a signal handler.
pub(crate) fn current(tls: &Tls, careful: bool) -> Result<&'static Thread, Error> {
    let thread = known(tls)?;
    thread.sig.minit(careful);
    Ok(thread)
}

/// This thread's record, taken now if it has none.
#[inline(never)] // one place from which the C library is called: tests/nosplit/lists.rs
pub(crate) fn known(tls: &Tls) -> Result<&'static Thread, Error> {
    if let Some(thread) = tls.thread() {
        if thread.epoch.load(Relaxed) != runtime::epoch() {
            // What it held of an earlier start is found not to be an M any more.
            thread.renew();
            tell_end_to_key(thread);
        }
        if thread.left.load(Relaxed) != 0 {
            // From another key's destructor: ours has to run once more.
            thread.left.store(0, Relaxed);
            tell_end_to_key(thread);
        }
        return Ok(thread);
    }
    let Some(thread) = take_while_open(tls)? else { return Err(Error::NotStarted) };
    if tls.set_thread(thread).is_err() {
        // A handler that interrupted this very function was first.
        thread.release();
        return tls.thread().ok_or(Error::NoMemory);
    }
    tell_end_to_key(thread);
    thread.watch(tls);
    Ok(thread)
}

/// Has the key's destructor run at this thread's end.
fn tell_end_to_key(thread: &Thread) {
    if let Some(key) = key() {
        key.set(ptr::from_ref(thread).cast());
    }
}

/// A record for this thread, unless the kernel is being stopped.
fn take_while_open(tls: &Tls) -> Result<Option<&'static Thread>, Error> {
    while_open(|| Thread::take(tls).ok_or(Error::NoMemory)).transpose()
}

/// Does `work`, which [`stop`] waits for before it unmaps anything; `None` if the kernel is
/// being stopped.
fn while_open<R>(work: impl FnOnce() -> R) -> Option<R> {
    TAKING.fetch_add(1, SeqCst);
    let done = runtime::is_open().then(work);
    // A forked child starts from 0, maybe in the middle of this.
    let _ = TAKING.fetch_update(SeqCst, SeqCst, |taking| taking.checked_sub(1));
    done
}

/// The key's destructor: this thread is ending. It waits for nothing. If the kernel is
/// being stopped, the record waits for the thread's end.
///
/// A C library gives a thread the memory of one that was joined, and with it what a raw exit
/// has left there: then the value is another's record, or nobody's.
extern "C" fn ended(value: *mut c_void) {
    let tls = Tls::current();
    let own = tls.thread().filter(|own| ptr::eq(*own, value.cast::<Thread>()));
    let Some(thread) = own else { return };
    if thread.is_watched() && thread.sig.may_stay() {
        rest(tls, thread);
    } else {
        while_open(|| end(tls, thread));
    }
}

/// Gives back the Ms of this thread; the record waits for its end. [`stop`] unmaps no
/// record that is a thread's, and waits while one is being taken apart.
fn rest(tls: &Tls, thread: &Thread) {
    if !thread.begin_end(thread.state()) {
        return;
    }
    if runtime::is_open() {
        // First: whoever calls back from here on has this run once more.
        thread.left.store(1, Relaxed);
        leave(tls, thread);
    }
    thread.live_on();
}

/// Gives back the Ms of this thread.
fn leave(tls: &Tls, thread: &Thread) {
    tls.withdraw();
    world::disown(thread);
    thread.give_all_back();
}

/// This thread is ending, and says so itself: what a key's destructor does where a C
/// library made the thread. Signals are blocked, so that no handler calls in afterwards.
pub(crate) fn depart(tls: &Tls) {
    while_open(|| {
        if let Some(own) = tls.thread() {
            end(tls, own);
        }
    });
}

/// Undoes all that was done for this thread, whose record it is.
fn end(tls: &Tls, thread: &Thread) {
    if !thread.begin_end(thread.state()) {
        return;
    }
    leave(tls, thread);
    tls.clear_thread();
    // What a handler has taken in between; from here on it takes another record.
    thread.give_all_back();
    thread.unwatch(tls);
    if thread.sig.unminit() {
        thread.release();
    } else {
        // This thread still runs on the signal stack: the record waits for its end.
        thread.live_on();
    }
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
fn left_behind() -> Option<&'static Thread> {
    glance(GLANCE).find(|t| t.seen_ended(false).is_some_and(|state| t.take_over(state)))
}

/// The records whose turn it is: one after the other, from the first to the last. Were the
/// hand to go in strides, or its place to depend on how many there are, some might never
/// have their turn, and the table would grow instead.
fn glance(count: u32) -> impl Iterator<Item = &'static Thread> {
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

/// Ends the kernel's hold on this thread, and on all that have ended. Returns
/// whether any other thread still has a record. Only for `runtime::stop`.
pub(crate) fn stop(tls: &Tls) -> bool {
    let key = key();
    // First: a forked child must not delete what may be another's by then.
    KEY.store(0, SeqCst);
    if let Some(key) = key {
        key.delete();
    }
    // A handler may have interrupted what uses the record.
    if let Some(own) = tls.thread().filter(|own| !own.is_on_its_way()) {
        end(tls, own);
    }
    for thread in THREADS.iter() {
        if let Some(state) = thread.seen_ended(true) {
            thread.take_apart(state);
        }
    }
    let mut live = !until(|| TAKING.load(SeqCst) == 0);
    for thread in THREADS.iter() {
        if thread.is_taken() {
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

/// In a forked child: only this thread exists.
pub(crate) fn fork_child(tls: &Tls) {
    let own = tls.thread();
    FREE_THREADS.clear();
    TAKING.store(0, SeqCst);
    for thread in THREADS.iter() {
        if own.is_some_and(|own| ptr::eq(own, thread)) {
            // The kernel has emptied the child's robust list, and a C library
            // registers a new one with it.
            thread.tid.store(system::current(), Relaxed);
            thread.futex.store(0, Relaxed);
            thread.watch(tls);
        } else {
            thread.forget_ms();
            thread.sig.forget();
            thread.release();
        }
    }
}
