//! This thread's block of thread-local words: `arch/<arch>/tls.S` defines it.
//!
//! Only its own thread reads or writes it, but its signal handlers do so between
//! any two instructions: hence atomics, ordered for the compiler, and one
//! compare-and-swap where a handler may have been first.
//!
//! Invariants:
//! - `bound_epoch` is the gate's value only while `m` is bound to this thread and of that
//!   start of needm; it is withdrawn before `m` is.
//! - `rebind_epoch` is the gate's value only while a callback may take the M that the record
//!   calls the last by one compare-and-swap, with nothing else to be done for the
//!   thread or the M: its signal stack is in order, and there are no hooks to call.
//!
//! # Safety
//! The block lives as long as its thread. What it points to is a row of a table, which stays
//! mapped while a live thread has a record (`lifecycle.rs`).
#![allow(unsafe_code)] // a pointer to thread-local storage

use core::ptr;

use crate::arch::needm_tls_block;
use crate::layout;
use crate::m::M;
use crate::sync::{AtomicPtr, AtomicU32, Relaxed, SeqCst, compiler_fence};
use crate::thread_record::Thread;

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
        // SAFETY: an M that a thread holds is not unmapped; `lifecycle::stop`
        // keeps the table while a live thread's block may point into it.
        unsafe { self.m.load(Relaxed).as_ref() }
    }

    /// Makes `m` current where `before` was: the last step of needm, and the first of
    /// dropm. False if a handler has found `before` gone with an earlier start of needm, and
    /// has published another.
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

    /// The gate's value with which the steady path may be taken, or 0.
    pub(crate) fn bound_epoch(&self) -> u32 {
        self.bound_epoch.load(Relaxed)
    }

    /// Says for which value of the gate the steady path may be taken.
    pub(crate) fn set_bound_epoch(&self, gate: u32) {
        self.bound_epoch.store(gate, Relaxed);
    }

    /// Says for which value of the gate the last M may be bound again unasked.
    pub(crate) fn set_rebind_epoch(&self, gate: u32) {
        self.rebind_epoch.store(gate, Relaxed);
    }

    /// Says that this thread has no M, and has to ask for the next.
    pub(crate) fn withdraw(&self) {
        self.rebind_epoch.store(0, Relaxed);
        self.bound_epoch.store(0, Relaxed);
        compiler_fence(SeqCst);
        self.m.store(ptr::null_mut(), Relaxed);
    }

    /// This thread's record.
    pub(crate) fn thread(&self) -> Option<&'static Thread> {
        // SAFETY: a live thread's record is not unmapped (`thread::stop`).
        unsafe { self.thread.load(Relaxed).as_ref() }
    }

    /// Sets the record, unless a signal handler has set one first.
    pub(crate) fn set_thread(&self, thread: &'static Thread) -> Result<(), ()> {
        let fresh = ptr::from_ref(thread).cast_mut();
        let set = self.thread.compare_exchange(ptr::null_mut(), fresh, SeqCst, SeqCst);
        set.map(drop).map_err(drop)
    }

    /// Forgets the record.
    pub(crate) fn clear_thread(&self) {
        self.withdraw();
        self.thread.store(ptr::null_mut(), Relaxed);
    }
}
