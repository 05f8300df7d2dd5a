// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread's record: its Ms, what it needs for faults, and how its exit is noticed.
//!
//! The thread that changes `state` to `EXITING` dismantles the record; all others leave it
//! alone, unless that thread has exited, or was jumped out of that.
//!
//! # Safety
//! Pointers in a record lead to rows of tables. `needm_stop` unmaps no row while any record is live
//! or being dismantled (`lifecycle.rs`, `thread::stop`).
#![allow(unsafe_code)] // records are reached by pointers

use crate::barrier;
use crate::error::Error;
use crate::index_list::{Links, List};
use crate::layout;
use crate::m::M;
use crate::os::exit;
use crate::os::exit::Notice;
use crate::os::fault::Readiness;
use crate::state;
use crate::sync::{
    Alone, AtomicPtr, AtomicU32, AtomicUsize, Relaxed, Release, SeqCst, compiler_fence, fence,
};
use crate::table::Table;
use crate::tools;
use core::ops::Range;
use core::ptr;

/// Every record that was ever made.
pub(crate) static THREADS: Table<Thread> = Table::new();

/// Those that are free.
pub(crate) static FREE_THREADS: Alone<List> = Alone(List::new());

impl Links for Table<Thread> {
    fn link(&self, index: u32) -> Option<&AtomicU32> {
        self.get(index).map(|thread| &thread.next)
    }
}

// `state` is one of three phases. Above it is a generation: a count that rises with each thread that gets the
// record. So a thread that has noticed one thread's exit cannot dismantle the record of the next thread. While the record
// is being dismantled, it is the ID of the thread that does.
/// The phase of a record that no thread has.
const FREE: u32 = 0;
/// The phase of a thread's record.
const LIVE: u32 = 1;
/// The phase of a record that is being dismantled.
const EXITING: u32 = 2;
/// The bits of the phase.
const PHASE: u32 = 3;
/// What the generation rises by.
const ONE_GENERATION: u32 = PHASE + 1;

/// With [`EXITING`]: the thread was jumped out of that.
const LEFT: u32 = EXITING;
/// With [`EXITING`]: a thread whose ID is not known.
const BY_UNKNOWN: u32 = !PHASE | EXITING;

/// The state of a record that the thread with this ID dismantles.
fn exiting_by(id: u32) -> u32 {
    match id.checked_mul(ONE_GENERATION) {
        None | Some(0) => BY_UNKNOWN,
        Some(above) => above | EXITING,
    }
}

/// In `in_transfer`: an M is on its way.
const IN_TRANSFER: u32 = 1;
/// In `in_transfer`: a hook runs for one.
const IN_HOOK: u32 = 2;
/// In `in_transfer`: the thread is changing which Ms it holds: `needm/change.rs`.
const IN_CHANGE: u32 = 4;
/// In `in_transfer`: code was jumped out of that had one on its way. It does not go on, and may have left the M out of
/// the chain.
const WAS_LEFT: u32 = 8;

/// A thread's record.
#[repr(C, align(64))]
pub(crate) struct Thread {
    /// The innermost M that is bound to this thread, published or about to be; or one that it has
    /// unbound, most often its last one: `pool::is_held_by` tells.
    pub(crate) m: AtomicPtr<M>,
    /// The M it had last.
    pub(crate) last: AtomicPtr<M>,
    /// The `state` of an M that is on the list and bound to this thread.
    pub(crate) claim: AtomicUsize,
    /// What it needs to be ready for faults.
    pub(crate) ready: Readiness,
    /// Not 0 while this thread binds an M or unbinds one: Ms that say they are its
    /// own may then be missing from the chain that starts at `m`. [`IN_HOOK`] while a hook of the
    /// host's runs for one; [`IN_CHANGE`] from before it claims or withdraws one until a callback runs on it,
    /// or it is free.
    pub(crate) in_transfer: AtomicU32,
    /// 1 while this thread runs a hook and no callback code: `thread/hook.rs`.
    runs_hook: AtomicU32,
    /// 1 once the key's destructor has run and the record is kept until the exit is noted.
    pub(crate) destructor_ran: AtomicU32,
    /// How many waits for an M this thread is in: more than one if a handler waits over another wait.
    pub(crate) waits: AtomicU32,
    /// 1 from the answer of a spawned thread to its callback, which begins also while needm is
    /// closing.
    pub(crate) admitted: AtomicU32,
    /// How its exit is noticed.
    pub(crate) notice: Notice,
    /// A phase, and above it a generation or an ID.
    state: AtomicU32,
    /// The generation, in its place above a phase. Changes before the record becomes a thread's.
    generation: AtomicU32,
    /// The link of the list of free records.
    pub(crate) next: AtomicU32,
    /// Its row.
    pub(crate) index: AtomicU32,
    /// The start of needm that this thread knows of.
    pub(crate) epoch: AtomicU32,
    /// 1 if it has known earlier starts: rows of those may still be reserved for this thread.
    pub(crate) had_earlier_epochs: AtomicU32,
    /// The bounds of the thread's own stack, once asked for: lowest address and end. Before, 0
    /// and 0: `thread/own_stack.rs`.
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
        // SAFETY: set only to rows of the table of Ms. None is unmapped while a record is live or
        // being dismantled, as this one is: only its own thread, and one that reaps it, come here.
        unsafe { self.last.load(Relaxed).as_ref() }
    }

    /// The innermost M that is bound to it, or may be.
    pub(crate) fn held(&self) -> Option<&'static M> {
        // SAFETY: set only to rows of the table of Ms. None is unmapped while a record is live or
        // being dismantled, as this one is: only its own thread, and one that reaps it, come here.
        unsafe { self.m.load(Relaxed).as_ref() }
    }

    /// Marks an M as on its way to or from this thread, and returns the mark of before. If needm
    /// is open now, it is not stopped until [`Thread::end_transfer`].
    pub(crate) fn begin_transfer(&self) -> u32 {
        let was = self.in_transfer.load(Relaxed);
        self.in_transfer.store(was | IN_TRANSFER, Relaxed);
        barrier::order();
        was
    }

    /// As [`Thread::begin_transfer`], for a hook of the host's, which may take long.
    pub(crate) fn mark_hook(&self) -> u32 {
        let was = self.in_transfer.load(Relaxed);
        self.in_transfer.store(was | IN_HOOK, Relaxed);
        barrier::order();
        was
    }

    /// No code of needm's goes on on this thread: takes the marks back that it has left, so that no stop waits for
    /// them. That of a change stays, until what was left of the change is undone.
    pub(crate) fn forget_left_marks(&self) {
        let left = self.in_transfer.load(Relaxed);
        let was_left = if left & (IN_TRANSFER | IN_HOOK) == 0 { 0 } else { WAS_LEFT };
        self.in_transfer.store(left & (IN_CHANGE | WAS_LEFT) | was_left, Relaxed);
    }

    /// Marks this thread as changing which Ms it holds. False if it is marked so already.
    pub(crate) fn mark_change(&self) -> bool {
        let was = self.in_transfer.load(Relaxed);
        self.in_transfer.store(was | IN_CHANGE, Relaxed);
        compiler_fence(SeqCst);
        was & IN_CHANGE == 0
    }

    /// Takes that mark back.
    pub(crate) fn unmark_change(&self) {
        compiler_fence(SeqCst);
        self.in_transfer.store(self.in_transfer.load(Relaxed) & !IN_CHANGE, Relaxed);
    }

    /// Whether it is marked so.
    pub(crate) fn is_in_change(&self) -> bool {
        self.in_transfer.load(Relaxed) & IN_CHANGE != 0
    }

    /// Whether its thread lives, and does not return its Ms because it exits.
    pub(crate) fn is_live_and_stays(&self) -> bool {
        self.state() & PHASE == LIVE && self.destructor_ran.load(Relaxed) == 0
    }

    /// Says whether this thread runs a hook, for which a thread that stops the world waits.
    pub(crate) fn set_runs_hook(&self, runs: bool) {
        self.runs_hook.store(u32::from(runs), Relaxed);
    }

    /// Whether it says so.
    pub(crate) fn runs_hook(&self) -> bool {
        self.is_in_use() && self.runs_hook.load(SeqCst) != 0
    }

    /// Has this thread's next callback begin also while needm is closing, or no longer.
    pub(crate) fn set_admitted(&self, admitted: bool) {
        self.admitted.store(u32::from(admitted), Relaxed);
    }

    /// Whether this thread's next callback begins also while needm is closing.
    pub(crate) fn is_admitted(&self) -> bool {
        self.admitted.load(Relaxed) != 0
    }

    /// Whether a hook runs for an M of this thread.
    pub(crate) fn is_in_hook(&self) -> bool {
        self.is_in_use() && self.in_transfer.load(Relaxed) & IN_HOOK != 0
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

    /// Makes this thread ready for faults in callbacks from about `at`. `careful`: the caller may be a
    /// handler. `is_own` and `own_part` are as in [`Readiness::prepare`].
    pub(crate) fn prepare(
        &self,
        at: usize,
        careful: bool,
        is_own: impl Fn(usize) -> bool,
        own_part: impl Fn(usize) -> Option<Range<usize>>,
    ) -> Result<(), Error> {
        let needs = state::settings().needs();
        self.ready.prepare(at, careful, needs, tools::stack_mapped, is_own, own_part)
    }

    /// Copies to `m` where callbacks come from that are no handler's: the fast path reads it there. No
    /// callback is under way on `m`.
    pub(crate) fn note_known_stack(&self, m: &M) {
        let (lo, len) = self.ready.known();
        if len != 0 && m.known.get() == (lo, len) {
            // Nothing is undone: `M::keep_off_fast_paths` is not in effect, or comes later.
            return;
        }
        m.known.set(lo, len);
        // A thread that asks to interrupt a callback posts its request first, and then has the M
        // kept off the fast paths. So if this has undone that, the request is forgotten, too.
        fence(SeqCst);
        m.base.request.forget();
    }

    /// Whether an M is on its way to or from this thread, or the record is being dismantled.
    pub(crate) fn is_in_transfer(&self) -> bool {
        match self.state() & PHASE {
            FREE => false,
            LIVE => self.in_transfer.load(Relaxed) & (IN_TRANSFER | IN_HOOK) != 0,
            _ => true,
        }
    }

    /// Forgets its Ms.
    pub(crate) fn clear_ms(&self) {
        self.m.store(ptr::null_mut(), Relaxed);
        self.last.store(ptr::null_mut(), Relaxed);
    }

    /// Changes the phase; only for the thread that has the record to itself.
    fn set_phase(&self, phase: u32) {
        self.state.store(self.generation.load(Relaxed) | phase, Release);
    }

    /// Makes the record, which this thread has to itself, that of the next thread.
    pub(crate) fn begin_live(&self) {
        // model: a_record_without_a_generation
        let next = self.generation().wrapping_add(ONE_GENERATION);
        self.generation.store(next, Relaxed);
        // model: a_record_that_is_taken_unordered
        self.state.store(next | LIVE, Release);
    }

    /// Makes the record what it was before [`Thread::begin_exit`].
    pub(crate) fn resume_live(&self) {
        self.set_phase(LIVE);
    }

    /// No thread has it any more.
    pub(crate) fn set_free(&self) {
        self.set_phase(FREE);
    }

    /// Which of the threads that have had it one after another has it now.
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Relaxed)
    }

    /// Whether it is being dismantled.
    pub(crate) fn is_being_dismantled(&self) -> bool {
        self.state() & PHASE == EXITING
    }

    /// Whether a thread has it, or it is being dismantled.
    pub(crate) fn is_in_use(&self) -> bool {
        // model: a_stop_that_unmaps_records_of_the_exiting
        self.state.load(SeqCst) & PHASE != FREE
    }

    /// Its phase and generation.
    pub(crate) fn state(&self) -> u32 {
        self.state.load(SeqCst)
    }

    /// The record's state, if its thread has exited, and no thread dismantles it that goes on with that. With
    /// `ask_system`, a system call asks if nothing else shows it.
    pub(crate) fn seen_exited(&self, ask_system: bool) -> Option<u32> {
        // model: a_reaper_that_looks_too_late
        let state = self.state();
        let has_exited = match state & PHASE {
            LIVE => self.notice.has_exited(ask_system),
            EXITING if ask_system && state != BY_UNKNOWN && state != LEFT => {
                !exit::is_alive(state / ONE_GENERATION)
            }
            _ => state == LEFT,
        };
        has_exited.then_some(state)
    }

    /// The thread with the ID `by` begins to dismantle the record of a thread that has lived until now, if it is
    /// still in `state`. It then has it to itself.
    pub(crate) fn begin_exit(&self, state: u32, by: u32) -> bool {
        state & PHASE == LIVE && self.claim(state, by)
    }

    /// The same where [`Thread::seen_exited`] has returned `state`. What another thread has begun is begun anew.
    pub(crate) fn claim(&self, state: u32, by: u32) -> bool {
        let by = exiting_by(by);
        // model: a_reaper_without_a_claim
        let won = self.state.compare_exchange(state, by, SeqCst, SeqCst).is_ok();
        if won && state & PHASE == EXITING {
            // An M may have been on its way.
            self.in_transfer.store(WAS_LEFT, Relaxed);
        }
        won
    }

    /// If the thread with this ID is dismantling it, any thread may from now on: that one was jumped out of it.
    pub(crate) fn abandon_dismantling(&self, id: u32) {
        let by_it = exiting_by(id);
        if by_it != BY_UNKNOWN {
            let _ = self.state.compare_exchange(by_it, LEFT, SeqCst, Relaxed);
        }
    }

    /// In a forked child: if it is being dismantled, then by this thread, which has another ID than before. Whether it
    /// is.
    pub(crate) fn is_dismantled_in_child(&self, id: u32) -> bool {
        let is_dismantled = self.is_being_dismantled();
        if is_dismantled {
            self.state.store(exiting_by(id), SeqCst);
        }
        is_dismantled
    }
}
