// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stops the world, which is all callback code and the host's hooks, and starts it again.
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

use crate::arch::needm_sp;
use crate::barrier::heavy_barrier;
use crate::callback::ccall;
use crate::callback::inside::inside;
use crate::error::Error;
use crate::gate::{
    CLOSED, MAX_SLEEP, OWNER, STOPPED_IN, STOPPER_WAKE, STOPPING, TURN, acquire_world, close, gate,
    is_closed, number_stop, owns_the_world, release_world, reopen, stop_number,
};
use crate::m;
use crate::m::{M, MS};
use crate::needm;
use crate::part::Bounds;
use crate::pool;
use crate::reconcile;
use crate::running;
use crate::running::{reap_dead_owner, while_none_runs};
use crate::state;
use crate::sync::{Relaxed, SeqCst};
use crate::thread;
use crate::thread::counts::while_open;
use crate::thread::reap;
use crate::thread_record::{THREADS, Thread};
use crate::tls::Tls;
use crate::tools;
use crate::waiting::Waiting;
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

/// Waits until no thread but this one runs callback code; the gate is closed. False if that takes
/// longer than `limit`.
fn wait_until_quiet(own: &Thread, waiting: &mut Waiting, limit: Option<u64>) -> bool {
    for m in MS.iter().filter(|m| !ptr::eq(own, m.thread.load(SeqCst).cast())) {
        loop {
            let seen = STOPPER_WAKE.load(SeqCst);
            if !m.is_running() {
                break;
            }
            // A thread that exited in a callback, or after a jump out of one, never withdraws
            // "running".
            // model: a_stopper_that_waits_for_the_dead
            reap_holder(m);
            let Some(nap) = waiting.nap(limit, MAX_SLEEP) else { return false };
            waiting.sleep(&STOPPER_WAKE, seen, nap);
        }
    }
    !state::settings().hooks().any_of_an_m() || wait_for_hooks(own, waiting, limit)
}

/// Waits until no thread but this one runs a hook; the gate is closed. False if that takes longer
/// than `limit`.
fn wait_for_hooks(own: &Thread, waiting: &mut Waiting, limit: Option<u64>) -> bool {
    for thread in THREADS.iter().filter(|thread| !ptr::eq(own, *thread)) {
        loop {
            let seen = STOPPER_WAKE.load(SeqCst);
            if !thread.runs_hook() {
                break;
            }
            reap::reap(thread); // it may have exited in its hook
            let Some(nap) = waiting.nap(limit, MAX_SLEEP) else { return false };
            waiting.sleep(&STOPPER_WAKE, seen, nap);
        }
    }
    true
}

/// Reaps the thread that `m` is bound to, if it has exited. Only for a thread that has a record.
fn reap_holder(m: &M) {
    // SAFETY: records stay mapped while a thread that has one may look at others, and this thread
    // has one.
    if let Some(thread) = unsafe { m.thread.load(SeqCst).cast::<Thread>().as_ref() } {
        reap::reap(thread);
    }
}

/// Whether no callback and no hook is under way. Only for a thread that has a record.
pub(crate) fn is_quiet() -> bool {
    let calls = MS.iter().any(|m| {
        is_in_use(m) && {
            reap_holder(m);
            is_in_use(m)
        }
    });
    let in_hook = |thread: &Thread| {
        thread.is_in_hook() && {
            reap::reap(thread);
            thread.is_in_hook()
        }
    };
    !calls && !THREADS.iter().any(in_hook)
}

/// Whether a callback is under way on this M, or at the gate.
pub(crate) fn is_in_use(m: &M) -> bool {
    in_callback(m) || m.is_running()
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

/// See [`crate::stop_the_world`]. With a `limit`, in nanoseconds: see
/// [`crate::stop_the_world_within`]. The number of this stop.
#[inline(never)] // so that little of needm's is above the stack pointer
pub(crate) fn stop(limit: Option<u64>) -> Result<u64, Error> {
    stop_at(needm_sp(), limit)
}

/// The same. `at`: the stack pointer of the entry, which says what callback this is in.
#[inline(never)]
fn stop_at(at: usize, limit: Option<u64>) -> Result<u64, Error> {
    if !state::is_open() {
        return Err(Error::NotStarted);
    }
    if owns_the_world() {
        return Err(Error::Already);
    }
    let tls = Tls::current();
    let own = thread::record(tls)?;
    // Before this thread owns the world: it takes stack, and if that runs out, the callback's end finds by the
    // segment what to start.
    let current = reconcile::current_segment_at(tls, at);
    let mut waiting = Waiting::begin();
    // While it waits for its turn, this thread must not keep another stopper
    // waiting for it.
    let mut acquired = acquire_world(own);
    if !acquired {
        // model: a_stopper_that_waits_and_counts_as_running
        outside(|| {
            while_none_runs(needm::current(tls), || {
                loop {
                    let turn = TURN.load(SeqCst);
                    acquired = acquire_world(own);
                    if acquired {
                        break true;
                    }
                    // model: a_stopper_that_waits_for_a_dead_owner
                    reap_dead_owner();
                    let Some(nap) = waiting.nap(limit, MAX_SLEEP) else { break false };
                    waiting.sleep(&TURN, turn, nap);
                }
            });
        });
    }
    if !acquired {
        return Err(Error::TimedOut);
    }
    if !state::is_open() {
        release_world();
        return Err(Error::NotStarted);
    }
    if let Some((m, segment)) = current {
        // So that a plain return of the callback calls `gate::returned`.
        m.set_needs_cleanup();
        STOPPED_IN.store(ptr::from_ref(segment).cast_mut(), SeqCst);
    }
    close();
    // model: a_stopper_that_does_not_wait
    if !wait_until_quiet(own, &mut waiting, limit) {
        reopen();
        return Err(Error::TimedOut);
    }
    heavy_barrier();
    tools::acquire(tools::Order::Left);
    Ok(number_stop())
}

/// Whether this thread has the world stopped by the stop with this number. needm may have ended that, and
/// the thread may have stopped the world again since.
pub(crate) fn is_stopped_by(number: u64) -> bool {
    owns_the_world() && stop_number() == number
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
    inside(|_| outside(|| ()));
}

/// See [`crate::Stopped::each_m`]. If a callback calls it, on a stack of its M's, the visits run on the system stack,
/// so that this M's registers are saved on its G like those of the others.
pub(crate) fn each_m(mut visit: impl FnMut(&M, usize, usize) -> c_int) -> Result<c_int, Error> {
    if !owns_the_world() {
        return Err(Error::Invalid);
    }
    let mut answer = 0;
    let tls = Tls::current();
    let mut work = || {
        // This thread may be in a handler, over a callback of its own.
        running::note_handlers(tls.m(), needm_sp());
        answer = MS
            .iter()
            .filter(|m| in_callback(m))
            .map(|m| visit_stacks(m, &mut visit))
            .find(|answer| *answer != 0)
            .unwrap_or(0);
    };
    // Code on a stack that needm does not know may leave that stack in a visit, and the callback go on.
    let is_known = |(m, _): (&M, _)| m.holds(needm_sp());
    if reconcile::running_segment(tls).is_none_or(is_known) {
        outside(work);
    } else {
        work();
    }
    Ok(answer)
}

/// Calls `visit` with what `show` makes of each M that has callbacks under way, until one is not 0,
/// which is the answer. The world runs: `show` is called where no stop of needm unmaps the M, and
/// `visit` where nothing waits for it.
pub(crate) fn each_inside<T>(
    show: impl Fn(&'static M) -> T,
    mut visit: impl FnMut(T) -> c_int,
) -> Result<c_int, Error> {
    if !state::is_open() {
        return Err(Error::NotStarted);
    }
    let mut from = 0;
    let mut next = |_: &Tls| {
        while_open(|| {
            let m = (from..MS.len()).filter_map(|index| MS.get(index)).find(|m| in_callback(m))?;
            from = m.index() + 1;
            Some(show(m))
        })
    };
    while let Some(shown) = inside(&mut next).flatten() {
        let answer = visit(shown);
        if answer != 0 {
            return Ok(answer);
        }
    }
    Ok(0)
}

/// Where the outermost callback of `m` has left the stack that it was made from: what is in use
/// there starts at this address, and holds what that callback's caller had in registers. `None`
/// outside callbacks.
pub(crate) fn g0sp_of(m: &M) -> Option<usize> {
    (in_callback(m) && !m.base().call.load(SeqCst).is_null()).then(|| m::g0sp(m, m.base()))
}

/// Visits the G of an M that does not run, then the further stacks of its callbacks, each once, then
/// what a handler has in use of a handler stack that has interrupted it.
fn visit_stacks(m: &M, visit: &mut impl FnMut(&M, usize, usize) -> c_int) -> c_int {
    let gsp = m.segment().map_or(0, |inner| inner.gsp.load(SeqCst));
    let g = Bounds { lo: m.stack.lo(), hi: m.stack.hi() };
    let mut answer = visit(m, live_from(g, gsp), g.hi);
    for part in m.parts() {
        let bounds = part.bounds();
        let mut inner = m.parts().take_while(|other| !ptr::eq(*other, part));
        if answer == 0 && inner.all(|other| other.bounds() != bounds) {
            answer = visit(m, live_from(bounds, gsp), bounds.hi);
        }
    }
    let (handler, bytes) = m.interrupted_by.get();
    if answer == 0 && bytes != 0 {
        answer = visit(m, handler, handler + bytes);
    }
    answer
}

/// The lowest address that may be in use on one of the stacks of an M. The stack pointer is known of
/// the stack only from which the innermost callback has gone elsewhere: not if a handler has
/// interrupted its code, nor of a stack that waits for a coroutine. Then it is the lowest of
/// all.
fn live_from(stack: Bounds, gsp: usize) -> usize {
    if stack.holds(gsp) { gsp } else { stack.lo }
}

/// needm is stopped, and this thread has the lock of starts and stops: gives up the world of the thread that had it
/// before, and was jumped out of, or has exited.
pub(crate) fn give_up_left(tls: &Tls) {
    // SAFETY: a record is in use while it is the owner's. None is unmapped but by the thread that has the lock.
    let Some(owner) = (unsafe { OWNER.load(SeqCst).as_ref() }) else { return };
    if tls.thread().is_some_and(|own| ptr::eq(own, owner)) || owner.seen_exited(true).is_some() {
        release_world();
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
