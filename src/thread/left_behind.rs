// SPDX-License-Identifier: MIT OR Apache-2.0
//! Callbacks that a thread leaves behind when it exits, on stacks that outlive it.
//!
//! A coroutine may be suspended in a callback and then be forgotten: its stack is never freed, and so what its code has
//! lent to other threads stays. Its callback's frames on the G have to stay, too. Of a callback on the thread's own stack
//! nothing stays: its caller's frames go with the thread.

use crate::m::M;
use crate::m::calls::{is_safe, waiting};
use crate::pool::{self, EXTRA};
use crate::state;
use crate::sync::{AtomicBool, Relaxed};
use crate::thread_record::Thread;
use crate::tls::Tls;
use core::iter::successors;
use core::ptr;

/// Whether the safe interface is used in this process.
static SAFE_CALLS: AtomicBool = AtomicBool::new(false);

/// The safe interface is used. Before the callback that it makes begins.
pub(crate) fn expect_safe_calls() {
    if !SAFE_CALLS.load(Relaxed) {
        SAFE_CALLS.store(true, Relaxed);
    }
}

impl Thread {
    /// Leaves behind what the safe interface has begun on Gs of this thread, the caller, which exits. Of other callbacks
    /// it is promised that nothing refers to their frames.
    pub(super) fn leave_code_behind(&self, tls: &Tls) {
        let is_left = |call| !self.own_stack_holds(tls, call) && is_safe(call);
        let has_left = |m: &&M| m.segment().is_some() && waiting(m).any(is_left);
        while let Some(m) = pool::held_from(self.held(), self).find(has_left) {
            self.leave_behind(m);
        }
    }

    /// What [`Self::may_leave_code_on`] is to look at.
    pub(super) fn note_own_stack(&self, tls: &Tls) {
        if SAFE_CALLS.load(Relaxed) {
            self.own_stack_holds(tls, 0);
        }
    }

    /// Whether this thread, which has exited unnoticed, may have left such code on the G of `m`. Its stacks may be unmapped
    /// at any moment, so addresses alone are looked at.
    pub(super) fn may_leave_code_on(&self, m: &M) -> bool {
        if !SAFE_CALLS.load(Relaxed) {
            return false;
        }
        let [lo, end] = [0, 1].map(|bound: usize| self.stack[bound].load(Relaxed));
        let is_elsewhere = |call: usize| call != 0 && !(lo..end).contains(&call) && !m.holds(call);
        let is_callers = || Tls::current().thread().is_some_and(|own| ptr::eq(own, self));
        end != 0
            && !is_callers()
            && successors(m.segment(), |inner| inner.outer())
                .any(|inner| is_elsewhere(inner.call.load(Relaxed) as usize))
    }

    /// Leaves `m` behind. A destructor or a hook of the host's may still have its code go on on this thread: then that
    /// comes to its end, and nothing of another thread's is touched, because no other thread gets the row.
    #[inline(never)] // the host is called from one place: tests/nosplit/lists.rs
    pub(super) fn leave_behind(&self, m: &M) {
        self.unchain(m, m.prev_held.load(Relaxed));
        m.prev_held.store(ptr::null_mut(), Relaxed);
        m.prev_current.store(ptr::null_mut(), Relaxed);
        // No stop of the world waits for it; and what goes on sees that, and takes the slow paths.
        m.set_needs_cleanup();
        m.set_running(false);
        EXTRA.leave_behind(m);
        let hooks = state::settings().hooks();
        self.in_hook(hooks.unminit.is_some() || hooks.m_free.is_some(), || {
            hooks.unminit(m);
            hooks.m_free(m);
        });
    }
}
