//! The M: what a thread holds while callback code may run on it.
//!
//! The segment of the outermost callback is a field of the M, so that a callback touches
//! nothing on the G before it has passed the gate. The segments of nested callbacks lie beside
//! the stack, not on it: after C has jumped out of a nested callback, code that runs on the G
//! overwrites that part of the stack, but not the segment.
//!
//! An M is a row of a table and never moves. All its fields are atomics, because other code
//! reads them, too: the thread's signal handlers, the visitor of a stopped world, and the
//! thread that reaps an exited one. An ordering other than `Relaxed` is explained where it is
//! used.
//!
//! Invariants:
//! - `seg` is the address of the innermost segment, or 0 outside callbacks, and one bit,
//!   `RUNNING`, which is set only while callback code may run on the G (`running.rs`). A
//!   segment whose `call` is 0 is being entered, and nothing runs on it yet.
//! - The `gsp` of a segment is not 0 exactly while its callback is on the system stack: in C
//!   that it called, or waiting in needm. Below `gsp` the G's stack is free.
//! - `prev_held` chains the Ms that a thread holds, innermost first. It is written before the M
//!   is published and after it is withdrawn.
//!
//! # Safety
//! A segment that a chain leads to is the M's own first one, or lies in the records of its G,
//! which are mapped for as long as the M is. A segment's call is in a frame that waits for the
//! callback, until the segment is taken off the chain.
#![allow(unsafe_code)] // segments and calls, by their addresses

use crate::call::ALIGN;
use crate::index_list::Links;
use crate::layout;
use crate::segment::Segment;
use crate::stack::Stack;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Relaxed, Release, SeqCst};
use crate::table::{Rows, Table};
use crate::tools;
use core::ffi::c_void;
use core::ptr;

/// The stack pointer at which `exit` runs after an ending that is not a return: below
/// everything that `exit` reads.
pub(crate) fn exit_sp(m: &M, segment: &Segment) -> usize {
    let call = segment.call.load(Relaxed);
    if !m.stack.holds(call as usize) {
        return call as usize;
    }
    let size = segment.size.load(Relaxed);
    if size == 0 {
        return m.position(segment);
    }
    // SAFETY: the segment's call is on the same G, in a frame that waits for the callback.
    unsafe { (*call).arg as usize }
}

/// The lowest address in use on the system stack while `segment` runs: the call by which it, or
/// the nearest segment around it, was entered from that stack.
pub(crate) fn g0sp(m: &M, segment: &Segment) -> usize {
    let call = from_g0(m, segment).call.load(Relaxed);
    call as usize & !(ALIGN - 1)
}

/// The nearest segment, from `segment` outwards, that was entered from a stack other than this
/// G.
pub(crate) fn from_g0<'a>(m: &M, mut segment: &'a Segment) -> &'a Segment {
    while m.stack.holds(segment.call.load(Relaxed) as usize)
        && let Some(outer) = segment.outer()
    {
        segment = outer;
    }
    segment
}

/// What a thread holds while its callbacks run. The Rust interface shows a copy of some of
/// it (`api/m.rs`), never this.
#[repr(C, align(128))]
pub(crate) struct M {
    pub(crate) seg: AtomicUsize,
    pub(crate) top: AtomicUsize,
    /// Not 0 if a plain return of the outermost callback has cleanup to do: functions were
    /// deferred, the stack's reserve was opened, or the world was stopped.
    pub(crate) needs_cleanup: AtomicUsize,
    pub(crate) sig_lo: AtomicUsize,
    pub(crate) sig_len: AtomicUsize,
    /// Which thread it is bound to, and whether it is on the extra list: `pool/`.
    pub(crate) state: AtomicU32,
    /// The link of the list it is on.
    pub(crate) next: AtomicU32,
    pub(crate) index: AtomicU32,
    pub(crate) base: Segment,
    /// The record of the thread that it is bound to, or that had it last and may rebind it.
    pub(crate) thread: AtomicPtr<()>,
    /// 1 if binding it left the extra list empty: its thread makes a spare.
    pub(crate) owes_spare: AtomicU32,
    /// The start of needm that it was made in.
    pub(crate) epoch: AtomicU32,
    /// How many Ms had been returned when this one was returned last: `pool/trim.rs`.
    pub(crate) returned_at: AtomicU32,
    /// Whether its stack has memory to give up: `pool/trim.rs`.
    pub(crate) touched: AtomicBool,
    /// Whether it is on the list: `pool/`.
    pub(crate) listed: AtomicBool,
    /// Attached: it stays bound when a callback ends, with either binding.
    pub(crate) attached: AtomicBool,
    /// The M that its thread held before it.
    pub(crate) prev_held: AtomicPtr<M>,
    /// The M that was published before it, and the `bound_epoch` of then: dropm restores both.
    pub(crate) prev_current: AtomicPtr<M>,
    pub(crate) prev_bound_epoch: AtomicU32,
    /// What the host keeps in it.
    pub(crate) local: AtomicPtr<c_void>,
    pub(crate) stack: Stack,
    pub(crate) fiber: tools::Fiber,
}

// SAFETY: all fields are atomics (`Stack` too), for which zero is valid.
unsafe impl Rows for M {}

/// Every M that was ever made.
pub(crate) static MS: Table<M> = Table::new();

impl Links for Table<M> {
    fn link(&self, index: u32) -> Option<&AtomicU32> {
        self.get(index).map(|m| &m.next)
    }
}

layout::prove_m!(M);

const _: () = {
    assert!(align_of::<M>() > layout::call::PENDING);
    assert!(align_of::<Segment>() > layout::m::RUNNING);
    assert!(size_of::<M>() <= if tools::WATCH_SWITCHES { 384 } else { 256 });
};

impl M {
    /// Makes row `index` an M. Its stack is mapped already.
    pub(crate) fn fill(&self, index: u32) {
        self.index.store(index, Relaxed);
        self.top.store(self.stack.hi(), Relaxed);
        self.set_needs_cleanup();
        self.reset();
    }

    /// The segment of its outermost callback.
    pub(crate) fn base(&self) -> &Segment {
        &self.base
    }

    /// The upper end of a segment's part of the G's stack.
    pub(crate) fn position(&self, segment: &Segment) -> usize {
        let is_base = ptr::eq(segment, &raw const self.base);
        if is_base { self.stack.hi() } else { segment.at.load(Relaxed) }
    }

    /// The segment for a callback inside the innermost; `None` if there are too many.
    pub(crate) fn next_segment(&self) -> Option<&'static Segment> {
        let before = self.segment().filter(|innermost| !ptr::eq(*innermost, &raw const self.base));
        let (from, to) = self.stack.records();
        let at = before.map_or(from, |before| before.address() + size_of::<Segment>());
        // SAFETY: it is within the records of this M's stack, which are mapped for as long as
        // the M is, and aligned. Zeros, or what an earlier callback left there, are a valid
        // segment, since all its fields are atomics.
        (at + size_of::<Segment>() <= to).then(|| unsafe { &*(at as *const Segment) })
    }

    /// Makes it as new, except for what the host keeps in it.
    pub(crate) fn reset(&self) {
        if self.seg.load(Relaxed) == 0 && !self.attached.load(Relaxed) && !self.needs_cleanup() {
            return;
        }
        self.seg.store(0, Relaxed);
        self.owes_spare.store(0, Relaxed);
        self.attached.store(false, Relaxed);
        self.clean_up();
        self.base.clear(ptr::null_mut(), ptr::null_mut());
    }

    /// Has a plain return of the outermost callback clean up.
    pub(crate) fn set_needs_cleanup(&self) {
        self.needs_cleanup.store(1, Relaxed);
    }

    /// Whether a plain return of the outermost callback has cleanup to do.
    pub(crate) fn needs_cleanup(&self) -> bool {
        self.needs_cleanup.load(Relaxed) != 0
    }

    /// Outside all callbacks: drops what is deferred, and closes the reserve.
    pub(crate) fn clean_up(&self) {
        if self.needs_cleanup() {
            self.needs_cleanup.store(0, Relaxed);
            self.stack.reset();
        }
    }

    /// Whether callback code may run on its G.
    pub(crate) fn is_running(&self) -> bool {
        self.seg.load(SeqCst) & layout::m::RUNNING != 0
    }

    /// Whether a callback is under way on it: it has a segment.
    pub(crate) fn is_inside(&self) -> bool {
        self.seg.load(SeqCst) & !layout::m::RUNNING != 0
    }

    /// Sets the innermost segment, and whether callback code runs.
    ///
    /// Only the thread that holds the M writes the word, and that thread's handlers, which put
    /// back what they found.
    pub(crate) fn set_segment(&self, segment: *const Segment, running: bool) {
        self.seg.store(segment as usize | usize::from(running), Release);
    }

    /// Says whether callback code runs.
    pub(crate) fn set_running(&self, running: bool) {
        let segment = self.seg.load(Relaxed) & !layout::m::RUNNING;
        self.seg.store(segment | usize::from(running), Release);
    }

    /// Its row.
    pub(crate) fn index(&self) -> u32 {
        self.index.load(Relaxed)
    }

    /// The innermost segment.
    pub(crate) fn segment(&self) -> Option<&'static Segment> {
        let segment = (self.seg.load(Relaxed) & !layout::m::RUNNING) as *const Segment;
        // SAFETY: it is null or a live segment of this M's own.
        unsafe { segment.as_ref() }
    }

    /// A number of its own, from 1 on; the same for as long as needm runs.
    #[must_use]
    pub(crate) fn id(&self) -> u64 {
        u64::from(self.index()) + 1
    }

    /// What the host keeps in it.
    #[must_use]
    pub(crate) fn local(&self) -> *mut c_void {
        self.local.load(Relaxed)
    }

    /// Keeps something of the host's in it.
    pub(crate) fn set_local(&self, local: *mut c_void) {
        self.local.store(local, Relaxed);
    }

    /// The lowest usable address of its G's stack, and one past the highest.
    #[must_use]
    pub(crate) fn g_bounds(&self) -> (usize, usize) {
        (self.stack.lo(), self.stack.hi())
    }

    /// The M that its thread held before it.
    pub(crate) fn prev_held(&self) -> Option<&'static Self> {
        // SAFETY: Ms are not unmapped while a live thread holds them.
        unsafe { self.prev_held.load(Relaxed).as_ref() }
    }

    /// The M that was published before it.
    pub(crate) fn prev_current(&self) -> Option<&'static Self> {
        // SAFETY: it was published by the thread that still holds it, so it is not unmapped.
        unsafe { self.prev_current.load(Relaxed).as_ref() }
    }
}
