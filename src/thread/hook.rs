// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the host's hooks run: as callback code does, not while another thread has the world
//! stopped.
//!
//! A thread that runs a hook says so in a record, and then reads the gate; a thread that stops the
//! world closes the gate, and then waits for all records that say so. If callback code of the
//! thread counts as running, nothing more has to be said: the stopper waits for that. Hooks that
//! run while needm is started or stopped, or on a G, need nothing of this either.
//!
//! # Safety
//! The owner of the world is reached by a pointer to its record. Records stay mapped while any
//! live thread has one, and a record is in use while a hook runs for it.
#![allow(unsafe_code)] // the owner's record

use crate::barrier::order;
use crate::fatal;
use crate::gate;
use crate::gate::{CLOSED, MAX_SLEEP, OWNER, STOPPING, is_closed};
use crate::m::M;
use crate::os::wait::wait;
use crate::pool;
use crate::segment::{Segment, UNDER_HOOK};
use crate::state;
use crate::sync::SeqCst;
use crate::thread::counts::own_id;
use crate::thread_record::Thread;
use crate::tls::Tls;
use core::iter::successors;

/// In the mark of before [`Thread::begin_hook`]: another hook was running already.
const OUTER: u32 = 1 << 31;

impl Thread {
    /// Runs a hook of the host's for an M of this thread, which may be another than the caller, and
    /// has exited then. Waits while the world is stopped, if the host has set the hook (`is_set`).
    #[inline] // the host is called from few places: tests/nosplit/lists.rs
    pub(crate) fn in_hook(&self, is_set: bool, hook: impl FnOnce()) {
        let was = self.begin_hook(is_set);
        hook();
        self.end_hook(was);
    }

    /// Marks a hook of the host's as running for an M of this thread, and returns the mark of
    /// before. A hook may take long: needm is not stopped until [`Thread::end_hook`]. Where none is
    /// set (`is_set`), the world may be stopped.
    #[inline(never)]
    pub(crate) fn begin_hook(&self, is_set: bool) -> u32 {
        let runner = self.runner();
        // A handler is here, which has interrupted another hook.
        let outer = if runner.runs_hook() { OUTER } else { 0 };
        let was = self.mark_hook();
        if is_set {
            if outer == 0 {
                runner.each_callback(|waiting| waiting.set(UNDER_HOOK));
            }
            if !callback_code_runs() {
                runner.enter_hook();
            }
        }
        was | outer
    }

    /// Restores the mark of before [`Thread::begin_hook`].
    #[inline(never)]
    pub(crate) fn end_hook(&self, was: u32) {
        let runner = self.runner();
        if was & OUTER == 0 {
            runner.each_callback(|waiting| waiting.unset(UNDER_HOOK));
        }
        if was & OUTER == 0 && runner.runs_hook() {
            runner.set_runs_hook(false);
            order();
            if is_closed(gate::value()) {
                gate::wake_stopper();
            }
        }
        self.end_transfer(was & !OUTER);
    }

    /// No code of needm's goes on on this thread, which is live, but the caller's: if it says that it runs a hook,
    /// or that an M is on its way, that was jumped out of.
    pub(crate) fn forget_left_hook(&self) {
        if !self.is_live_and_stays() {
            return;
        }
        self.forget_left_marks();
        if self.runs_hook() {
            self.set_runs_hook(false);
            order();
            if is_closed(gate::value()) {
                gate::wake_stopper();
            }
        }
    }

    /// Each callback that waits on this thread, the caller: for C, for a coroutine, or below a handler. Its end does not
    /// take the short way any more.
    fn each_callback(&self, mut change: impl FnMut(&Segment)) {
        for m in pool::held_from(self.held(), self).filter(|m| m.segment().is_some()) {
            m.set_needs_cleanup();
            successors(m.segment(), |inner| inner.outer()).for_each(&mut change);
        }
    }

    /// The record that says so: the caller's own, so that its handlers find it, if it has one.
    fn runner(&self) -> &Self {
        Tls::current().thread().unwrap_or(self)
    }

    /// Says that a hook runs, after waiting for the gate to open.
    fn enter_hook(&self) {
        loop {
            self.set_runs_hook(true);
            order();
            let seen = gate::value();
            // A stop of needm waits for hooks by itself.
            let stopped = STOPPING.load(SeqCst) || !state::is_open();
            if !is_closed(seen) || gate::owns_the_world() || stopped {
                return;
            }
            self.set_runs_hook(false);
            order();
            gate::wake_stopper();
            disown_dead_owner();
            wait(gate::gate(), seen | CLOSED, Some(MAX_SLEEP));
        }
    }
}

/// Whether one of the hooks that run outside callbacks makes this call of needm's: in the middle of binding an
/// M or unbinding one, of this thread's or of one that has exited. A handler that has interrupted a hook counts,
/// too; what the thread has jumped out of does not.
pub(crate) fn calls(tls: &Tls) -> bool {
    tls.thread().is_some_and(|own| {
        is_under(own)
            && (tls.has_interrupted_needm() || is_under_rusts(tls) || !own.is_live_and_stays())
    })
}

/// The same of hooks in Rust, also where a coroutine that one of them has go on has put a mark back of before the
/// hook. No code jumps out of them.
pub(crate) fn is_under_rusts(tls: &Tls) -> bool {
    state::settings().hooks().kind.is_some() && tls.thread().is_some_and(is_under)
}

fn is_under(own: &Thread) -> bool {
    own.is_in_hook() || own.runs_hook()
}

/// A callback of the safe interface ends, whose call this is. Its thread may be in the middle of binding an M or
/// unbinding one, if a hook has had a coroutine go on that was in the callback.
pub(crate) fn refuse_end(tls: &Tls, segment: &Segment, is_safe: impl FnOnce() -> bool) {
    if segment.is(UNDER_HOOK) && is_safe() && calls(tls) {
        fatal::throw(format_args!("needm: a callback from before a hook ended in the hook"));
    }
}

/// Whether callback code counts as running on this thread; then a handler is here, which has
/// interrupted it, or a thread that makes Ms on its G.
fn callback_code_runs() -> bool {
    let running = |own| pool::held_from(Thread::held(own), own).any(M::is_running);
    Tls::current().thread().is_some_and(running)
}

/// Starts the world if the thread that owns it has exited without starting it. Its Ms are left to
/// be reaped: this thread may be about to reap another.
fn disown_dead_owner() {
    // SAFETY: a record is in use while a hook runs for it, so records stay mapped.
    let Some(owner) = (unsafe { OWNER.load(SeqCst).as_ref() }) else { return };
    if let Some(state) = owner.seen_exited(true)
        && owner.begin_exit(state, own_id(Tls::current()))
    {
        gate::disown(owner);
        owner.resume_live();
    }
}
