//! A thread's record: its Ms, what it needs for faults, and how its exit is noticed.
//!
//! The thread that changes `state` to `EXITING` dismantles the record; all others leave it
//! alone.
//!
//! # Safety
//! Pointers in a record lead to rows of tables, which stay mapped while a live thread has a
//! record (`lifecycle.rs`, `thread::stop`).
#![allow(unsafe_code)] // records are reached by pointers

use crate::barrier;
use crate::error::Error;
use crate::index_list::{Links, List};
use crate::layout;
use crate::m::M;
use crate::os::exit::Notice;
use crate::os::fault::Readiness;
use crate::state;
use crate::sync::{AtomicPtr, AtomicU32, AtomicUsize, Relaxed, Release, SeqCst, compiler_fence};
use crate::table::Table;
use crate::tools;
use core::ptr;

/// Every record that was ever made.
pub(crate) static THREADS: Table<Thread> = Table::new();

/// Those that are free.
pub(crate) static FREE_THREADS: List = List::new();

impl Links for Table<Thread> {
    fn link(&self, index: u32) -> Option<&AtomicU32> {
        self.get(index).map(|thread| &thread.next)
    }
}

// `state` is one of three phases, and above it a generation: a count that rises with each
// thread that gets the record. So a thread that has noticed one thread's exit cannot dismantle
// the record of the next thread.
/// The phase of a record that no thread has.
pub(crate) const FREE: u32 = 0;
/// The phase of a thread's record.
pub(crate) const LIVE: u32 = 1;
/// The phase of a record that is being dismantled.
const EXITING: u32 = 2;
/// The bits of the phase.
pub(crate) const PHASE: u32 = 3;
/// What the generation rises by.
pub(crate) const ONE_GENERATION: u32 = PHASE + 1;

/// A thread's record.
#[repr(C, align(128))]
pub(crate) struct Thread {
    /// The innermost M that this thread holds, published or about to be; or one that it
    /// is about to bind, or has just unbound: `pool::is_held_by` tells.
    pub(crate) m: AtomicPtr<M>,
    /// The M it had last.
    pub(crate) last: AtomicPtr<M>,
    /// The `state` of an M that is on the list and bound to this thread.
    pub(crate) claim: AtomicUsize,
    /// What it needs to be ready for faults.
    pub(crate) ready: Readiness,
    /// Not 0 while this thread binds an M or unbinds one: Ms that say they are its
    /// own may then be missing from the chain that starts at `m`.
    pub(crate) in_transfer: AtomicU32,
    /// 1 once the key's destructor has run and the record is kept until the exit is noted.
    pub(crate) destructor_ran: AtomicU32,
    /// How its exit is noticed.
    pub(crate) notice: Notice,
    /// A phase, and above it a generation.
    pub(crate) state: AtomicU32,
    /// The link of the list of free records.
    pub(crate) next: AtomicU32,
    /// Its row.
    pub(crate) index: AtomicU32,
    /// The start of needm that this thread knows of.
    pub(crate) epoch: AtomicU32,
    /// 1 if it has known earlier starts: rows of those may still be reserved for this thread.
    pub(crate) had_earlier_epochs: AtomicU32,
    /// The bounds of the thread's own stack, once asked for: lowest address and end. Before, 0
    /// and 0; 1 and 1 if the system cannot say.
    pub(crate) stack: [AtomicUsize; 2],
}

layout::prove_thread!(Thread);

impl Thread {
    /// Its row.
    pub(crate) fn index(&self) -> u32 {
        self.index.load(Relaxed)
    }

    /// The M it had last, if needm has not been stopped since.
    pub(crate) fn last(&self) -> Option<&'static M> {
        // SAFETY: set only to rows of the table, which stay mapped while this record is a live
        // thread's.
        unsafe { self.last.load(Relaxed).as_ref() }
    }

    /// The innermost M it holds, or may hold.
    pub(crate) fn held(&self) -> Option<&'static M> {
        // SAFETY: set only to rows of the table, which stay mapped while this record is a live
        // thread's.
        unsafe { self.m.load(Relaxed).as_ref() }
    }

    /// Marks an M as on its way to or from this thread, and returns the mark of before. If needm
    /// is open now, it is not stopped until [`Thread::end_transfer`].
    pub(crate) fn begin_transfer(&self) -> u32 {
        let was = self.in_transfer.load(Relaxed);
        self.in_transfer.store(1, Relaxed);
        barrier::order();
        was
    }

    /// Whether the record is of needm's current start; `None` if needm is not open.
    pub(crate) fn is_current_epoch(&self) -> Option<bool> {
        state::is_open().then(|| self.epoch.load(Relaxed) == state::epoch())
    }

    /// Restores the mark of before [`Thread::begin_transfer`].
    pub(crate) fn end_transfer(&self, was: u32) {
        compiler_fence(SeqCst);
        self.in_transfer.store(was, Relaxed);
    }

    /// Makes this thread ready for faults. `careful`: the caller may be a handler.
    pub(crate) fn prepare(&self, careful: bool) -> Result<(), Error> {
        self.ready.prepare(careful, state::settings().needs(), tools::stack_mapped)
    }

    /// Copies the bounds of the handler stack to `m`, where the fast path reads them to recognize
    /// callers that are handlers.
    pub(crate) fn note_handler_stack(&self, m: &M) {
        let (lo, len) = self.ready.bounds();
        m.sig_lo.store(lo, Relaxed);
        m.sig_len.store(len, Relaxed);
    }

    /// Whether an M is on its way to or from this thread, or the record is being dismantled.
    pub(crate) fn is_in_transfer(&self) -> bool {
        match self.state() & PHASE {
            FREE => false,
            LIVE => self.in_transfer.load(Relaxed) != 0,
            _ => true,
        }
    }

    /// Forgets its Ms.
    pub(crate) fn clear_ms(&self) {
        self.m.store(ptr::null_mut(), Relaxed);
        self.last.store(ptr::null_mut(), Relaxed);
    }

    /// Changes the phase; only for the thread that has the record to itself.
    pub(crate) fn set_phase(&self, phase: u32) {
        self.state.store(self.state.load(Relaxed) & !PHASE | phase, Release);
    }

    /// Makes the record what it was before [`Thread::begin_exit`].
    pub(crate) fn resume_live(&self) {
        self.set_phase(LIVE);
    }

    /// Whether a thread has it, or it is being dismantled.
    pub(crate) fn is_in_use(&self) -> bool {
        self.state.load(SeqCst) & PHASE != FREE
    }

    /// Its phase and generation.
    pub(crate) fn state(&self) -> u32 {
        self.state.load(SeqCst)
    }

    /// Begins to dismantle the record, if it is still in `state`. The caller then has it to itself.
    pub(crate) fn begin_exit(&self, state: u32) -> bool {
        state & PHASE == LIVE
            && self.state.compare_exchange(state, state & !PHASE | EXITING, SeqCst, SeqCst).is_ok()
    }
}
