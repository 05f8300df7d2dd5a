//! The signal stack of a foreign thread: minit's half that belongs to signals.
//!
//! A fault that is a stack overflow can only be handled on another stack, so a
//! thread that runs callbacks needs one. One that the thread brought, and that is
//! large enough, is used as it is; else ours is installed, and stays with the
//! thread until it detaches or ends.
//!
//! A handler on the signal stack may call back. Its callback runs on a G, where the
//! kernel does not see that the signal stack is in use, and would start the next
//! handler, or ours for a fault, at its top, over the first one's frames. So for the
//! time of such a callback the thread's signal stack is what is left below the
//! handler, or ours where the handler is on the thread's own. This can only be set
//! from the G, and all signals are held from before the switch until it is done.
//!
//! What was found and what was installed are two things: only what is still
//! ours is ever taken out again.
//!
//! A handler's return puts back the signal stack of before the signal
//! (`restore_altstack` in linux/kernel/signal.c), so what is installed from inside
//! a handler may be gone later. A thread whose first callback found signals
//! blocked may be in one: it is not trusted, which keeps its callbacks on the slow
//! path, where the stack is looked at again, until it calls with none blocked or
//! has been found in order often enough.
#![allow(unsafe_code)] // a stack that the system writes to

use crate::arch::linux::PAGE;
use crate::arch::needm_sp;
use crate::os::memory::Access;
use crate::os::signal::Stack;
use crate::os::{memory, signal};
use crate::segment::{SIGNALS_HELD, Segment};
use crate::signal::FAULTS;
use crate::state;
use crate::sync::{AtomicU32, AtomicUsize, Relaxed};
use crate::tools;

/// Looks that find all in order before a thread is trusted.
pub(crate) const LOOKS: u32 = 32;

/// Bytes below a handler that calls back which the callback's end needs there.
pub(crate) const EXIT_ROOM: usize = if tools::WATCH_SWITCHES { 8192 } else { 1024 };

pub(crate) fn mask_of(segment: &Segment) -> u64 {
    let [low, high] = [0, 1].map(|half: usize| segment.mask[half].load(Relaxed) as u64);
    low | high << 32
}

/// Before the switch to a G: no signal until [`Signals::make_way`].
pub(crate) fn hold_signals(segment: &Segment) {
    let mask = signal::block_all();
    #[allow(clippy::cast_possible_truncation)] // its halves
    for (half, bits) in segment.mask.iter().zip([mask as u32, (mask >> 32) as u32]) {
        half.store(bits as usize, Relaxed);
    }
    segment.flags.fetch_or(SIGNALS_HELD, Relaxed);
}

pub(crate) fn let_signals_in(segment: &Segment) {
    if segment.is(SIGNALS_HELD) {
        segment.flags.fetch_and(!SIGNALS_HELD, Relaxed);
        signal::set_blocked(mask_of(segment));
    }
}

/// Puts back the signal stack of before [`Signals::make_way`], and the mask.
pub(crate) fn put_back(segment: &Segment) {
    let size = segment.sig_size.load(Relaxed);
    if size != 0 {
        segment.sig_size.store(0, Relaxed);
        let old = Stack::new(segment.sig_base.load(Relaxed), size);
        // SAFETY: it was installed before this callback.
        let _ = unsafe { signal::stack(Some(&old)) };
    }
    let_signals_in(segment);
}

/// The signal side of a thread's record.
#[repr(C)]
pub(crate) struct Signals {
    /// What is in effect, by our doing or the thread's.
    pub(crate) base: AtomicUsize,
    pub(crate) size: AtomicUsize,
    /// Our stack: mapped once, kept with the record; guarded below.
    pub(crate) map: AtomicUsize,
    pub(crate) len: AtomicUsize,
    /// What the thread had when ours was installed.
    pub(crate) old_base: AtomicUsize,
    pub(crate) old_size: AtomicUsize,
    /// Looks still to come.
    pub(crate) doubts: AtomicU32,
    /// 1 from minit to unminit.
    pub(crate) ready: AtomicU32,
    /// What a checking tool calls our stack.
    pub(crate) tool: AtomicUsize,
}

impl Signals {
    pub(crate) fn ours(&self) -> Option<Stack> {
        let (map, len) = (self.map.load(Relaxed), self.len.load(Relaxed));
        (map != 0).then(|| Stack::new(map + PAGE, len - PAGE))
    }

    pub(crate) fn mapped(&self) -> Option<Stack> {
        if self.map.load(Relaxed) == 0 {
            let size = state::settings().signal_stack_size();
            let len = PAGE + size;
            let map = memory::map(len, Access::None).ok()?;
            // SAFETY: inside the mapping just made.
            let usable = unsafe { memory::protect(map + PAGE, size, Access::ReadWrite) }.is_ok();
            // The same in a handler that calls back meanwhile: the setting does not change.
            self.len.store(len, Relaxed);
            // Such a handler may have mapped one, and its return may leave that installed.
            if usable && self.map.compare_exchange(0, map, Relaxed, Relaxed).is_ok() {
                self.tool.store(tools::stack_mapped(map + PAGE, map + len), Relaxed);
            } else {
                // SAFETY: the mapping just made is not in the record, so it is installed nowhere
                // and no handler runs on it.
                unsafe { memory::unmap(map, len) };
            }
        }
        self.ours()
    }

    pub(crate) fn old(&self) -> Stack {
        match self.old_size.load(Relaxed) {
            0 => Stack::NONE,
            size => Stack::new(self.old_base.load(Relaxed), size),
        }
    }

    pub(crate) fn found(&self, old: &Stack) {
        let size = if old.enabled() { old.size() } else { 0 };
        self.old_base.store(old.base(), Relaxed);
        self.old_size.store(size, Relaxed);
    }

    /// Makes sure that this thread has a signal stack that holds our handler, unless it is
    /// trusted. `careful`: the thread may be in a handler.
    pub(crate) fn minit(&self, careful: bool) {
        if !state::settings().handles_signals() {
            return self.doubts.store(0, Relaxed);
        }
        let fresh = self.ready.load(Relaxed) == 0;
        if !fresh && (self.trusted() || self.holds(needm_sp())) {
            return;
        }
        let doubts = if fresh { LOOKS } else { self.doubts.load(Relaxed) };
        // First: a handler that calls back in between looks for itself.
        self.distrust();
        self.ready.store(1, Relaxed);
        let fine = !fresh && self.is_in_order();
        if !fine {
            self.install();
        }
        // What such a handler's return took away is there again, and stays.
        let sure = !careful || signal::blocked() == 0;
        let left = if sure { 0 } else { doubts.saturating_sub(u32::from(fine)) };
        self.doubts.store(left, Relaxed);
    }

    /// Whether a signal stack is installed that holds our handler.
    pub(crate) fn is_in_order(&self) -> bool {
        // SAFETY: only a question.
        let now = unsafe { signal::stack(None) }.unwrap_or(Stack::NONE);
        let fine = now.enabled() && now.size() >= state::settings().least_signal_stack();
        if fine && self.size.load(Relaxed) == 0 {
            // In a handler that has interrupted the first look.
            self.in_effect(&now);
        }
        fine
    }

    /// Whether the thread still has the one of its own that it had when last looked at.
    pub(crate) fn brings_the_same(&self) -> bool {
        let (base, size) = self.bounds();
        if size == 0 || self.ours().is_some_and(|ours| ours.base() == base) {
            return false;
        }
        // SAFETY: only a question.
        let now = unsafe { signal::stack(None) };
        now.is_ok_and(|now| now.enabled() && (now.base(), now.size()) == (base, size))
    }

    pub(crate) fn install(&self) {
        if self.brings_the_same() {
            return;
        }
        let Some(ours) = self.mapped() else { return };
        // SAFETY: ours stays mapped for as long as this record is the thread's.
        // Refused where the thread runs on its own right now, which then stays.
        let Ok(old) = (unsafe { signal::stack(Some(&ours)) }) else {
            // SAFETY: only a question.
            return self.in_effect(&unsafe { signal::stack(None) }.unwrap_or(Stack::NONE));
        };
        self.in_effect(&ours);
        if old.enabled() && old.base() == ours.base() {
            return;
        }
        self.found(&old);
        if old.enabled() && old.size() >= state::settings().least_signal_stack() {
            // First: a handler that comes in between is on one of the two.
            self.in_effect(&old);
            // SAFETY: it was installed before, and is the thread's own.
            let _ = unsafe { signal::stack(Some(&old)) };
            self.found(&Stack::NONE);
        }
    }

    pub(crate) fn in_effect(&self, stack: &Stack) {
        self.base.store(stack.base(), Relaxed);
        self.size.store(if stack.enabled() { stack.size() } else { 0 }, Relaxed);
    }

    /// The signal stack in effect: its lowest address and bytes.
    pub(crate) fn bounds(&self) -> (usize, usize) {
        (self.base.load(Relaxed), self.size.load(Relaxed))
    }

    /// Whether `address` is on it, or on ours, on which nothing runs but handlers: it is
    /// installed a moment before that is noted.
    pub(crate) fn holds(&self, address: usize) -> bool {
        let (base, size) = self.bounds();
        address.wrapping_sub(base) < size || self.ours().is_some_and(|ours| ours.holds(address))
    }

    /// What is left of it below a caller.
    pub(crate) fn below(&self, caller: usize) -> Stack {
        let base = match self.ours() {
            Some(ours) if !ours.holds(caller) => return ours,
            Some(ours) => ours.base(),
            None => self.bounds().0,
        };
        Stack::new(base, caller.saturating_sub(base + EXIT_ROOM) & !15)
    }

    /// Whether what is left holds our own handler.
    pub(crate) fn has_room_below(&self, caller: usize) -> bool {
        self.below(caller).size() >= state::settings().least_signal_stack()
    }

    /// On the G: what is left below the handler becomes the signal stack. If that is
    /// too little for handlers that call back in their turn, none are let in.
    pub(crate) fn make_way(&self, segment: &Segment) {
        let left = self.below(segment.call.load(Relaxed) as usize);
        // SAFETY: it is part of the thread's signal stack, or the whole of ours, and
        // nothing stands on it.
        if let Ok(old) = unsafe { signal::stack(Some(&left)) } {
            segment.sig_base.store(old.base(), Relaxed);
            segment.sig_size.store(old.size(), Relaxed);
        }
        let least = state::settings().least_signal_stack();
        if left.size() < 2 * least {
            let faults = FAULTS.into_iter().fold(0, |mask, fault| mask | signal::bit(fault));
            signal::set_blocked(mask_of(segment) | !faults);
        } else {
            let_signals_in(segment);
        }
    }

    /// Whether the signal stack can be relied on without looking again.
    pub(crate) fn trusted(&self) -> bool {
        self.doubts.load(Relaxed) == 0
    }

    /// Has the next callback look again.
    pub(crate) fn distrust(&self) {
        if state::settings().handles_signals() {
            self.doubts.store(LOOKS, Relaxed);
        }
    }

    /// Whether a thread that is ending may keep what is in effect: it brought none.
    pub(crate) fn may_stay(&self) -> bool {
        self.old_size.load(Relaxed) == 0
    }

    /// Puts back what the thread had, if ours is still what it has. False if the
    /// thread runs on ours right now.
    pub(crate) fn unminit(&self) -> bool {
        if self.ready.swap(0, Relaxed) == 0 {
            return true;
        }
        let ours = self.ours().filter(|ours| ours.base() == self.base.load(Relaxed));
        let Some(ours) = ours else { return true };
        // SAFETY: the thread brought it, or it is none.
        match unsafe { signal::stack(Some(&self.old())) } {
            Ok(was) if was.enabled() && was.base() != ours.base() => {
                // The thread has put another there since: it stays.
                // SAFETY: it was installed a moment ago.
                let _ = unsafe { signal::stack(Some(&was)) };
                true
            }
            Ok(_) => true,
            Err(_) => {
                // SAFETY: only a question.
                let now = unsafe { signal::stack(None) };
                !now.is_ok_and(|now| now.base() == ours.base())
            }
        }
    }

    /// The thread is gone, and what it had with it.
    pub(crate) fn forget(&self) {
        self.found(&Stack::NONE);
        self.in_effect(&Stack::NONE);
        self.doubts.store(0, Relaxed);
        self.ready.store(0, Relaxed);
    }

    /// Unmaps ours: no thread has it.
    pub(crate) fn unmap(&self) {
        let (map, len) = (self.map.swap(0, Relaxed), self.len.swap(0, Relaxed));
        if map != 0 {
            // SAFETY: the record is nobody's, so the stack is not installed.
            unsafe { memory::unmap(map, len) };
            tools::stack_unmapped(self.tool.load(Relaxed));
        }
    }
}
