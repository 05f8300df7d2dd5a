//! The world gate: stopping all callback code, and letting it go on.
//!
//! The gate is one 32-bit word: twice the number of needm's start, plus one
//! while the gate is closed. A thread that comes in says "running" in its M and then reads
//! the gate; the thread that closes the gate then reads each M, and either sees that, or has
//! the entry see the closed gate. That is a store and a load that
//! must not pass each other on both sides. The closing side pays for both with
//! `membarrier`, a barrier on every running thread; where the system has none,
//! entries go by the slow path, which has a fence (`barrier.rs`).
//!
//! Leaving is the same: "running" is withdrawn, then the gate is read; a thread that
//! finds it closed wakes the stopper. Two more barriers on the closing side, once all Ms are
//! at rest and before the gate is opened, order what callback code reads and writes
//! against what is done in the stopped world; the assembly's way in and out has none.
//!
//! # Safety
//! Records of threads stay mapped while a live thread has one, and a thread that stops the
//! world has one.
#![allow(unsafe_code)] // records, by the address in an M

use crate::barrier::heavy_barrier;
use crate::callback::ccall;
use crate::error::Error;
use crate::gate::{
    CLOSED, MAX_SLEEP, OWNER, STOPPED_IN, STOPPER_WAKE, STOPPING, TURN, acquire_world, close, gate,
    is_closed, owns_the_world, release_world, reopen,
};
use crate::m::{M, MS};
use crate::os::wait::wait;
use crate::pool;
use crate::reconcile;
use crate::running::reap_dead_owner;
use crate::state;
use crate::sync::{Relaxed, SeqCst};
use crate::thread;
use crate::thread::reap;
use crate::thread_record::Thread;
use crate::tls::Tls;
use crate::tools;
use core::ffi::c_int;
use core::ptr;

/// As [`acquire_world`], to stop needm.
pub(crate) fn acquire_world_to_stop(own: &Thread) -> bool {
    reap_dead_owner();
    let taken = acquire_world(own);
    if taken {
        STOPPING.store(true, SeqCst);
    }
    taken
}

/// Waits until no thread but this one runs callback code; the gate is closed.
fn wait_until_quiet(own: &Thread) {
    for m in MS.iter().filter(|m| !ptr::eq(own, m.thread.load(SeqCst).cast())) {
        loop {
            let seen = STOPPER_WAKE.load(SeqCst);
            if !m.is_running() {
                break;
            }
            // A thread that died in a callback, or had jumped out of one, says nothing.
            // SAFETY: records stay mapped while a thread that has one may look at others, and the
            // stopper has one.
            // model: a_stopper_that_waits_for_the_dead
            if let Some(thread) = unsafe { m.thread.load(SeqCst).cast::<Thread>().as_ref() } {
                reap::reap(thread);
            }
            wait(&STOPPER_WAKE, seen, Some(MAX_SLEEP));
        }
    }
}

/// Whether this M has callbacks under way, not counting one being entered.
pub(crate) fn in_callback(m: &M) -> bool {
    pool::is_ready(m) && m.is_inside()
}

/// Runs `work` with this thread counted as out: on its system stack, all its
/// registers on the G's, if it runs callback code now.
pub(crate) fn outside(mut work: impl FnMut()) {
    match reconcile::running_segment(Tls::current()) {
        Some((m, segment)) => ccall::on_g0(m, segment, &mut work),
        None => work(),
    }
}

/// See [`crate::stop_the_world`].
pub(crate) fn stop() -> Result<(), Error> {
    if !state::is_open() {
        return Err(Error::NotStarted);
    }
    if owns_the_world() {
        return Err(Error::Already);
    }
    let tls = Tls::current();
    let own = thread::record(tls)?;
    // While it waits for its turn, this thread must not keep another stopper
    // waiting for it.
    if !acquire_world(own) {
        // model: a_stopper_that_waits_and_counts_as_running
        outside(|| {
            loop {
                let turn = TURN.load(SeqCst);
                if acquire_world(own) {
                    break;
                }
                // model: a_stopper_that_waits_for_a_dead_owner
                reap_dead_owner();
                wait(&TURN, turn, Some(MAX_SLEEP));
            }
        });
    }
    if !state::is_open() {
        release_world();
        return Err(Error::NotStarted);
    }
    if let Some((m, segment)) = reconcile::current_segment(tls) {
        // So that its plain return is noticed.
        m.set_needs_cleanup();
        STOPPED_IN.store(ptr::from_ref(segment).cast_mut(), SeqCst);
    }
    close();
    // model: a_stopper_that_does_not_wait
    wait_until_quiet(own);
    heavy_barrier();
    tools::acquire(tools::Order::Left);
    Ok(())
}

/// See [`crate::Stopped`].
pub(crate) fn start() -> Result<(), Error> {
    if !owns_the_world() {
        return Err(Error::Invalid);
    }
    reopen();
    Ok(())
}

/// See [`crate::safepoint`].
pub(crate) fn safepoint() {
    if !is_closed(gate().load(Relaxed)) || owns_the_world() {
        return;
    }
    // Going out and coming in again is what stops.
    outside(|| ());
}

/// See [`crate::Stopped::each_m`]. From a callback the visits are made from the system
/// stack, so that this M too has its registers where the others have theirs.
pub(crate) fn each_m(mut visit: impl FnMut(&M, usize, usize) -> c_int) -> Result<c_int, Error> {
    if !owns_the_world() {
        return Err(Error::Invalid);
    }
    let mut answer = 0;
    outside(|| {
        let visits =
            MS.iter().filter(|m| in_callback(m)).map(|m| visit(m, live_from(m), m.stack.hi()));
        answer = visits.into_iter().find(|answer| *answer != 0).unwrap_or(0);
    });
    Ok(answer)
}

/// The lowest address that may be in use on the stack of an M that does not run. Of
/// callback code that a handler has interrupted it is not known where it is: all of it.
fn live_from(m: &M) -> usize {
    match m.segment().map_or(0, |inner| inner.gsp.load(SeqCst)) {
        0 => m.stack.lo(),
        gsp => gsp,
    }
}

/// In a forked child: no other thread has the world stopped, nor starts or stops needm.
pub(crate) fn fork_child() {
    if !OWNER.load(SeqCst).is_null() && !owns_the_world() {
        OWNER.store(ptr::null_mut(), SeqCst);
        STOPPED_IN.store(ptr::null_mut(), SeqCst);
        STOPPING.store(false, SeqCst);
        gate().fetch_and(!CLOSED, SeqCst);
    }
    if !state::is_open() {
        gate().fetch_or(CLOSED, SeqCst);
    }
}
