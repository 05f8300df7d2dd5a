//! The signal stack of a foreign thread: minit's half that belongs to signals.
//!
//! A fault that is a stack overflow can only be handled on another stack, so a
//! thread that runs callbacks needs one. One that the thread brought, and that is
//! large enough, is used as it is; else ours is installed, and stays with the
//! thread until it detaches or ends.
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

use crate::arch::PAGE;
use crate::os::memory::{self, Access};
use crate::os::signal::{self, Stack};
use crate::runtime;
use crate::sync::{AtomicU32, AtomicUsize, Relaxed};

/// Looks that find all in order before a thread is trusted.
const LOOKS: u32 = 32;

/// The signal side of a thread's record.
#[repr(C)]
pub(crate) struct Signals {
    /// Our stack: mapped once, kept with the record; guarded below.
    map: AtomicUsize,
    len: AtomicUsize,
    /// What the thread had when ours was installed.
    old_base: AtomicUsize,
    old_size: AtomicUsize,
    /// Looks still to come.
    doubts: AtomicU32,
    /// 1 from minit to unminit.
    ready: AtomicU32,
}

impl Signals {
    fn ours(&self) -> Option<Stack> {
        let (map, len) = (self.map.load(Relaxed), self.len.load(Relaxed));
        (map != 0).then(|| Stack::new(map + PAGE, len - PAGE))
    }

    fn mapped(&self) -> Option<Stack> {
        if self.map.load(Relaxed) == 0 {
            let size = runtime::settings().signal_stack_size();
            let len = PAGE + size;
            let map = memory::map(len, Access::None).ok()?;
            // SAFETY: inside the mapping just made.
            unsafe { memory::protect(map + PAGE, size, Access::ReadWrite) }.ok()?;
            self.len.store(len, Relaxed);
            self.map.store(map, Relaxed);
        }
        self.ours()
    }

    fn old(&self) -> Stack {
        match self.old_size.load(Relaxed) {
            0 => Stack::NONE,
            size => Stack::new(self.old_base.load(Relaxed), size),
        }
    }

    fn found(&self, old: &Stack) {
        let size = if old.enabled() { old.size() } else { 0 };
        self.old_base.store(old.base(), Relaxed);
        self.old_size.store(size, Relaxed);
    }

    /// Makes sure that this thread has a signal stack that holds our handler.
    /// `careful`: the thread may be in a handler.
    pub(crate) fn minit(&self, careful: bool) {
        if !runtime::settings().handles_signals() {
            return;
        }
        if self.ready.load(Relaxed) == 1 {
            return;
        }
        self.ready.store(1, Relaxed);
        self.doubts.store(0, Relaxed);
        self.install();
        if careful && signal::blocked() != 0 {
            self.doubts.store(LOOKS, Relaxed);
        }
    }

    fn install(&self) {
        let Some(ours) = self.mapped() else { return };
        // SAFETY: ours stays mapped for as long as this record is the thread's.
        // Refused where the thread runs on its own right now, which then stays.
        let Ok(old) = (unsafe { signal::stack(Some(&ours)) }) else { return };
        if old.enabled() && old.base() == ours.base() {
            return;
        }
        self.found(&old);
        if old.enabled() && old.size() >= runtime::settings().least_signal_stack() {
            // SAFETY: it was installed before, and is the thread's own.
            let _ = unsafe { signal::stack(Some(&old)) };
            self.found(&Stack::NONE);
        }
    }

    /// Whether the signal stack can be relied on without looking again.
    pub(crate) fn trusted(&self) -> bool {
        self.doubts.load(Relaxed) == 0
    }

    /// Looks again, and mends what is not in order.
    pub(crate) fn look(&self) {
        let doubts = self.doubts.load(Relaxed);
        // SAFETY: only a question.
        let now = unsafe { signal::stack(None) };
        let fine = now.is_ok_and(|now| {
            now.enabled() && now.size() >= runtime::settings().least_signal_stack()
        });
        if !fine {
            self.install();
        }
        let left = if signal::blocked() == 0 { 0 } else { doubts.saturating_sub(u32::from(fine)) };
        self.doubts.store(left, Relaxed);
    }

    /// Puts back what the thread had, if ours is still what it has. False if the
    /// thread runs on ours right now.
    pub(crate) fn unminit(&self) -> bool {
        if self.ready.swap(0, Relaxed) == 0 {
            return true;
        }
        let Some(ours) = self.ours() else { return true };
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
        self.doubts.store(0, Relaxed);
        self.ready.store(0, Relaxed);
    }

    /// Unmaps ours: no thread has it.
    pub(crate) fn unmap(&self) {
        let (map, len) = (self.map.swap(0, Relaxed), self.len.swap(0, Relaxed));
        if map != 0 {
            // SAFETY: the record is nobody's, so the stack is not installed.
            unsafe { memory::unmap(map, len) };
        }
    }
}
