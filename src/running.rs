//! A thread says that it runs callback code, and waits while the gate is closed; it says that
//! it no longer does, and wakes the thread that stops the world.
//!
//! # Safety
//! The owner of the world is reached by a pointer to its record. Records stay mapped while a
//! live thread has one, and a thread that comes here has one.
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

/// Says that `m` runs, once the gate lets it. False if needm was stopped.
///
/// Must not be called with the G's stack in use below the segment's `gsp`: it
/// may sleep here while a collector reads that stack.
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
    // Callback code that this thread's handler has interrupted does not run while
    // the handler waits here, and its stopper must not wait for it.
    let interrupted = || {
        core::iter::successors(m.prev_held(), |below| below.prev_held())
            .filter(|below| below.is_inside())
    };
    let was_running = interrupted().filter(|below| below.is_running()).count();
    let mark = |running| interrupted().take(was_running).for_each(|m| m.set_running(running));
    loop {
        let seen = value();
        if !is_closed(seen) {
            mark(true);
            m.set_running(true);
            order();
            // model: a_gate_without_a_second_look
            if value() == seen {
                return true;
            }
        }
        mark(false);
        leave(m);
        if !state::is_open() {
            mark(true);
            return false;
        }
        reap_dead_owner();
        wait(gate(), seen | CLOSED, Some(MAX_SLEEP));
    }
}

/// Says that `m` runs no callback code.
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

/// Has the world go on if the thread that owns it has exited without a word.
pub(crate) fn reap_dead_owner() {
    // SAFETY: records stay mapped while a thread that has one may look at others, and this
    // thread has one.
    if let Some(owner) = unsafe { OWNER.load(SeqCst).as_ref() } {
        reap::reap(owner);
    }
}
