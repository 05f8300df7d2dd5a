// SPDX-License-Identifier: MIT OR Apache-2.0
//! Callbacks that handlers on the signal stack make.
//!
//! A handler on the signal stack may call back. Its callback runs on a G, so Linux does not see
//! that the signal stack is in use: it would start the next handler, or ours for a fault, at
//! the top of that stack, over the first handler's frames. So while such a callback runs,
//! another signal stack is installed: the whole of ours if the handler is on the thread's own,
//! else the part that is free below the handler. Only code on the G can install it, and all
//! signals are blocked from before the switch until that is done.

use super::alt_stack::Readiness;
use super::sigaltstack::{self, Stack};
use super::signal::{self, SIGKILL, SIGSTOP};
use crate::os::terms::Needs;
use crate::sync::{AtomicUsize, Relaxed};

/// What a callback that was made from a handler keeps in its segment: the signal stack and
/// the mask to put back at its end.
#[repr(C)]
pub(crate) struct Kept {
    base: AtomicUsize,
    /// 0 if no signal stack is to be put back, [`DISABLED`] if none is to be in effect.
    size: AtomicUsize,
    /// The mask's halves. No mask has the bit of `SIGKILL`, which cannot be blocked
    /// (sigprocmask(2)): here it says that there is one to put back.
    mask: [AtomicUsize; 2],
}

/// In [`Kept::size`]: Linux had disabled the signal stack while the handler runs (`SS_AUTODISARM`).
const DISABLED: usize = usize::MAX;

/// The mark in [`Kept::mask`]: a mask is kept.
const HELD: u64 = 1 << (SIGKILL - 1);

/// The mark in [`Kept::mask`] that no mask is kept there, but fault signals to block again: the bit of
/// `SIGSTOP`, which cannot be blocked either.
const UNBLOCKED: u64 = 1 << (SIGSTOP - 1);

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

    /// Unblocks the fault signals, and notes which were blocked, unless the whole mask is kept.
    pub(crate) fn unblock_faults(&self) {
        let blocked = signal::unblock(signal::faults()) & signal::faults();
        if blocked != 0 && self.held().is_none() {
            #[allow(clippy::cast_possible_truncation)] // their numbers are below 32
            self.mask[0].store((blocked | UNBLOCKED) as usize, Relaxed);
        }
    }

    /// Blocks the fault signals again that [`Kept::unblock_faults`] has unblocked.
    fn block_faults(&self) {
        let noted = self.mask[0].load(Relaxed) as u64;
        if noted & UNBLOCKED != 0 {
            self.mask[0].store(0, Relaxed);
            signal::block(noted & signal::faults());
        }
    }

    /// C has jumped out of the callback. If another signal stack has been installed since than
    /// [`Readiness::make_way`] had, that one stays.
    pub(crate) fn leave(&self, ready: &Readiness) {
        if self.size.load(Relaxed) != 0 {
            let now = Stack::current();
            if now.enabled() && now.base() != ready.base() {
                self.size.store(0, Relaxed);
            }
        }
    }

    /// Puts back the signal stack of before [`Readiness::make_way`], and the mask.
    pub(crate) fn put_back(&self) {
        let size = self.size.load(Relaxed);
        if size != 0 {
            self.size.store(0, Relaxed);
            let old = match size {
                DISABLED => Stack::NONE,
                _ => Stack::new(self.base.load(Relaxed), size),
            };
            // SAFETY: it was the thread's signal stack when this callback began, and stays mapped:
            // ours for as long as the record is the thread's, the thread's own by the thread.
            let _ = unsafe { sigaltstack::set_stack(&old) };
        }
        self.let_signals_in();
        self.block_faults();
    }
}

impl Readiness {
    /// The signal stack for the time of a callback whose `caller` is a handler: ours if the handler
    /// is not on it, else what is free below the handler.
    fn below(&self, caller: usize, needs: Needs) -> Stack {
        if let Some(ours) = self.ours().filter(|ours| !ours.holds(caller)) {
            return ours;
        }
        let base = self.base();
        Stack::new(base, caller.saturating_sub(base + needs.exit_room) & !15)
    }

    /// Where each such stack begins.
    fn base(&self) -> usize {
        self.ours().map_or_else(|| self.bounds().0, |ours| ours.base())
    }

    /// Whether that stack holds our own handler.
    pub(crate) fn has_room_below(&self, caller: usize, needs: Needs) -> bool {
        self.below(caller, needs).size() >= needs.least
    }

    /// Whether Linux lets the thread change its signal stack. A sandbox may refuse it, and on the G it is
    /// too late to find out.
    #[allow(clippy::unused_self)] // the room for another system may look there
    pub(crate) fn can_make_way(&self) -> bool {
        sigaltstack::current_stack().is_ok()
    }

    /// On the G: installs the stack of [`Readiness::below`]. If it is too small for another handler
    /// that calls back, all signals stay blocked but faults, and those for which the C library
    /// waits: its handlers are small, and do not call back.
    pub(crate) fn make_way(&self, kept: &Kept, caller: usize, needs: Needs) {
        let left = self.below(caller, needs);
        // SAFETY: it is the part of the thread's signal stack below all frames there, or the whole
        // of ours, on which no frame is.
        if let Ok(old) = unsafe { sigaltstack::set_stack(&left) } {
            kept.base.store(old.base(), Relaxed);
            kept.size.store(if old.enabled() { old.size() } else { DISABLED }, Relaxed);
        }
        if left.size() < 2 * needs.least {
            let open = signal::faults() | signal::c_library();
            signal::set_blocked(kept.held().unwrap_or(0) | !open);
        } else {
            kept.let_signals_in();
        }
    }
}
