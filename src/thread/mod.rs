// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread's own record: what stays with a foreign thread between callbacks, from its
//! first callback to its exit.
//!
//! The record keeps what the thread needs for faults (`os::fault::Readiness`), the M it had
//! last, and what notices its exit (`os::exit::Notice`): the thread itself calls
//! [`on_exit`], or another thread finds that it has exited ([`reap`]). A thread that needs an
//! M or a record checks a few records each time. A thread that makes an M also asks the system
//! about a few. A thread that waits for an M checks all.
//!
//! Where the system itself notes the exit in the record, [`on_exit`] only returns the Ms. The
//! thread keeps its handler stack, and the record with it, until the exit is noted, because to
//! remove the stack takes a system call, which the exit makes needless.
//!
//! # Safety
//! Records are rows of a table, reached by reference. [`stop`] unmaps them, and only if no record
//! is live or being dismantled.
#![allow(unsafe_code)] // the table of records

pub(crate) mod counts;
pub(crate) mod hook;
pub(crate) mod left_behind;
mod own_stack;
pub(crate) mod reap;

use crate::error::Error;
use crate::gate;
use crate::m::M;
use crate::os::exit;
use crate::os::wait::wait;
use crate::state;
use crate::sync::{AtomicU32, Relaxed, SeqCst};
use crate::table::{LINE, Rows};
use crate::thread::counts::{COUNTS, own_id, while_open};
use crate::thread::reap::allocate_while_open;
use crate::thread_record::{FREE_THREADS, THREADS, Thread};
use crate::tls::Tls;
use crate::tools;
use core::ffi::c_void;
use core::ptr;

// SAFETY: all fields are atomics, for which zero is valid.
unsafe impl Rows for Thread {
    const PLACE: usize = LINE;
}

// Not the same line as an M's: `table.rs`.
const _: () = assert!(<M as Rows>::PLACE != <Thread as Rows>::PLACE);

crate::arch::upcalls! {
    "needm_thread_exit" => exit_current,
}

/// How often [`wait_until`] checks, a millisecond apart: a thread that was killed in the middle
/// of a change must not block a stop for ever.
const WAIT_ROUNDS: u32 = 1000;

/// Sets up the detection of exits. Only for `lifecycle::start`.
pub(crate) fn start() {
    exit::begin(on_exit);
}

/// Arranges that this thread, whose record it is, calls [`on_exit`] at its exit.
fn arm(tls: &Tls, thread: &Thread) {
    if !thread.notice.arm(ptr::from_ref(thread).cast()) {
        // Then only others notice the exit, and look at what is left.
        thread.note_own_stack(tls);
    }
}

/// This thread's record, with the thread ready for faults in callbacks from about `at`. `careful`: the
/// caller may be a handler.
pub(crate) fn ready_record(tls: &Tls, at: usize, careful: bool) -> Result<&'static Thread, Error> {
    let thread = record(tls)?;
    prepare(tls, thread, at, careful)?;
    Ok(thread)
}

/// Makes this thread ready for faults in callbacks from about `at`. If a process that shares the memory was
/// the first to use the record, finds out which thread's it is; that process has set up its own handler
/// stack, so this thread's has to be checked.
pub(crate) fn prepare(tls: &Tls, thread: &Thread, at: usize, careful: bool) -> Result<(), Error> {
    if !thread.notice.is_settled() {
        if !thread.notice.has_thread_id() {
            thread.ready.check_again(state::settings().needs());
            thread.notice.begin(tls.address());
        }
        thread.notice.watch(tls.address());
    }
    let is_own = |address| thread.own_stack_holds(tls, address);
    thread.prepare(at, careful, is_own, |address| thread.known_own_part(tls, address))
}

/// This thread's record, allocated now if it has none.
#[inline(never)] // one place from which the C library is called: tests/nosplit/lists.rs
pub(crate) fn record(tls: &Tls) -> Result<&'static Thread, Error> {
    if let Some(thread) = tls.thread() {
        if thread.epoch.load(Relaxed) != state::epoch() {
            // Rows of an earlier start that it still refers to fail `pool::is_held_by`.
            thread.adopt_epoch();
            // It may be ready since an earlier start, which did not ask.
            thread.ready.note_blocked(state::settings().needs());
            thread.ready.forget_known();
            arm(tls, thread);
        }
        if thread.destructor_ran.load(Relaxed) != 0 {
            // This is a callback from another key's destructor: ours has to run once more.
            thread.destructor_ran.store(0, Relaxed);
            arm(tls, thread);
        }
        return Ok(thread);
    }
    let Some(thread) = allocate_while_open(tls)? else { return Err(Error::NotStarted) };
    if tls.set_thread(thread).is_err() {
        // A handler that interrupted this very function was first.
        thread.free();
        return tls.thread().ok_or(Error::NoMemory);
    }
    arm(tls, thread);
    thread.notice.watch(tls.address());
    Ok(thread)
}

/// This thread exits, and `value` is what [`arm`] passed. Waits for nothing, unless there is a hook
/// to call while the world is stopped: if needm is being stopped, the record is left to be reaped.
///
/// A C library gives a new thread the memory of a joined one, in which a raw exit has left the
/// old thread's value: then `value` is another thread's record, or a free one.
extern "C" fn on_exit(value: *mut c_void) {
    let tls = Tls::current();
    let own = tls.thread().filter(|own| ptr::eq(*own, value.cast::<Thread>()));
    let Some(thread) = own else { return };
    if thread.notice.is_watched() && thread.ready.may_stay() {
        exit_keeping_record(tls, thread);
    } else {
        while_open(|| exit_thread(tls, thread));
    }
}

/// Returns the Ms of this thread, and keeps its record until the exit is noted. [`stop`] unmaps
/// no record that is in use, and waits while one is being dismantled.
fn exit_keeping_record(tls: &Tls, thread: &Thread) {
    if !thread.begin_exit(thread.state(), own_id(tls)) {
        return;
    }
    if state::is_open() {
        // Before the rest, so that a callback from here on arms the destructor again.
        thread.destructor_ran.store(1, Relaxed);
        return_ms(tls, thread);
    }
    // model: a_record_released_before_its_threads_end
    thread.resume_live();
}

/// Returns the Ms of this thread.
fn return_ms(tls: &Tls, thread: &Thread) {
    tls.withdraw();
    gate::disown(thread);
    thread.leave_code_behind(tls);
    thread.return_all_ms();
    // A handler may have allowed it since.
    tls.set_rebind_epoch(0);
}

/// `needm_thread_exit` (`os/terms.rs`): this thread, which needm made without a C library, is
/// about to exit. No handler runs on it any more.
extern "C" fn exit_current() {
    let tls = Tls::current();
    while_open(|| {
        if let Some(own) = tls.thread() {
            exit_thread(tls, own);
        }
    });
}

/// Undoes all that was done for this thread, whose record it is.
fn exit_thread(tls: &Tls, thread: &Thread) {
    if !thread.begin_exit(thread.state(), own_id(tls)) {
        return;
    }
    return_ms(tls, thread);
    tls.clear_thread();
    // What a handler has bound in between; from here on it gets another record.
    thread.return_all_ms();
    thread.notice.unwatch();
    if thread.ready.release() {
        // model: a_record_released_before_its_threads_end that
        thread.free();
    } else {
        // This thread still runs on the handler stack: the record is kept until it has exited.
        thread.resume_live();
    }
}

/// The row, plus one, of the record that [`stop`] is dismantling for its own thread. It stays where that was jumped
/// out of.
static STOPPERS: AtomicU32 = AtomicU32::new(0);

/// If [`stop`] was jumped out of as it dismantled a record: that is as before, and this thread's again, if it was.
/// Whether it is.
fn resume_left(tls: &Tls) -> bool {
    let row = STOPPERS.load(SeqCst).checked_sub(1);
    let left = row.and_then(|row| THREADS.get(row)).filter(|left| left.is_being_dismantled());
    let is_own = left.is_some_and(|left| {
        left.resume_live();
        let had_it = left.notice.thread_id() == u64::from(exit::own_id());
        // Else it is another thread's, which has exited, or has gone on with another call: its exit frees it.
        had_it
            && (tls.set_thread(left).is_ok() || tls.thread().is_some_and(|own| ptr::eq(own, left)))
    });
    STOPPERS.store(0, SeqCst);
    is_own
}

/// Frees the records of this thread and of all threads that have exited. Returns whether any
/// other thread still has one. Only for `lifecycle.rs`. May be repeated after a jump out of it.
pub(crate) fn stop(tls: &Tls) -> bool {
    exit::end();
    let was_left = resume_left(tls);
    // Not if this is a handler that has interrupted code which uses the record.
    if let Some(own) = tls.thread().filter(|own| was_left || !own.is_in_transfer()) {
        STOPPERS.store(own.index() + 1, SeqCst);
        exit_thread(tls, own);
        STOPPERS.store(0, SeqCst);
    }
    COUNTS.change(tls, || {
        for thread in THREADS.iter() {
            if let Some(state) = thread.seen_exited(true) {
                thread.dismantle(state);
            }
        }
    });
    // model: a_stop_that_does_not_wait_for_changes
    let mut live = !wait_until(|| !COUNTS.any_changes());
    for thread in THREADS.iter() {
        // model: a_stop_that_unmaps_records_of_the_living
        if thread.is_in_use() {
            live = true;
        } else {
            thread.ready.unmap(tools::stack_unmapped);
        }
    }
    if !live {
        FREE_THREADS.clear();
        // SAFETY: no record is in use, so no live thread's block leads to one; and needm is
        // closed, so no thread allocates one.
        unsafe { THREADS.clear() };
    }
    live
}

/// Sleeps until `done`; false if that took too long.
pub(crate) fn wait_until(mut done: impl FnMut() -> bool) -> bool {
    let never = AtomicU32::new(0);
    (0..WAIT_ROUNDS).any(|_| {
        done() || {
            wait(&never, 0, Some(1_000_000));
            false
        }
    })
}

/// In a forked child: only this thread exists.
pub(crate) fn fork_child(tls: &Tls) {
    let own = tls.thread();
    let id = exit::thread_id(tls.address());
    FREE_THREADS.clear();
    COUNTS.fork_child();
    STOPPERS.store(0, SeqCst);
    for thread in THREADS.iter() {
        if own.is_some_and(|own| ptr::eq(own, thread)) {
            thread.notice.rewatch_in_child(tls.address());
        } else if !(tls.has_interrupted_needm() && thread.is_dismantled_in_child(id)) {
            thread.clear_ms();
            thread.ready.forget();
            thread.free();
        }
    }
}
