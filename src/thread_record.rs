//! A foreign thread's record: what it holds, and whose it is.
//!
//! The thread that changes `state` to `EXITING` takes the record apart; all others leave it
//! alone.
//!
//! # Safety
//! Pointers in a record lead to rows of tables, which stay mapped while a live thread has a
//! record (`lifecycle.rs`, `thread::stop`).
#![allow(unsafe_code)] // records are reached by pointers

use crate::barrier;
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

// `state`: one of these, and above them a count that rises with each thread that
// gets the record. So a thread that has noticed one thread's exit cannot take the record
// of the next apart.
/// No thread's.
pub(crate) const FREE: u32 = 0;
/// A thread's.
pub(crate) const LIVE: u32 = 1;
/// Being taken apart.
const EXITING: u32 = 2;
/// The bits of the three.
pub(crate) const PHASE: u32 = 3;
/// What the count rises by.
pub(crate) const ONE_GENERATION: u32 = PHASE + 1;

/// A thread's record.
#[repr(C, align(128))]
pub(crate) struct Thread {
    /// The innermost M that this thread holds, published or about to be; or one that it
    /// is about to bind, or has just unbound: `pool::is_held_by` tells.
    pub(crate) m: AtomicPtr<M>,
    /// The M it had last.
    pub(crate) last: AtomicPtr<M>,
    /// What an M's state is that is on the list and held by this thread.
    pub(crate) claim: AtomicUsize,
    /// What it needs to be ready for faults.
    pub(crate) ready: Readiness,
    /// Not 0 while this thread binds an M or unbinds one: Ms that say they are its
    /// own may then be missing from the chain that starts at `m`.
    pub(crate) in_transfer: AtomicU32,
    /// 1 once the key's destructor has run and the record waits for the thread's end.
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
    /// 1 if it has known others: rows of theirs may say that they are its own.
    pub(crate) had_earlier_epochs: AtomicU32,
    /// The thread's own stack, once it was asked for: from, and to; 0 and 0 before,
    /// 1 and 1 if that cannot be told.
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
        // SAFETY: set only to rows of the table, which `lifecycle::stop` keeps
        // for as long as there is a live record of another thread's.
        unsafe { self.last.load(Relaxed).as_ref() }
    }

    /// The innermost M it holds, or may hold.
    pub(crate) fn held(&self) -> Option<&'static M> {
        // SAFETY: set only to rows of the table, which stay mapped while this record is a live
        // thread's.
        unsafe { self.m.load(Relaxed).as_ref() }
    }

    /// Says that an M is on its way to or from this thread; what it said before. If the
    /// needm is open now, it is not stopped until [`Thread::end_transfer`].
    pub(crate) fn begin_transfer(&self) -> u32 {
        let was = self.in_transfer.load(Relaxed);
        self.in_transfer.store(1, Relaxed);
        barrier::order();
        was
    }

    /// Whether it knows of the present start of needm; `None` if that is over.
    pub(crate) fn is_current_epoch(&self) -> Option<bool> {
        state::is_open().then(|| self.epoch.load(Relaxed) == state::epoch())
    }

    /// Says what was said before [`Thread::begin_transfer`].
    pub(crate) fn end_transfer(&self, was: u32) {
        compiler_fence(SeqCst);
        self.in_transfer.store(was, Relaxed);
    }

    /// Makes this thread ready for faults. `careful`: the caller may be a handler.
    pub(crate) fn prepare(&self, careful: bool) {
        self.ready.prepare(careful, state::settings().needs(), tools::stack_mapped);
    }

    /// Has the fast path of `m` know which callers are handlers on the handler stack.
    pub(crate) fn note_handler_stack(&self, m: &M) {
        let (lo, len) = self.ready.bounds();
        m.sig_lo.store(lo, Relaxed);
        m.sig_len.store(len, Relaxed);
    }

    /// Whether an M is on its way to or from this thread, or the record is being taken
    /// apart.
    pub(crate) fn is_in_transfer(&self) -> bool {
        match self.state() & PHASE {
            FREE => false,
            LIVE => self.in_transfer.load(Relaxed) != 0,
            _ => true,
        }
    }

    /// Withdraws its claims to Ms.
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

    /// Whether it is a thread's, or being taken apart.
    pub(crate) fn is_in_use(&self) -> bool {
        // model: a_stop_that_unmaps_records_of_the_exiting
        self.state.load(SeqCst) & PHASE != FREE
    }

    /// Its phase and generation.
    pub(crate) fn state(&self) -> u32 {
        self.state.load(SeqCst)
    }

    /// Takes the record apart, if it is the one that was seen in `state`.
    pub(crate) fn begin_exit(&self, state: u32) -> bool {
        // model: a_reaper_without_a_claim
        state & PHASE == LIVE
            && self.state.compare_exchange(state, state & !PHASE | EXITING, SeqCst, SeqCst).is_ok()
    }
}
