//! The record itself: what it holds, whose it is, and taking it apart.
//!
//! Who changes `state` to `EXITING` is the one who takes the record apart; everybody
//! else leaves it alone.
#![allow(unsafe_code)] // records are reached by pointers

use crate::barrier;
use crate::index_list::{Links, List};
use crate::layout;
use crate::m::M;
use crate::signal::stack;
use crate::state;
use crate::sync::{AtomicPtr, AtomicU32, AtomicUsize, Relaxed, Release, SeqCst, compiler_fence};
use crate::table::Table;
use core::ptr;

pub(crate) static THREADS: Table<Thread> = Table::new();

pub(crate) static FREE_THREADS: List = List::new();

impl Links for Table<Thread> {
    fn link(&self, index: u32) -> Option<&AtomicU32> {
        self.get(index).map(|thread| &thread.next)
    }
}

// `state`: one of these, and above them a count that rises with each thread that
// takes the record, so that who has found one thread's end cannot take the record of
// the next apart.
pub(crate) const FREE: u32 = 0;

pub(crate) const LIVE: u32 = 1;

pub(crate) const EXITING: u32 = 2;

pub(crate) const PHASE: u32 = 3;

pub(crate) const ONE_GENERATION: u32 = PHASE + 1;

/// Words before a robust entry that a C library's offset may point into, and of
/// which glibc writes the last one when a lock is linked in front of the entry
/// (its list is doubly linked on 64 bits).
pub(crate) const BEFORE_ENTRY: usize = 8;

/// A thread's record.
#[repr(C, align(128))]
pub(crate) struct Thread {
    /// The innermost M that this thread holds, published or about to be; or one that it
    /// is about to take, or has just given back: [`extra::is_held_by`] tells.
    pub(crate) m: AtomicPtr<M>,
    /// The M it had last.
    pub(crate) last: AtomicPtr<M>,
    /// What an M's state is that is on the list and held by this thread.
    pub(crate) claim: AtomicUsize,
    pub(crate) sig: stack::Signals,
    /// Not 0 while this thread takes an M or gives one back: Ms that say they are its
    /// own may then be missing from the chain that starts at `m`.
    pub(crate) in_transfer: AtomicU32,
    /// 1 once the key's destructor has run and the record waits for the thread's end.
    pub(crate) destructor_ran: AtomicU32,
    /// 32 bits each; one is the robust futex, by the C library's offset.
    pub(crate) before: [AtomicU32; BEFORE_ENTRY],
    /// The entry: the next one's address.
    pub(crate) entry: AtomicUsize,
    /// A head of our own, where the thread has none; its first word is 0 if it has.
    pub(crate) own_head: [AtomicUsize; 3],
    /// Which of `before` is the futex, plus one; 0 without a robust list.
    pub(crate) futex: AtomicU32,
    pub(crate) tid: AtomicU32,
    pub(crate) state: AtomicU32,
    pub(crate) next: AtomicU32,
    pub(crate) index: AtomicU32,
    /// The start of the kernel that this thread knows of.
    pub(crate) epoch: AtomicU32,
    /// 1 if it has known others: rows of theirs may say that they are its own.
    pub(crate) had_earlier_epochs: AtomicU32,
    /// The thread's own stack, once it was asked for: from, and to; 0 and 0 before,
    /// 1 and 1 if that cannot be told.
    pub(crate) stack: [AtomicUsize; 2],
}

layout::prove_thread!(Thread);

// Linux reads and writes the entry as pointers.
const _: () = assert!(core::mem::offset_of!(Thread, entry) % align_of::<usize>() == 0);

impl Thread {
    pub(crate) fn index(&self) -> u32 {
        self.index.load(Relaxed)
    }

    /// The M it had last, if the kernel has not been stopped since.
    pub(crate) fn last(&self) -> Option<&'static M> {
        // SAFETY: set only to rows of the table, which `runtime::stop` keeps
        // for as long as there is a live record of another thread's.
        unsafe { self.last.load(Relaxed).as_ref() }
    }

    /// The innermost M it holds, or may hold.
    pub(crate) fn held(&self) -> Option<&'static M> {
        // SAFETY: as for `last`.
        unsafe { self.m.load(Relaxed).as_ref() }
    }

    /// Says that an M is on its way to or from this thread; what it said before. If the
    /// kernel is open now, it is not stopped until [`Thread::end_transfer`].
    pub(crate) fn begin_transfer(&self) -> u32 {
        let was = self.in_transfer.load(Relaxed);
        self.in_transfer.store(1, Relaxed);
        barrier::order();
        was
    }

    /// Whether it knows of the present start of the kernel; `None` if that is over.
    pub(crate) fn is_current_epoch(&self) -> Option<bool> {
        state::is_open().then(|| self.epoch.load(Relaxed) == state::epoch())
    }

    /// Says what was said before [`Thread::begin_transfer`].
    pub(crate) fn end_transfer(&self, was: u32) {
        compiler_fence(SeqCst);
        self.in_transfer.store(was, Relaxed);
    }

    /// Has the steady path of `m` know which callers are handlers on the signal stack.
    pub(crate) fn note_signal_stack(&self, m: &M) {
        let (lo, len) = self.sig.bounds();
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

    /// Changes the phase; only for who has the record to itself.
    pub(crate) fn set_phase(&self, phase: u32) {
        self.state.store(self.state.load(Relaxed) & !PHASE | phase, Release);
    }

    /// Makes the record what it was before [`Thread::begin_exit`].
    pub(crate) fn resume_live(&self) {
        self.set_phase(LIVE);
    }

    pub(crate) fn is_in_use(&self) -> bool {
        self.state.load(SeqCst) & PHASE != FREE
    }

    pub(crate) fn state(&self) -> u32 {
        self.state.load(SeqCst)
    }

    /// Takes the record apart, if it is the one that was seen in `state`.
    pub(crate) fn begin_exit(&self, state: u32) -> bool {
        state & PHASE == LIVE
            && self.state.compare_exchange(state, state & !PHASE | EXITING, SeqCst, SeqCst).is_ok()
    }
}
