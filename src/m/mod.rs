// SPDX-License-Identifier: MIT OR Apache-2.0
//! The M: what is bound to a thread while callback code may run on it.
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
//! - `seg` is 0 outside callbacks. A callback on a fast path is the outermost one, and stores the
//!   address of its call there, plus `BOUND_HERE` if it bound the M: one store both begins the
//!   segment and says "running", and a handler sees all of it or nothing. [`M::segment`] copies
//!   the call to the segment, where all but the fast paths look for it. In any other state `seg`
//!   is the address of the innermost segment (null: the outermost is being built or is over), the
//!   bit `SEGMENT`, and the bit `PARKED` unless callback code may run on the G (`running.rs`).
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

pub(crate) mod calls;
mod innermost;
mod stacks;

use crate::arch::TOP_ROOM;
use crate::call::ALIGN;
use crate::index_list::Links;
use crate::layout;
use crate::os::fault::Known;
use crate::part::Part;
use crate::segment::Segment;
use crate::stack::Stack;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Relaxed, SeqCst};
use crate::table::{LINE, Rows, Table};
use crate::tools;
use core::ffi::c_void;
use core::ptr;

/// The stack pointer at which `exit` runs after an ending that is not a return: below
/// everything that `exit` reads.
pub(crate) fn exit_sp(m: &M, segment: &Segment) -> usize {
    let call = segment.call.load(Relaxed);
    if !m.holds(call as usize) {
        return call as usize;
    }
    let size = segment.size.load(Relaxed);
    if size == 0 {
        return m.position(segment);
    }
    // SAFETY: the segment's call is on the M's stacks, in a frame that waits for the callback.
    unsafe { (*call).arg as usize }
}

/// The lowest address in use on the system stack while `segment` runs: the call by which it, or
/// the nearest segment around it, was entered from that stack.
pub(crate) fn g0sp(m: &M, segment: &Segment) -> usize {
    let call = from_g0(m, segment).call.load(Relaxed);
    call as usize & !(ALIGN - 1)
}

/// The nearest segment, from `segment` outwards, that was entered from a stack other than this
/// M's.
pub(crate) fn from_g0<'a>(m: &M, mut segment: &'a Segment) -> &'a Segment {
    while m.holds(segment.call.load(Relaxed) as usize)
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
    /// deferred, the stack's reserve was opened, a further stack was entered, or the world was
    /// stopped.
    pub(crate) needs_cleanup: AtomicUsize,
    /// Where its thread's callbacks come from if no handler makes them: what the bound path looks at.
    pub(crate) known: Known,
    /// Which thread it is bound to, and whether it is on the extra list: `pool/`.
    pub(crate) state: AtomicU32,
    /// The link of the list it is on.
    pub(crate) next: AtomicU32,
    /// On 32 bits there is no room for it here, nor for `used`.
    #[cfg(target_pointer_width = "64")]
    pub(crate) index: AtomicU32,
    /// What of its stack was in use at most before its memory was given up last, in units of
    /// 1 << [`USED_UNIT`] bytes.
    #[cfg(target_pointer_width = "64")]
    used: AtomicU32,
    /// The record of the thread that it is bound to, or that had it last and may rebind it.
    pub(crate) thread: AtomicPtr<()>,
    pub(crate) base: Segment,
    pub(crate) stack: Stack,
    /// The innermost further stack of its callbacks, or null.
    pub(crate) part: AtomicPtr<Part>,
    /// The start of needm that it was made in.
    pub(crate) epoch: AtomicU32,
    /// How many Ms had been returned when this one was returned last: `pool/trim.rs`.
    pub(crate) returned_at: AtomicU32,
    /// In every 32nd row, of this one and of those after it: whether their stacks have memory to give up
    /// (`pool/trim.rs`).
    pub(crate) touched: AtomicU32,
    /// Whether it is on the list: `pool/`.
    pub(crate) listed: AtomicBool,
    /// Binding it left the extra list empty: its thread makes a spare.
    pub(crate) owes_spare: AtomicBool,
    /// Attached: it stays bound when a callback ends, with either binding.
    pub(crate) attached: AtomicBool,
    /// The `bound_epoch` while `prev_current` was published.
    pub(crate) prev_bound_epoch: AtomicU32,
    /// The M that its thread held before it.
    pub(crate) prev_held: AtomicPtr<M>,
    /// The M that was published before it: dropm restores it, and `prev_bound_epoch`.
    pub(crate) prev_current: AtomicPtr<M>,
    #[cfg(target_pointer_width = "32")]
    pub(crate) index: AtomicU32,
    #[cfg(target_pointer_width = "32")]
    used: AtomicU32,
    /// Of a handler stack, what is in use of it by a handler that has interrupted its callback, with
    /// the registers of that; 0 and 0 if none has. For a stopped world: each step by which it stops running
    /// writes it (`running.rs`), and while it runs this means nothing.
    pub(crate) interrupted_by: Known,
    /// Its callback code was interrupted by a handler that waits, and does not count as running meanwhile:
    /// which wait it is (`running.rs`), or 0.
    pub(crate) parked: AtomicUsize,
    /// What the host keeps in it.
    pub(crate) local: AtomicPtr<c_void>,
    pub(crate) fiber: tools::Fiber,
}

// SAFETY: all fields are atomics (`Stack` too), for which zero is valid.
unsafe impl Rows for M {
    const PLACE: usize = 0;
}

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
    assert!(size_of::<M>() <= 384);
    // All that a callback touches of it is in one cache line.
    assert!(core::mem::offset_of!(M, base) <= LINE);
};

/// The smallest page, as a power of two.
const USED_UNIT: u32 = 12;

impl M {
    /// Makes row `index` an M. Its stack is mapped already.
    pub(crate) fn fill(&self, index: u32) {
        self.index.store(index, Relaxed);
        self.top.store(self.stack.top() - TOP_ROOM, Relaxed);
        self.used.store(0, Relaxed);
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
        if is_base { self.stack.top() } else { segment.at.load(Relaxed) }
    }

    /// Makes it as new, except for what the host keeps in it.
    pub(crate) fn reset(&self) {
        self.base.request.forget();
        if self.seg.load(Relaxed) == 0 && !self.attached.load(Relaxed) && !self.needs_cleanup() {
            return;
        }
        self.seg.store(0, Relaxed);
        self.owes_spare.store(false, Relaxed);
        self.attached.store(false, Relaxed);
        self.clean_up();
        self.base.clear(ptr::null_mut(), ptr::null_mut());
    }

    /// Makes a plain return of the outermost callback clean up.
    pub(crate) fn set_needs_cleanup(&self) {
        self.needs_cleanup.store(1, Relaxed);
    }

    /// Whether a plain return of the outermost callback has cleanup to do.
    pub(crate) fn needs_cleanup(&self) -> bool {
        self.needs_cleanup.load(Relaxed) != 0
    }

    /// Outside all callbacks: drops the further stacks, and closes the reserve.
    pub(crate) fn clean_up(&self) {
        if self.needs_cleanup() {
            self.needs_cleanup.store(0, Relaxed);
            self.part.store(ptr::null_mut(), Relaxed);
            self.stack.reset();
        }
    }

    /// Forgets all requests to interrupt its callbacks.
    pub(crate) fn forget_requests(&self) {
        self.base.request.forget();
        let mut segment = self.segment();
        while let Some(inner) = segment {
            inner.request.forget();
            segment = inner.outer();
        }
    }

    /// From another thread: has the callback that is under way return by the slow path, and the
    /// next one of this M's thread begin there, which forgets requests to interrupt the one
    /// before. Sticks while a callback is under way, because only the slow path undoes it then.
    ///
    /// - On its way out a fast path looks at `needs_cleanup`.
    /// - On its way in the bound path looks whether the caller is on a stack that is known, and now
    ///   takes no address for one there.
    /// - To unbind the M, the rebind path looks whether it is still on the extra list.
    ///   `pool/mod.rs` says what it means that `LISTED` is not set.
    pub(crate) fn keep_off_fast_paths(&self) {
        self.set_needs_cleanup();
        self.known.len.store(0, SeqCst);
    }

    /// Whether [`M::keep_off_fast_paths`] was called and its thread has not noticed yet.
    pub(crate) fn is_kept_off_fast_paths(&self) -> bool {
        self.known.len.load(Relaxed) == 0
    }

    /// Bytes of its stack that callbacks have used at most, in whole pages: from the lowest page that
    /// was ever touched to the top. 0 if that cannot be told.
    pub(crate) fn stack_used(&self) -> usize {
        let before = (self.used.load(Relaxed) as usize) << USED_UNIT;
        before.max(self.stack.touched())
    }

    /// Has its stack read as zeros if another thread than `own` had it last. `own` is about to hold
    /// it, and nothing is on it.
    pub(crate) fn scrub_for(&self, own: *mut ()) {
        if self.stack.is_written() && self.thread.load(Relaxed) != own {
            self.note_used();
            self.stack.scrub();
        }
        self.stack.note_written();
    }

    /// Notes how much of its stack was in use, before the memory of that is given up.
    pub(crate) fn note_used(&self) {
        let used = self.stack_used() >> USED_UNIT;
        self.used.store(u32::try_from(used).unwrap_or(u32::MAX), Relaxed);
    }

    /// Its row.
    pub(crate) fn index(&self) -> u32 {
        self.index.load(Relaxed)
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

    /// The M that was bound to its thread before it. It may have been unbound since: `pool::held_from`.
    pub(crate) fn prev_held(&self) -> Option<&'static Self> {
        // SAFETY: null, or a row of the table of Ms. `needm_stop` unmaps none while any record is live, as that
        // of the thread is which asks.
        unsafe { self.prev_held.load(Relaxed).as_ref() }
    }

    /// The M that was published before it.
    pub(crate) fn prev_current(&self) -> Option<&'static Self> {
        // SAFETY: null, or a row of the table of Ms. `needm_stop` unmaps none while any record is live, as that
        // of the thread is which asks.
        unsafe { self.prev_current.load(Relaxed).as_ref() }
    }
}
