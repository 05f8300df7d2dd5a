// SPDX-License-Identifier: MIT OR Apache-2.0
//! The alternate signal stack of a foreign thread.
//!
//! A fault that is a stack overflow can only be handled on another stack, so a thread that
//! runs callbacks needs a signal stack. One that the thread has already is used if it is large
//! enough. Else needm installs one of its own, "ours" below, which stays with the thread until
//! it detaches or exits.
//!
//! `prepare.rs` installs and checks it, and `handler_callback.rs` keeps it free for the callbacks of
//! handlers. A thread may install another signal stack at any time: `known.rs` says how that is seen before a
//! handler on it calls back by a fast path.
//!
//! The stack that the thread had before and the one that is installed are noted separately:
//! needm removes a signal stack only if it is still ours.
//!
//! # Safety
//! A stack that is installed here is the thread's own, or ours. The thread keeps its own
//! mapped for as long as it lets Linux run handlers there. Ours is unmapped only when no
//! thread has the record. Fields are atomics because the thread's handlers use them, too, and
//! so does a thread that reaps the record of an exited one.

use super::known::Moves;
use super::memory;
use super::shared;
use super::sigaltstack::{self, Stack};
use super::signal::{self, SIGSEGV};
use crate::os::terms::{Known, Needs, Side};
use crate::sync::{AtomicU32, AtomicUsize, Relaxed};
use crate::valgrind;

/// The signal stack in effect is another copy's, and this one counts itself there.
const JOINED: u32 = 1;

/// Ours is still the thread's, for other copies.
const LEFT: u32 = 2;

/// The signal stack's part of a thread's record.
#[repr(C)]
pub(crate) struct Readiness {
    /// Where no handler is on a signal stack. Assembly reads both words.
    pub(crate) known: Known,
    pub(super) moves: Moves,
    /// The signal stack in effect, ours or the thread's own.
    pub(super) base: AtomicUsize,
    pub(super) size: AtomicUsize,
    /// Our stack: mapped once, kept with the record; a guard page below.
    map: AtomicUsize,
    len: AtomicUsize,
    /// What the thread had when ours was installed.
    old_base: AtomicUsize,
    old_size: AtomicUsize,
    /// 1 if Linux disables that while a handler runs on it (`SS_AUTODISARM`).
    old_disarmed: AtomicU32,
    /// Successful checks of the signal stack before we stop checking.
    pub(super) checks_left: AtomicU32,
    /// 1 from [`Readiness::prepare`] to [`Readiness::release`].
    pub(super) ready: AtomicU32,
    /// 1 if this thread has fault signals blocked that its callbacks are to run without.
    faults_blocked: AtomicU32,
    /// [`JOINED`], [`LEFT`] or 0.
    pub(super) joined: AtomicU32,
    /// The number that valgrind has given our stack.
    tool: AtomicUsize,
    /// That of the one in effect which is not ours: it may be so close to a G that valgrind takes a change
    /// between two stacks which it does not know for a large frame.
    tool_of_theirs: AtomicUsize,
}

impl Readiness {
    /// Our stack, if it is mapped.
    pub(super) fn ours(&self) -> Option<Stack> {
        let (map, len) = (self.map.load(Relaxed), self.len.load(Relaxed));
        let guard = memory::page_size();
        (map != 0).then(|| Stack::new(map + guard, len - guard))
    }

    /// Our stack, mapped now if it was not.
    pub(super) fn mapped(
        &self,
        needs: Needs,
        tell: impl FnOnce(usize, usize) -> usize,
    ) -> Option<Stack> {
        if self.map.load(Relaxed) == 0 {
            let guard = memory::page_size();
            let len = guard + needs.stack;
            let map = memory::map_stack(Side::SignalStack, len, &[(0, guard)]).ok()?;
            // A handler that calls back meanwhile stores the same: it has the same needs.
            self.len.store(len, Relaxed);
            // Such a handler may have mapped one, and its return may leave that installed.
            if self.map.compare_exchange(0, map, Relaxed, Relaxed).is_ok() {
                self.tool.store(tell(map + guard, map + len), Relaxed);
            } else {
                // SAFETY: the mapping just made is not in the record, so it is installed
                // nowhere, and no handler runs on it.
                unsafe { memory::unmap(map, len) };
            }
        }
        self.ours()
    }

    /// What the thread had before ours.
    pub(super) fn old(&self) -> Stack {
        match self.old_size.load(Relaxed) {
            0 => Stack::NONE,
            size => {
                let disarmed = self.old_disarmed.load(Relaxed) != 0;
                Stack::new(self.old_base.load(Relaxed), size).disarmed_by_handlers(disarmed)
            }
        }
    }

    /// Notes what the thread had before ours.
    pub(super) fn note_old(&self, old: &Stack) {
        let size = if old.enabled() { old.size() } else { 0 };
        self.old_base.store(old.base(), Relaxed);
        self.old_disarmed.store(u32::from(old.is_disarmed_by_handlers()), Relaxed);
        self.old_size.store(size, Relaxed);
    }

    /// Whether it is known of an address on a stack whether a handler runs there.
    pub(crate) fn knows(&self, address: usize) -> bool {
        self.known.holds(address) || self.holds(address)
    }

    /// Has [`Readiness::prepare`] find out again.
    pub(crate) fn forget_known(&self) {
        self.known.set(0, 0);
    }

    /// Whether what Linux says is in effect is what is noted, or a part of it for the time of a
    /// handler's callback.
    pub(super) fn is_noted(&self, now: &Stack) -> bool {
        let (base, size) = self.bounds();
        let part_of = |lo: usize, len: usize| {
            now.base() >= lo && now.base() + now.size() <= lo.saturating_add(len)
        };
        if !now.enabled() {
            return size == 0;
        }
        part_of(base, size) || self.ours().is_some_and(|ours| part_of(ours.base(), ours.size()))
    }

    /// Notes what is in effect.
    ///
    /// # Safety
    /// This thread has, or had a moment ago, this signal stack, or none.
    pub(super) unsafe fn note_in_effect(&self, stack: &Stack) {
        let (base, size) = self.bounds();
        if (base, size) != (stack.base(), stack.size()) {
            // The thread has taken away the other copy's, if it was on one. That is not written to.
            self.joined.store(0, Relaxed);
            let is_ours = self.ours().is_some_and(|ours| ours.base() == stack.base());
            if !is_ours {
                // SAFETY: this thread has it, or had it a moment ago, by this function's own contract.
                unsafe { self.join_shared(stack) };
            }
            if valgrind::watches() {
                self.tell(if is_ours { &Stack::NONE } else { stack });
            }
        }
        self.base.store(stack.base(), Relaxed);
        self.size.store(if stack.enabled() { stack.size() } else { 0 }, Relaxed);
    }

    /// Tells valgrind of the signal stack in effect, which is not ours, and no more of the last one.
    #[cold]
    fn tell(&self, theirs: &Stack) {
        let last = self.tool_of_theirs.swap(0, Relaxed);
        if last != 0 {
            valgrind::stack_unmapped(last);
        }
        if theirs.enabled() {
            let number = valgrind::stack_mapped(theirs.base(), theirs.base() + theirs.size());
            self.tool_of_theirs.store(number, Relaxed);
        }
    }

    /// The signal stack in effect: its lowest address and bytes.
    pub(super) fn bounds(&self) -> (usize, usize) {
        (self.base.load(Relaxed), self.size.load(Relaxed))
    }

    /// Whether `address` is on the signal stack in effect, or on ours, where only handlers run.
    /// Ours counts on its own, because it is installed a moment before that is noted.
    pub(crate) fn holds(&self, address: usize) -> bool {
        let (base, size) = self.bounds();
        address.wrapping_sub(base) < size || self.ours().is_some_and(|ours| ours.holds(address))
    }

    /// The upper end of that of the two which an address is on.
    pub(crate) fn end_of(&self, address: usize) -> Option<usize> {
        let (base, size) = self.bounds();
        let in_effect = Stack::new(base, size);
        let ours = self.ours().filter(|ours| ours.holds(address));
        let there = ours.or_else(|| Some(in_effect).filter(|stack| stack.holds(address)))?;
        Some(there.base() + there.size())
    }

    /// Notes whether this thread has fault signals blocked.
    pub(crate) fn note_blocked(&self, needs: Needs) {
        let wanted = needs.handled && needs.unblocked;
        let blocked = wanted && signal::blocked() & signal::faults() != 0;
        self.faults_blocked.store(u32::from(blocked), Relaxed);
    }

    /// Whether its callbacks have to unblock them.
    pub(crate) fn blocks_faults(&self) -> bool {
        self.faults_blocked.load(Relaxed) != 0
    }

    /// Whether the signal stack has to be checked again.
    pub(crate) fn needs_checks(&self) -> bool {
        self.checks_left.load(Relaxed) != 0
    }

    /// Whether the signal stack that begins at `base` is ours, and the thread had none. What the
    /// thread has installed since is its own, whether or not that was noticed. If another copy of
    /// needm uses it, handlers of that copy run there.
    pub(crate) fn is_lent(&self, base: usize) -> bool {
        // SAFETY: ours is mapped for as long as this record is the thread's.
        let lent = |ours: Stack| ours.base() == base && !unsafe { shared::is_used(&ours) };
        self.may_stay() && self.ours().is_some_and(lent)
    }

    /// Whether an exiting thread may keep the signal stack in effect: it had none of its own to
    /// put back.
    pub(crate) fn may_stay(&self) -> bool {
        self.old_size.load(Relaxed) == 0
    }

    /// Puts back what the thread had, if ours is still what it has. False if the
    /// thread runs on ours right now.
    pub(crate) fn release(&self) -> bool {
        let was_ready = self.ready.swap(0, Relaxed) != 0;
        // Also if it is not ready: this may have been jumped out of before.
        let ours = self.ours().filter(|ours| ours.base() == self.base.load(Relaxed));
        if !was_ready && ours.is_none() && self.joined.load(Relaxed) != LEFT {
            return true;
        }
        self.forget_known();
        let Some(ours) = ours else {
            self.leave_shared();
            return true;
        };
        // What the thread has changed since stays: it may have unmapped what it had before. A
        // handler in between that changes the signal stack does so for itself only, because its
        // return puts back the one of before.
        let now = Stack::current();
        if !now.enabled() || now.base() != ours.base() {
            return true;
        }
        // SAFETY: ours is mapped for as long as this record is the thread's.
        if unsafe { shared::is_used(&ours) } {
            self.joined.store(LEFT, Relaxed);
            return false;
        }
        self.joined.store(0, Relaxed);
        // SAFETY: it is none, or the one that the thread had installed before ours. The thread
        // keeps it mapped, because it has not changed its signal stack since.
        unsafe { sigaltstack::set_stack(&self.old()) }.is_ok()
    }

    /// Uses a signal stack that this copy has not made.
    ///
    /// # Safety
    /// This thread has, or had a moment ago, this signal stack, or none.
    pub(super) unsafe fn join_shared(&self, stack: &Stack) {
        // SAFETY: the caller promises it; what a thread has had until now it has not unmapped yet.
        let joined = unsafe { shared::join(stack, super::actions::before(SIGSEGV)) };
        self.joined.store(if joined { JOINED } else { 0 }, Relaxed);
    }

    /// On a signal stack of another copy of needm's: this one does not need it any more.
    fn leave_shared(&self) {
        if self.joined.swap(0, Relaxed) == JOINED {
            let (base, size) = self.bounds();
            let noted = Stack::new(base, size);
            if Stack::current().is_same_place(&noted) {
                // SAFETY: it was joined, and Linux says that it is in effect.
                unsafe { shared::leave(&noted) };
            }
        }
    }

    /// The thread has exited: no signal stack is in effect.
    pub(crate) fn forget(&self) {
        self.joined.store(0, Relaxed);
        if valgrind::watches() {
            self.tell(&Stack::NONE);
        }
        self.note_old(&Stack::NONE);
        self.base.store(0, Relaxed);
        self.size.store(0, Relaxed);
        self.checks_left.store(0, Relaxed);
        self.ready.store(0, Relaxed);
        self.faults_blocked.store(0, Relaxed);
        self.forget_known();
    }

    /// Unmaps ours: no thread has it.
    pub(crate) fn unmap(&self, forget: impl FnOnce(usize)) {
        let (map, len) = (self.map.swap(0, Relaxed), self.len.swap(0, Relaxed));
        if map != 0 {
            // SAFETY: no thread has the record, so the stack is not installed anywhere.
            unsafe { memory::unmap(map, len) };
            forget(self.tool.load(Relaxed));
        }
    }
}
