//! Stops the world, which is all callback code, and starts it again.
//!
//! A thread that enters a callback writes "running" to its M and then reads the gate. A thread
//! that stops the world closes the gate and then reads each M. One of the two sees what the
//! other wrote: the stopper sees "running", or the entering thread sees the closed gate. This
//! holds if on each side the load does not pass the store before it. The stopper pays for both
//! sides with `membarrier`, a barrier on every running thread; where the system has none,
//! callbacks take the slow path, which has a fence (`barrier.rs`).
//!
//! A thread that leaves a callback withdraws "running" and then reads the gate, in the same way;
//! if the gate is closed, it wakes the stopper. The stopper runs two more barriers: when no M
//! runs any more, and before it opens the gate. They order what callback code reads and writes
//! against what is done in the stopped world, because the fast path has no barrier.
//!
//! # Safety
//! Records of threads stay mapped while any live thread has one, and a thread that stops the
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
use crate::running::{reap_dead_owner, while_none_runs};
use crate::state;
use crate::sync::{Relaxed, SeqCst};
use crate::thread;
use crate::thread::reap;
use crate::thread_record::Thread;
use crate::tls::Tls;
use crate::tools;
use core::ffi::c_int;
use core::ptr;

/// As [`acquire_world`], to stop needm: this also refuses callbacks of the caller's handlers.
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
            // A thread that exited in a callback, or after a jump out of one, never withdraws
            // "running".
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

/// Whether a callback is under way on this M; one that is still at the gate does not count.
pub(crate) fn in_callback(m: &M) -> bool {
    pool::is_ready(m) && m.is_inside()
}

/// Runs `work` such that no stopper waits for this thread. If the thread runs callback code now,
/// `work` runs on the system stack, and all registers are saved on the G.
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
            while_none_runs(reconcile::current(tls), || {
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
        });
    }
    if !state::is_open() {
        release_world();
        return Err(Error::NotStarted);
    }
    if let Some((m, segment)) = reconcile::current_segment(tls) {
        // So that a plain return of the callback calls `gate::returned`.
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
    let closed = is_closed(gate().load(Relaxed)) && !owns_the_world();
    if !closed && !reconcile::is_back_unnoticed() {
        return;
    }
    // The thread leaves the world, and waits at the gate on its way back.
    outside(|| ());
}

/// See [`crate::Stopped::each_m`]. If a callback calls it, the visits run on the system stack,
/// so that this M's registers are saved on its G like those of the others.
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

/// The lowest address that may be in use on the stack of an M that does not run. If a handler
/// has interrupted its callback code, the stack pointer is not known: then the lowest of all.
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
