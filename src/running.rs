//! (to be written)
#![allow(unsafe_code)]

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
    if is_closed(value()) {
        notify_stopper();
    }
}

/// Wakes the stopper. `needm_notify_stopper` for assembly.
extern "C" fn notify_stopper() {
    STOPPER_WAKE.fetch_add(1, SeqCst);
    wake(&STOPPER_WAKE, u32::MAX >> 1);
}

/// Looks whether the owner has ended without a word.
pub(crate) fn reap_dead_owner() {
    // SAFETY: records stay mapped while a thread that has one may look at others; who
    // wants the world has one.
    if let Some(owner) = unsafe { OWNER.load(SeqCst).as_ref() } {
        reap::reap(owner);
    }
}
