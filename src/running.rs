// SPDX-License-Identifier: MIT OR Apache-2.0
//! Marks an M as running callback code, after waiting for the gate to open; marks it as not
//! running, and wakes the thread that stops the world.
//!
//! # Safety
//! The owner of the world is reached by a pointer to its record. Records stay mapped while any
//! live thread has one, and a thread that calls a function here has one.
#![allow(unsafe_code)] // the owner's record

use crate::arch::needm_sp;
use crate::barrier::order;
use crate::gate::{
    CLOSED, MAX_SLEEP, OWNER, STOPPED_IN, STOPPING, gate, is_awaited, is_closed, owns_the_world,
    reopen, value, wake_stopper,
};
use crate::m::{M, MS};
use crate::os::wait::wait;
use crate::pool;
use crate::state;
use crate::sync::{Relaxed, SeqCst};
use crate::thread::reap;
use crate::thread_record::Thread;
use crate::tls::Tls;
use crate::tools;

crate::arch::upcalls! {
    "needm_notify_stopper" => returned_while_closed,
}

/// Marks `m` as running, after waiting for the gate to open. False if needm was stopped.
///
/// The G's stack must not be in use below the segment's `gsp`, because a collector may scan the
/// stack from there up while this sleeps.
pub(crate) fn enter(m: &M) -> bool {
    m.parked.store(0, Relaxed);
    m.set_running(true);
    order();
    let entered = !is_closed(value()) || enter_closed(m);
    tools::acquire(tools::Order::Started);
    entered
}

#[cold]
fn enter_closed(m: &M) -> bool {
    if owns_the_world() {
        return !STOPPING.load(SeqCst) || {
            leave(m);
            false
        };
    }
    let interrupted = Interrupted::find(m.prev_held());
    loop {
        let seen = value();
        if !is_closed(seen) {
            interrupted.mark(true);
            m.set_running(true);
            order();
            // model: a_gate_without_a_second_look
            if value() == seen {
                interrupted.forget();
                return true;
            }
        }
        interrupted.mark(false);
        leave(m);
        if !state::is_open() {
            interrupted.mark(true);
            interrupted.forget();
            return false;
        }
        reap_dead_owner();
        wait(gate(), seen | CLOSED, Some(MAX_SLEEP));
    }
}

/// The callbacks that a signal handler of this thread has interrupted, and the hook. Their code does
/// not run while the handler waits, so a stopper must not wait for it. Any of the Ms below may count as
/// running, also below those of fibers that wait: C may have jumped out of its callback.
///
/// Which they are is noted in the Ms. A handler that interrupts this wait, and waits itself, has those
/// noted here not count as running either, and leaves the notes. At its end it has them count as
/// running; then the gate's value has changed, and this wait looks again.
struct Interrupted {
    first: Option<&'static M>,
    /// By it the notes of this wait are known: a stack pointer, because a handler that interrupts this wait is further down
    /// or on another stack.
    wait: usize,
    /// This thread's record, if a hook runs.
    hook: Option<&'static Thread>,
}

impl Interrupted {
    /// Those of `first`, and of the Ms that were bound to this thread before it.
    fn find(first: Option<&'static M>) -> Self {
        let hook = Tls::current().thread().filter(|own| own.runs_hook());
        let found = Self { first, wait: needm_sp(), hook };
        let running = found.inside().filter(|m| m.is_running() && m.parked.load(Relaxed) == 0);
        running.for_each(|m| m.parked.store(found.wait, Relaxed));
        found
    }

    fn inside(&self) -> impl Iterator<Item = &'static M> + use<> {
        held_from(self.first).filter(|m| m.is_inside())
    }

    fn iter(&self) -> impl Iterator<Item = &'static M> + use<> {
        self.inside().filter(|m| m.parked.load(Relaxed) != 0)
    }

    /// The wait is over, and they count as running.
    fn forget(&self) {
        let noted = self.inside().filter(|m| m.parked.load(Relaxed) == self.wait);
        noted.for_each(|m| m.parked.store(0, Relaxed));
    }

    fn mark(&self, running: bool) {
        if !running {
            note_handlers(self.first, needm_sp());
        }
        self.iter().for_each(|m| m.set_running(running));
        if let Some(own) = self.hook {
            own.set_runs_hook(running);
        }
    }

    /// Has them run again, after waiting for the gate to open.
    fn pass_gate(&self) {
        if self.iter().next().is_none() && self.hook.is_none() {
            return;
        }
        loop {
            let seen = value();
            if !is_closed(seen) {
                self.mark(true);
                order();
                if !is_closed(value()) {
                    self.forget();
                    return;
                }
                self.mark(false);
                order();
                wake_stopper();
            }
            reap_dead_owner();
            wait(gate(), seen | CLOSED, Some(MAX_SLEEP));
        }
    }
}

/// The Ms that are bound to this thread, from `first` down.
fn held_from(first: Option<&'static M>) -> impl Iterator<Item = &'static M> + use<> {
    Tls::current().thread().into_iter().flat_map(move |own| pool::held_from(first, own))
}

/// Notes for the callbacks that handlers on a handler stack have interrupted, those of `first` and of
/// the Ms below it, what the handlers have in use there: their registers are in it, where a collector
/// looks. needm cannot tell for certain which part of it is a signal's frame, because the frames of older
/// signals are left in what functions do not write. `at`: the stack pointer of the last handler.
pub(crate) fn note_handlers(first: Option<&'static M>, mut at: usize) {
    let Some(thread) = Tls::current().thread() else { return };
    for m in held_from(first).filter(|m| m.is_inside()) {
        // Else it was in C, or this is noted already: a wait at the gate comes here again and again.
        if m.is_running() {
            let end = thread.ready.end_of(at);
            m.interrupted_by.set(at, end.map_or(0, |end| end - at));
        }
        // The handler before has made the call of this one.
        at = m.segment().map_or(at, |inner| crate::m::g0sp(m, inner));
    }
}

/// Runs `work`, which waits. No stopper waits for callbacks of this thread meanwhile: neither for
/// that of `m`, its current M, nor for those below, which a handler has interrupted. `work` returns
/// whether this thread owns the world now; if not, the callbacks pass the gate afterwards.
pub(crate) fn while_none_runs(m: Option<&'static M>, work: impl FnOnce() -> bool) {
    let interrupted = Interrupted::find(m);
    interrupted.mark(false);
    order();
    if is_closed(value()) {
        wake_stopper();
    }
    if work() {
        interrupted.mark(true);
        interrupted.forget();
    } else {
        interrupted.pass_gate();
    }
}

/// Marks `m` as not running, and wakes the stopper if the gate is closed.
pub(crate) fn leave(m: &M) {
    tools::release(tools::Order::Left);
    m.parked.store(0, Relaxed);
    // Its own code goes elsewhere. What was noted may be of a handler that was jumped out of.
    m.interrupted_by.set(0, 0);
    m.set_running(false);
    order();
    // model: a_leaver_that_wakes_no_stopper
    if is_awaited() {
        wake_stopper();
    }
}

/// `needm_notify_stopper`: a callback on a fast path has returned, and the gate is closed.
extern "C" fn returned_while_closed() {
    start_if_left();
    wake_stopper();
}

/// Starts the world if this thread has stopped it in a callback that is under way no more and did not return: a
/// handler's, which C has jumped out of, and over whose record a fast path has stored since.
pub(crate) fn start_if_left() {
    let stopped_in = STOPPED_IN.load(SeqCst).cast_const();
    if stopped_in.is_null() || !is_closed(value()) || !owns_the_world() {
        return;
    }
    let Some(own) = Tls::current().thread() else { return };
    // Not by the chain of its Ms: this may be a handler, and the thread is just changing that.
    let mut held = MS.iter().filter(|m| pool::is_held_by(m, own));
    if !held.any(|m| m.has(stopped_in)) {
        reopen();
    }
}

/// Starts the world if the thread that owns it has exited without starting it.
pub(crate) fn reap_dead_owner() {
    // SAFETY: records stay mapped while a thread that has one may look at others, and this
    // thread has one.
    if let Some(owner) = unsafe { OWNER.load(SeqCst).as_ref() } {
        reap::reap(owner);
    }
}
