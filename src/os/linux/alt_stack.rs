//! The alternate signal stack of a foreign thread.
//!
//! A fault that is a stack overflow can only be handled on another stack, so a thread that
//! runs callbacks needs a signal stack. One that the thread has already is used if it is large
//! enough. Else needm installs one of its own, "ours" below, which stays with the thread until
//! it detaches or exits.
//!
//! A handler on the signal stack may call back. Its callback runs on a G, so Linux does not see
//! that the signal stack is in use: it would start the next handler, or ours for a fault, at
//! the top of that stack, over the first handler's frames. So while such a callback runs,
//! another signal stack is installed: the whole of ours if the handler is on the thread's own,
//! else the part that is free below the handler. Only code on the G can install it, and all
//! signals are blocked from before the switch until that is done.
//!
//! The stack that the thread had before and the one that is installed are noted separately:
//! needm removes a signal stack only if it is still ours.
//!
//! When a handler returns, Linux puts back the signal stack of before the signal
//! (`restore_altstack` in linux/kernel/signal.c), so a stack that was installed inside a handler
//! may be gone later. If a thread's first callback found signals blocked, the thread may have
//! been in a handler. Its callbacks then stay on the slow path and check the signal stack,
//! until one finds no signal blocked, or [`CHECKS`] of them have found the stack in order.
//!
//! # Safety
//! A stack that is installed here is the thread's own, or ours. The thread keeps its own
//! mapped for as long as it lets Linux run handlers there. Ours is unmapped only when no
//! thread has the record. Fields are atomics because the thread's handlers use them, too, and
//! so does a thread that reaps the record of an exited one.

use super::memory;
pub(crate) use super::signal::Stack;
use super::signal::{self, C_LIBRARY, FAULTS, SIGKILL};
use crate::arch::needm_sp;
use crate::error::Error;
use crate::os::terms::{Access, Needs};
use crate::sync::{AtomicU32, AtomicUsize, Relaxed};

/// Successful checks before a thread is no longer checked.
const CHECKS: u32 = 32;

impl Stack {
    /// The one that Linux has for this thread now.
    pub(crate) fn current() -> Self {
        signal::current_stack().unwrap_or(Self::NONE)
    }
}

/// What a callback that was made from a handler keeps in its segment: the signal stack and
/// the mask to put back at its end.
#[repr(C)]
pub(crate) struct Kept {
    base: AtomicUsize,
    /// 0 if no signal stack is to be put back.
    size: AtomicUsize,
    /// The mask's halves. No mask has the bit of `SIGKILL`, which cannot be blocked
    /// (sigprocmask(2)): here it says that there is one to put back.
    mask: [AtomicUsize; 2],
}

/// The mark in [`Kept::mask`]: a mask is kept.
const HELD: u64 = 1 << (SIGKILL - 1);

impl Kept {
    /// Nothing is kept.
    pub(crate) fn clear(&self) {
        self.size.store(0, Relaxed);
        self.mask[0].store(0, Relaxed);
    }

    /// Blocks all signals until [`Readiness::make_way`].
    pub(crate) fn hold(&self) {
        let mask = signal::block_all() | HELD;
        #[allow(clippy::cast_possible_truncation)] // its halves; the one with the mark last
        let [low, high] = [mask as u32, (mask >> 32) as u32];
        self.mask[1].store(high as usize, Relaxed);
        self.mask[0].store(low as usize, Relaxed);
    }

    /// The mask to put back, if there is one.
    fn held(&self) -> Option<u64> {
        let [low, high] = [0, 1].map(|half: usize| self.mask[half].load(Relaxed) as u64);
        (low & HELD != 0).then_some((low | high << 32) & !HELD)
    }

    /// Puts back the mask.
    fn let_signals_in(&self) {
        if let Some(mask) = self.held() {
            self.mask[0].store(0, Relaxed);
            signal::set_blocked(mask);
        }
    }

    /// Puts back the signal stack of before [`Readiness::make_way`], and the mask.
    pub(crate) fn put_back(&self) {
        let size = self.size.load(Relaxed);
        if size != 0 {
            self.size.store(0, Relaxed);
            let old = Stack::new(self.base.load(Relaxed), size);
            // SAFETY: it was the thread's signal stack when this callback began, and stays mapped:
            // ours for as long as the record is the thread's, the thread's own by the thread.
            let _ = unsafe { signal::set_stack(&old) };
        }
        self.let_signals_in();
    }
}

/// The signal stack's part of a thread's record.
#[repr(C)]
pub(crate) struct Readiness {
    /// The signal stack in effect, ours or the thread's own. Assembly reads both words.
    pub(crate) base: AtomicUsize,
    pub(crate) size: AtomicUsize,
    /// Our stack: mapped once, kept with the record; a guard page below.
    map: AtomicUsize,
    len: AtomicUsize,
    /// What the thread had when ours was installed.
    old_base: AtomicUsize,
    old_size: AtomicUsize,
    /// 1 if Linux disables that while a handler runs on it (`SS_AUTODISARM`).
    old_disarmed: AtomicU32,
    /// Successful checks of the signal stack before we stop checking.
    checks_left: AtomicU32,
    /// 1 from [`Readiness::prepare`] to [`Readiness::release`].
    ready: AtomicU32,
    /// The number that valgrind has given our stack.
    tool: AtomicUsize,
}

impl Readiness {
    /// Our stack, if it is mapped.
    fn ours(&self) -> Option<Stack> {
        let (map, len) = (self.map.load(Relaxed), self.len.load(Relaxed));
        let guard = memory::page_size();
        (map != 0).then(|| Stack::new(map + guard, len - guard))
    }

    /// Our stack, mapped now if it was not.
    fn mapped(&self, needs: Needs, tell: impl FnOnce(usize, usize) -> usize) -> Option<Stack> {
        if self.map.load(Relaxed) == 0 {
            let guard = memory::page_size();
            let len = guard + needs.stack;
            let map = memory::map(len, Access::None).ok()?;
            // SAFETY: inside the mapping just made, which nothing uses yet.
            let made = unsafe { memory::protect(map + guard, needs.stack, Access::ReadWrite) };
            // A handler that calls back meanwhile stores the same: it has the same needs.
            self.len.store(len, Relaxed);
            // Such a handler may have mapped one, and its return may leave that installed.
            if made.is_ok() && self.map.compare_exchange(0, map, Relaxed, Relaxed).is_ok() {
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
    fn old(&self) -> Stack {
        match self.old_size.load(Relaxed) {
            0 => Stack::NONE,
            size => {
                let disarmed = self.old_disarmed.load(Relaxed) != 0;
                Stack::new(self.old_base.load(Relaxed), size).disarmed_by_handlers(disarmed)
            }
        }
    }

    /// Notes what the thread had before ours.
    fn note_old(&self, old: &Stack) {
        let size = if old.enabled() { old.size() } else { 0 };
        self.old_base.store(old.base(), Relaxed);
        self.old_disarmed.store(u32::from(old.is_disarmed_by_handlers()), Relaxed);
        self.old_size.store(size, Relaxed);
    }

    /// Makes sure that this thread has a signal stack that holds our handler, unless that
    /// was checked often enough. `careful`: the thread may be in a handler.
    pub(crate) fn prepare(
        &self,
        careful: bool,
        needs: Needs,
        tell: impl FnOnce(usize, usize) -> usize,
    ) -> Result<(), Error> {
        if !needs.handled {
            self.checks_left.store(0, Relaxed);
            return Ok(());
        }
        let fresh = self.ready.load(Relaxed) == 0;
        if !fresh && (!self.needs_checks() || self.holds(needm_sp())) {
            return Ok(());
        }
        let checks_left = if fresh { CHECKS } else { self.checks_left.load(Relaxed) };
        // First: a handler that calls back in between checks for itself.
        self.check_again(needs);
        self.ready.store(1, Relaxed);
        let fine = !fresh && self.is_in_order(needs);
        if !fine && let Err(error) = self.install(needs, tell) {
            self.ready.store(0, Relaxed);
            return Err(error);
        }
        // With no signal blocked the thread is in no handler, whose return could undo this.
        let sure = !careful || signal::blocked() == 0;
        let left = if sure { 0 } else { checks_left.saturating_sub(u32::from(fine)) };
        self.checks_left.store(left, Relaxed);
        Ok(())
    }

    /// Whether a signal stack is installed that holds our handler.
    fn is_in_order(&self, needs: Needs) -> bool {
        let now = Stack::current();
        let fine = now.enabled() && now.size() >= needs.least;
        if fine && self.size.load(Relaxed) == 0 {
            // This handler has interrupted the first check, before that noted the stack.
            self.note_in_effect(&now);
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
            return Ok(());
        }
        let Some(ours) = self.mapped(needs, tell) else {
            let own = Stack::current();
            if !own.enabled() || own.size() < needs.least {
                return Err(Error::NoMemory);
            }
            self.note_in_effect(&own);
            return Ok(());
        };
        // SAFETY: ours stays mapped for as long as this record is the thread's.
        let Ok(old) = (unsafe { signal::set_stack(&ours) }) else {
            // Linux refuses if the thread runs on its own one right now, which then stays. A
            // sandbox refuses always.
            let own = signal::current_stack().ok().filter(Stack::in_use);
            self.note_in_effect(&own.ok_or(Error::System)?);
            return Ok(());
        };
        self.note_in_effect(&ours);
        if old.enabled() && old.base() == ours.base() {
            return Ok(());
        }
        self.note_old(&old);
        if old.enabled() && old.size() >= needs.least {
            // Noted before it is put back: a handler in between runs on one of the two, and `holds`
            // knows both.
            self.note_in_effect(&old);
            // SAFETY: the thread had it installed a moment ago.
            let _ = unsafe { signal::set_stack(&self.old()) };
            self.note_old(&Stack::NONE);
        }
        Ok(())
    }

    /// Notes what is in effect.
    fn note_in_effect(&self, stack: &Stack) {
        self.base.store(stack.base(), Relaxed);
        self.size.store(if stack.enabled() { stack.size() } else { 0 }, Relaxed);
    }

    /// The signal stack in effect: its lowest address and bytes.
    pub(crate) fn bounds(&self) -> (usize, usize) {
        (self.base.load(Relaxed), self.size.load(Relaxed))
    }

    /// Whether `address` is on the signal stack in effect, or on ours, where only handlers run.
    /// Ours counts on its own, because it is installed a moment before that is noted.
    pub(crate) fn holds(&self, address: usize) -> bool {
        let (base, size) = self.bounds();
        address.wrapping_sub(base) < size || self.ours().is_some_and(|ours| ours.holds(address))
    }

    /// The signal stack for the time of a callback whose `caller` is a handler: ours if the handler
    /// is not on it, else what is free below the handler.
    fn below(&self, caller: usize, needs: Needs) -> Stack {
        let base = match self.ours() {
            Some(ours) if !ours.holds(caller) => return ours,
            Some(ours) => ours.base(),
            None => self.bounds().0,
        };
        Stack::new(base, caller.saturating_sub(base + needs.exit_room) & !15)
    }

    /// Whether that stack holds our own handler.
    pub(crate) fn has_room_below(&self, caller: usize, needs: Needs) -> bool {
        self.below(caller, needs).size() >= needs.least
    }

    /// On the G: installs the stack of [`Readiness::below`]. If it is too small for another handler
    /// that calls back, all signals stay blocked but faults, and those for which the C library
    /// waits: its handlers are small, and do not call back.
    pub(crate) fn make_way(&self, kept: &Kept, caller: usize, needs: Needs) {
        let left = self.below(caller, needs);
        // SAFETY: it is the part of the thread's signal stack below all frames there, or the whole
        // of ours, on which no frame is.
        if let Ok(old) = unsafe { signal::set_stack(&left) } {
            kept.base.store(old.base(), Relaxed);
            kept.size.store(old.size(), Relaxed);
        }
        if left.size() < 2 * needs.least {
            let open = FAULTS.into_iter().chain(C_LIBRARY);
            let open = open.fold(0, |mask, signal| mask | signal::bit(signal));
            signal::set_blocked(kept.held().unwrap_or(0) | !open);
        } else {
            kept.let_signals_in();
        }
    }

    /// Whether the signal stack has to be checked again.
    pub(crate) fn needs_checks(&self) -> bool {
        self.checks_left.load(Relaxed) != 0
    }

    /// Has the next callback check.
    pub(crate) fn check_again(&self, needs: Needs) {
        if needs.handled {
            self.checks_left.store(CHECKS, Relaxed);
        }
    }

    /// Whether the signal stack in effect is ours, and the thread had none.
    pub(crate) fn is_lent(&self) -> bool {
        let in_effect = self.base.load(Relaxed);
        self.may_stay() && self.ours().is_some_and(|ours| ours.base() == in_effect)
    }

    /// Whether an exiting thread may keep the signal stack in effect: it had none of its own to
    /// put back.
    pub(crate) fn may_stay(&self) -> bool {
        self.old_size.load(Relaxed) == 0
    }

    /// Puts back what the thread had, if ours is still what it has. False if the
    /// thread runs on ours right now.
    pub(crate) fn release(&self) -> bool {
        if self.ready.swap(0, Relaxed) == 0 {
            return true;
        }
        let ours = self.ours().filter(|ours| ours.base() == self.base.load(Relaxed));
        let Some(ours) = ours else { return true };
        // What the thread has changed since stays: it may have unmapped what it had before. A
        // handler in between that changes the signal stack does so for itself only, because its
        // return puts back the one of before.
        let now = Stack::current();
        if !now.enabled() || now.base() != ours.base() {
            return true;
        }
        // SAFETY: it is none, or the one that the thread had installed before ours. The thread
        // keeps it mapped, because it has not changed its signal stack since.
        unsafe { signal::set_stack(&self.old()) }.is_ok()
    }

    /// The thread has exited: no signal stack is in effect.
    pub(crate) fn forget(&self) {
        self.note_old(&Stack::NONE);
        self.note_in_effect(&Stack::NONE);
        self.checks_left.store(0, Relaxed);
        self.ready.store(0, Relaxed);
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
