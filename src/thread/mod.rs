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

pub(crate) mod death;
pub(crate) mod reap;

use crate::error::Error;
use crate::gate;
use crate::os::{libc as host, thread as system};
use crate::state;
use crate::sync::{AtomicU32, Relaxed, SeqCst};
use crate::table::Rows;
use crate::thread::death::{KEY, arm_key, key};
use crate::thread::reap::{RECORD_CHANGES, allocate_while_open, while_open};
use crate::thread_record::{FREE_THREADS, THREADS, Thread};
use crate::tls::Tls;
use core::ffi::c_void;
use core::ptr;

// SAFETY: all fields are atomics, for which zero is valid.
unsafe impl Rows for Thread {}

/// How often `stop` looks whether they are done, a millisecond each: one that was
/// killed in the middle is not waited for for ever.
pub(crate) const WAIT_ROUNDS: u32 = 1000;

/// Makes the key. Only for `runtime::start`.
pub(crate) fn start() {
    let key = host::key_create(key_destructor).map_or(0, |key| key.number() + 1);
    KEY.store(key, SeqCst);
}

/// This thread's record, with a signal stack for the thread. `careful`: the caller may be
/// a signal handler.
pub(crate) fn ready_record(tls: &Tls, careful: bool) -> Result<&'static Thread, Error> {
    let thread = record(tls)?;
    thread.sig.minit(careful);
    Ok(thread)
}

/// This thread's record, taken now if it has none.
#[inline(never)] // one place from which the C library is called: tests/nosplit/lists.rs
pub(crate) fn record(tls: &Tls) -> Result<&'static Thread, Error> {
    if let Some(thread) = tls.thread() {
        if thread.epoch.load(Relaxed) != state::epoch() {
            // What it held of an earlier start is found not to be an M any more.
            thread.adopt_epoch();
            arm_key(thread);
        }
        if thread.destructor_ran.load(Relaxed) != 0 {
            // From another key's destructor: ours has to run once more.
            thread.destructor_ran.store(0, Relaxed);
            arm_key(thread);
        }
        return Ok(thread);
    }
    let Some(thread) = allocate_while_open(tls)? else { return Err(Error::NotStarted) };
    if tls.set_thread(thread).is_err() {
        // A handler that interrupted this very function was first.
        thread.release();
        return tls.thread().ok_or(Error::NoMemory);
    }
    arm_key(thread);
    thread.watch(tls);
    Ok(thread)
}

/// The key's destructor: this thread is ending. It waits for nothing. If the kernel is
/// being stopped, the record waits for the thread's end.
///
/// A C library gives a thread the memory of one that was joined, and with it what a raw exit
/// has left there: then the value is another's record, or nobody's.
pub(crate) extern "C" fn key_destructor(value: *mut c_void) {
    let tls = Tls::current();
    let own = tls.thread().filter(|own| ptr::eq(*own, value.cast::<Thread>()));
    let Some(thread) = own else { return };
    if thread.is_watched() && thread.sig.may_stay() {
        exit_keeping_record(tls, thread);
    } else {
        while_open(|| exit_thread(tls, thread));
    }
}

/// Gives back the Ms of this thread; the record waits for its end. [`stop`] unmaps no
/// record that is a thread's, and waits while one is being taken apart.
pub(crate) fn exit_keeping_record(tls: &Tls, thread: &Thread) {
    if !thread.begin_exit(thread.state()) {
        return;
    }
    if state::is_open() {
        // First: whoever calls back from here on has this run once more.
        thread.destructor_ran.store(1, Relaxed);
        return_ms(tls, thread);
    }
    thread.resume_live();
}

/// Gives back the Ms of this thread.
pub(crate) fn return_ms(tls: &Tls, thread: &Thread) {
    tls.withdraw();
    gate::disown(thread);
    thread.return_all_ms();
}

/// This thread is ending, and says so itself: what a key's destructor does where a C
/// library made the thread. Signals are blocked, so that no handler calls in afterwards.
pub(crate) fn exit_current(tls: &Tls) {
    while_open(|| {
        if let Some(own) = tls.thread() {
            exit_thread(tls, own);
        }
    });
}

/// Undoes all that was done for this thread, whose record it is.
pub(crate) fn exit_thread(tls: &Tls, thread: &Thread) {
    if !thread.begin_exit(thread.state()) {
        return;
    }
    return_ms(tls, thread);
    tls.clear_thread();
    // What a handler has taken in between; from here on it takes another record.
    thread.return_all_ms();
    thread.unwatch(tls);
    if thread.sig.unminit() {
        thread.release();
    } else {
        // This thread still runs on the signal stack: the record waits for its end.
        thread.resume_live();
    }
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
    if let Some(own) = tls.thread().filter(|own| !own.is_in_transfer()) {
        exit_thread(tls, own);
    }
    for thread in THREADS.iter() {
        if let Some(state) = thread.seen_exited(true) {
            thread.dismantle(state);
        }
    }
    let mut live = !wait_until(|| RECORD_CHANGES.load(SeqCst) == 0);
    for thread in THREADS.iter() {
        if thread.is_in_use() {
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
pub(crate) fn wait_until(mut done: impl FnMut() -> bool) -> bool {
    let never = AtomicU32::new(0);
    (0..WAIT_ROUNDS).any(|_| {
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
    RECORD_CHANGES.store(0, SeqCst);
    for thread in THREADS.iter() {
        if own.is_some_and(|own| ptr::eq(own, thread)) {
            // The kernel has emptied the child's robust list, and a C library
            // registers a new one with it.
            thread.tid.store(system::current(), Relaxed);
            thread.futex.store(0, Relaxed);
            thread.watch(tls);
        } else {
            thread.clear_ms();
            thread.sig.forget();
            thread.release();
        }
    }
}
