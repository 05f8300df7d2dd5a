// SPDX-License-Identifier: MIT OR Apache-2.0
//! This thread's block of thread-local words: `arch/<arch>/tls.S` defines it.
//!
//! Only its own thread reads or writes the block, but the thread's signal handlers do so
//! between any two instructions. So the words are atomics, ordered for the compiler, and a
//! compare-and-swap stands where a handler may have been first.
//!
//! Invariants (the gate's value contains the epoch, the number of needm's start: `gate.rs`):
//! - `bound_epoch` equals the gate's value only while `m` is bound to this thread and was made
//!   in that start of needm. It is cleared before `m` is.
//! - `rebind_epoch` equals the gate's value only while a callback may bind the thread's last M
//!   with one compare-and-swap and nothing else: the thread's signal stack is in order, and
//!   there are no hooks to call.
//! - `inside` is an address on a G only while this thread runs needm's code there, below that
//!   address, in the part of the callback that the address is in. With [`INTERRUPTED`] needm's code
//!   waits on another stack as well. After a jump out of needm's code the address stays, until a call of
//!   needm's finds that (`callback/inside.rs`).
//!
//! # Safety
//! The block lives as long as its thread. What it points to is a row of a table. `needm_stop`
//! unmaps no row while any record is live (`lifecycle.rs`), as that of a thread with a pointer in
//! its block is.
#![allow(unsafe_code)] // a pointer to thread-local storage

use core::ptr;

use crate::arch::needm_tls_block;
use crate::layout;
use crate::m::M;
use crate::sync::{AtomicPtr, AtomicU32, AtomicUsize, Relaxed, SeqCst, compiler_fence};
use crate::thread_record::Thread;

/// In `inside`: a handler has interrupted needm's code, and the mark is of a function that the handler
/// has called. Marks are addresses of words, in which this bit is 0.
pub(crate) const INTERRUPTED: usize = 1;

/// What is in the frame that has this mark: a word that nothing else is likely to leave just there.
#[inline]
pub(crate) const fn seal_of(mark: usize) -> usize {
    !mark
}

/// The block.
#[repr(C)]
pub(crate) struct Tls {
    m: AtomicPtr<M>,
    bound_epoch: AtomicU32,
    #[cfg(target_pointer_width = "64")]
    pad: u32,
    thread: AtomicPtr<Thread>,
    rebind_epoch: AtomicU32,
    #[cfg(target_pointer_width = "64")]
    pad_rebind: u32,
    inside: AtomicUsize,
    outermost: AtomicUsize,
}

layout::prove_tls!(Tls);

impl Tls {
    /// This thread's block.
    pub(crate) fn current() -> &'static Self {
        // SAFETY: the block lives as long as its thread does, and the reference
        // does not leave the thread: `Tls` is only passed down.
        unsafe { &*needm_tls_block().cast() }
    }

    /// The block's address: one in this thread's thread-local storage.
    pub(crate) fn address(&self) -> usize {
        ptr::from_ref(self) as usize
    }

    /// The current M.
    pub(crate) fn m(&self) -> Option<&'static M> {
        // SAFETY: null, or a row of the table of Ms, which `lifecycle::stop` unmaps only if no
        // record is live. The record of a thread with a pointer here is.
        unsafe { self.m.load(Relaxed).as_ref() }
    }

    /// Makes `m` current in the place of `before`: the last step of needm, and the first of
    /// dropm. False if a handler was first: it found that `before` is of an earlier start of
    /// needm, and published another M, or C has jumped out of its callback, whose M is still published.
    pub(crate) fn publish(&self, before: Option<&M>, m: Option<&M>, bound_epoch: u32) -> bool {
        let address = |m: Option<&M>| m.map_or(ptr::null_mut(), |m| ptr::from_ref(m).cast_mut());
        self.bound_epoch.store(0, Relaxed);
        compiler_fence(SeqCst);
        let (before, m) = (address(before), address(m));
        let published = self.m.compare_exchange(before, m, Relaxed, Relaxed).is_ok();
        compiler_fence(SeqCst);
        if published {
            self.bound_epoch.store(bound_epoch, Relaxed);
        }
        published
    }

    /// The gate's value for which the bound fast path is allowed, or 0.
    pub(crate) fn bound_epoch(&self) -> u32 {
        self.bound_epoch.load(Relaxed)
    }

    /// Allows the bound fast path while the gate has this value; 0 forbids it.
    pub(crate) fn set_bound_epoch(&self, gate: u32) {
        self.bound_epoch.store(gate, Relaxed);
    }

    /// The gate's value for which the rebind fast path is allowed, or 0.
    pub(crate) fn rebind_epoch(&self) -> u32 {
        self.rebind_epoch.load(Relaxed)
    }

    /// Allows the rebind fast path while the gate has this value; 0 forbids it.
    pub(crate) fn set_rebind_epoch(&self, gate: u32) {
        self.rebind_epoch.store(gate, Relaxed);
    }

    /// Leaves this thread without a current M, and forbids both fast paths.
    pub(crate) fn withdraw(&self) {
        self.rebind_epoch.store(0, Relaxed);
        self.bound_epoch.store(0, Relaxed);
        compiler_fence(SeqCst);
        self.m.store(ptr::null_mut(), Relaxed);
    }

    /// This thread's record.
    pub(crate) fn thread(&self) -> Option<&'static Thread> {
        // SAFETY: null, or this thread's record, which is live: `thread::stop` unmaps no records
        // while one is.
        unsafe { self.thread.load(Relaxed).as_ref() }
    }

    /// Sets the record, unless a signal handler has set one first.
    pub(crate) fn set_thread(&self, thread: &'static Thread) -> Result<(), ()> {
        let fresh = ptr::from_ref(thread).cast_mut();
        let set = self.thread.compare_exchange(ptr::null_mut(), fresh, SeqCst, SeqCst);
        set.map(drop).map_err(drop)
    }

    /// Where this thread is inside needm: an address in the frame of the function that was called
    /// from outside (`callback/inside.rs`); 0 if nowhere.
    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Relaxed)
    }

    /// Whether a handler runs, and has interrupted needm's code on this thread. Only inside needm.
    pub(crate) fn has_interrupted_needm(&self) -> bool {
        self.inside() & INTERRUPTED != 0
    }

    /// While [`Self::has_interrupted_needm`]: where needm's code is that was interrupted first.
    pub(crate) fn outermost(&self) -> usize {
        self.outermost.load(Relaxed)
    }

    /// Notes that. Handlers in between note the same.
    pub(crate) fn set_outermost(&self, mark: usize) {
        self.outermost.store(mark, Relaxed);
    }

    /// Runs `work` until no handler has called needm in its middle. Inside needm.
    pub(crate) fn undisturbed<R>(&self, mut work: impl FnMut() -> R) -> R {
        loop {
            if self.has_interrupted_needm() {
                return work();
            }
            // Such a handler notes a mark.
            self.set_outermost(0);
            compiler_fence(SeqCst);
            let done = work();
            compiler_fence(SeqCst);
            if self.outermost() == 0 {
                return done;
            }
        }
    }

    /// Says where this thread is inside needm, to its own handlers.
    pub(crate) fn set_inside(&self, at: usize) {
        compiler_fence(SeqCst);
        self.inside.store(at, Relaxed);
        compiler_fence(SeqCst);
    }

    /// Forgets the record.
    pub(crate) fn clear_thread(&self) {
        self.withdraw();
        self.thread.store(ptr::null_mut(), Relaxed);
        compiler_fence(SeqCst);
        // A handler may have allowed them in between.
        self.rebind_epoch.store(0, Relaxed);
        self.bound_epoch.store(0, Relaxed);
    }
}
