// SPDX-License-Identifier: MIT OR Apache-2.0
//! Gives a thread the signal stack that its callbacks need, and checks that it still has one.
//!
//! When a handler returns, Linux puts back the signal stack of before the signal
//! (`restore_altstack` in linux/kernel/signal.c), so a stack that was installed inside a handler
//! may be gone later. If a thread's first callback found signals blocked, the thread may have
//! been in a handler. Its callbacks then stay on the slow path and check the signal stack,
//! until one finds no signal blocked, or [`CHECKS`] of them have found the stack in order.

use core::ops::Range;

use super::alt_stack::Readiness;
use super::shared;
use super::sigaltstack::{self, Stack};
use super::signal;
use crate::error::Error;
use crate::os::terms::Needs;
use crate::sync::Relaxed;

/// Successful checks before a thread is no longer checked.
const CHECKS: u32 = 32;

impl Readiness {
    /// Makes sure that this thread has a signal stack that holds our handler, unless that
    /// was checked often enough, and callbacks come from about `at`. `careful`: the thread may be in a
    /// handler. `is_own`: whether an address is on the stack that the thread was made with; `own_part`:
    /// the part of that which an address is on, if that is known without a system call.
    pub(crate) fn prepare(
        &self,
        at: usize,
        careful: bool,
        needs: Needs,
        tell: impl FnOnce(usize, usize) -> usize,
        is_own: impl Fn(usize) -> bool,
        own_part: impl Fn(usize) -> Option<Range<usize>>,
    ) -> Result<(), Error> {
        if !needs.handled {
            self.checks_left.store(0, Relaxed);
            self.known.set(0, usize::MAX);
            return Ok(());
        }
        let fresh = self.ready.load(Relaxed) == 0;
        if !fresh && self.holds(at) {
            return Ok(());
        }
        let mut checks_left = if fresh { CHECKS } else { self.checks_left.load(Relaxed) };
        if !fresh && checks_left == 0 {
            if self.knows(at) {
                return Ok(());
            }
            // A sandbox that refuses to say it lets the thread change nothing either.
            let now = sigaltstack::current_stack();
            if now.is_err() || now.is_ok_and(|now| self.is_noted(&now)) {
                self.learn(at, is_own, own_part);
                return Ok(());
            }
            // The thread has changed it.
            self.forget_known();
            checks_left = CHECKS;
        }
        // First: a handler that calls back in between checks for itself.
        self.check_again(needs);
        self.ready.store(1, Relaxed);
        let fine = !fresh && self.is_in_order(needs);
        if !fine && let Err(error) = self.install(needs, tell) {
            self.ready.store(0, Relaxed);
            return Err(error);
        }
        if fresh {
            self.note_blocked(needs);
            self.forget_known();
        }
        // With no signal blocked the thread is in no handler, whose return could undo this.
        let sure = !careful || signal::blocked() == 0;
        let left = if sure { 0 } else { checks_left.saturating_sub(u32::from(fine)) };
        self.checks_left.store(left, Relaxed);
        self.learn(at, is_own, own_part);
        Ok(())
    }

    /// Notes that no handler runs at `at`, unless one does.
    fn learn(
        &self,
        at: usize,
        is_own: impl Fn(usize) -> bool,
        own_part: impl Fn(usize) -> Option<Range<usize>>,
    ) {
        if !self.known.holds(at) && !self.holds(at) {
            let in_effect = Stack::new(self.base.load(Relaxed), self.size.load(Relaxed));
            let stacks = [in_effect, self.ours().unwrap_or(Stack::NONE)];
            self.moves.learn(&self.known, at, stacks, is_own, own_part);
        }
    }

    /// Whether a signal stack is installed that holds our handler.
    fn is_in_order(&self, needs: Needs) -> bool {
        let now = Stack::current();
        let fine = now.enabled() && now.size() >= needs.least;
        if fine && !self.is_noted(&now) {
            // The thread has changed it. Or this handler has interrupted the first check, before that
            // noted the stack.
            // SAFETY: Linux has just said that it is in effect.
            unsafe { self.note_in_effect(&now) };
        }
        fine
    }

    /// Whether the thread still has the signal stack of its own that it had at the last check.
    fn brings_the_same(&self) -> bool {
        let (base, size) = self.bounds();
        if size == 0 || self.ours().is_some_and(|ours| ours.base() == base) {
            return false;
        }
        let now = Stack::current();
        now.enabled() && (now.base(), now.size()) == (base, size)
    }

    /// Installs ours, unless the thread has one of its own that is large enough.
    fn install(&self, needs: Needs, tell: impl FnOnce(usize, usize) -> usize) -> Result<(), Error> {
        if self.brings_the_same() {
            // This copy may have left it.
            if self.joined.load(Relaxed) == 0 {
                // SAFETY: `brings_the_same` has just asked Linux: it is in effect.
                unsafe { self.join_shared(&Stack::current()) };
            }
            return Ok(());
        }
        let Some(ours) = self.mapped(needs, tell) else {
            let own = Stack::current();
            if !own.enabled() || own.size() < needs.least {
                return Err(Error::NoMemory);
            }
            // SAFETY: Linux has just said that it is in effect.
            unsafe { self.note_in_effect(&own) };
            return Ok(());
        };
        if self.bounds().0 != ours.base() {
            // SAFETY: ours is mapped for as long as this record is the thread's.
            unsafe { shared::begin(&ours) };
        }
        // SAFETY: ours stays mapped for as long as this record is the thread's.
        let Ok(old) = (unsafe { sigaltstack::set_stack(&ours) }) else {
            // Linux refuses if the thread runs on its own one right now, which then stays. A
            // sandbox refuses always.
            let own = sigaltstack::current_stack().ok().filter(Stack::in_use);
            let own = own.ok_or(Error::System)?;
            // SAFETY: Linux has just said that it is in effect.
            unsafe { self.note_in_effect(&own) };
            return Ok(());
        };
        // SAFETY: `set_stack` has just installed it.
        unsafe { self.note_in_effect(&ours) };
        if old.enabled() && old.base() == ours.base() {
            return Ok(());
        }
        self.note_old(&old);
        if old.enabled() && old.size() >= needs.least {
            // Noted before it is put back: a handler in between runs on one of the two, and `holds`
            // knows both.
            // SAFETY: the thread had it installed a moment ago.
            unsafe {
                self.note_in_effect(&old);
                let _ = sigaltstack::set_stack(&self.old());
            }
            self.note_old(&Stack::NONE);
        }
        Ok(())
    }

    /// Makes the next callback check.
    pub(crate) fn check_again(&self, needs: Needs) {
        if needs.handled {
            self.checks_left.store(CHECKS, Relaxed);
        }
    }
}
