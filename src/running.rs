//! Marks an M as running callback code, after waiting for the gate to open; marks it as not
//! running, and wakes the thread that stops the world.
//!
//! # Safety
//! The owner of the world is reached by a pointer to its record. Records stay mapped while any
//! live thread has one, and a thread that calls a function here has one.
#![allow(unsafe_code)] // the owner's record

use crate::barrier::order;
use crate::gate::{
    CLOSED, MAX_SLEEP, OWNER, STOPPER_WAKE, STOPPING, gate, is_closed, owns_the_world, value,
};
use crate::m::M;
use crate::os::wait::{wait, wake};
use crate::state;
use crate::sync::SeqCst;
use crate::thread::reap;
use crate::tools;

crate::arch::upcalls! {
    "needm_notify_stopper" => notify_stopper,
}

/// Marks `m` as running, after waiting for the gate to open. False if needm was stopped.
///
/// The G's stack must not be in use below the segment's `gsp`, because a collector may scan the
/// stack from there up while this sleeps.
pub(crate) fn enter(m: &M) -> bool {
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
                return true;
            }
        }
        interrupted.mark(false);
        leave(m);
        if !state::is_open() {
            interrupted.mark(true);
            return false;
        }
        reap_dead_owner();
        wait(gate(), seen | CLOSED, Some(MAX_SLEEP));
    }
}

/// The callbacks that a signal handler of this thread has interrupted. Their code does not run
/// while the handler waits, so a stopper must not wait for it.
struct Interrupted {
    first: Option<&'static M>,
    running: usize,
}

impl Interrupted {
    /// Those of `first`, and of the Ms that this thread held before it.
    fn find(first: Option<&'static M>) -> Self {
        let all = Self { first, running: usize::MAX };
        let running = all.iter().filter(|m| m.is_running()).count();
        Self { first, running }
    }

    fn iter(&self) -> impl Iterator<Item = &'static M> {
        let chain = core::iter::successors(self.first, |m| m.prev_held());
        chain.filter(|m| m.is_inside()).take(self.running)
    }

    fn mark(&self, running: bool) {
        self.iter().for_each(|m| m.set_running(running));
    }
}

/// Runs `work`, which waits. No stopper waits for callbacks of this thread meanwhile: neither for
/// that of `m`, its current M, nor for those below, which a handler has interrupted. Only if
/// this thread owns the world afterwards, because none of them passes the gate.
pub(crate) fn while_none_runs(m: Option<&'static M>, work: impl FnOnce()) {
    let interrupted = Interrupted::find(m);
    interrupted.mark(false);
    order();
    if is_closed(value()) {
        notify_stopper();
    }
    work();
    interrupted.mark(true);
}

/// Marks `m` as not running, and wakes the stopper if the gate is closed.
pub(crate) fn leave(m: &M) {
    tools::release(tools::Order::Left);
    m.set_running(false);
    order();
    // model: a_leaver_that_wakes_no_stopper
    if is_closed(value()) {
        notify_stopper();
    }
}

/// Wakes the stopper. `needm_notify_stopper` for assembly.
extern "C" fn notify_stopper() {
    STOPPER_WAKE.fetch_add(1, SeqCst);
    wake(&STOPPER_WAKE, u32::MAX >> 1);
}

/// Starts the world if the thread that owns it has exited without starting it.
pub(crate) fn reap_dead_owner() {
    // SAFETY: records stay mapped while a thread that has one may look at others, and this
    // thread has one.
    if let Some(owner) = unsafe { OWNER.load(SeqCst).as_ref() } {
        reap::reap(owner);
    }
}
