//! How the exit of a thread is noticed.
//!
//! 1. A thread-specific key's destructor, where there is a C library: at once, on the thread
//!    itself. Not run for a raw exit(2), nor after the last round of destructors.
//! 2. The robust-futex list, where the system has it (`robust.rs`): an entry of ours on the
//!    list that the C library registered for this thread (or, where there is none, on one
//!    of ours) is marked by Linux when the thread ends in any way.
//! 3. Asking whether a thread of that number lives, where nothing else is to be had; a number
//!    that is used again delays it.

use core::ffi::c_void;

use super::libc::{self, Key};
use super::{robust, thread};
use crate::os::exit::OnExit;
use crate::sync::{Acquire, AtomicU32, AtomicUsize, Relaxed, SeqCst, fence};

/// Words before a robust entry that a C library's offset may point into, and of
/// which glibc writes the last one when a lock is linked in front of the entry
/// (its list is doubly linked on 64 bits).
pub(super) const BEFORE_ENTRY: usize = 8;

/// The bit that Linux sets in a robust futex whose owner died (include/uapi/linux/futex.h).
const FUTEX_OWNER_DIED: u32 = 0x4000_0000;

/// The part of a thread's record by which its exit is noticed.
#[repr(C)]
pub(crate) struct Notice {
    /// 32 bits each; one is the robust futex, by the C library's offset.
    pub(super) before: [AtomicU32; BEFORE_ENTRY],
    /// The entry: the next one's address.
    pub(super) entry: AtomicUsize,
    /// A head of our own, where the thread has none; its first word is 0 if it has.
    pub(super) own_head: [AtomicUsize; 3],
    /// Which of `before` is the futex, plus one; 0 without a robust list.
    pub(super) futex: AtomicU32,
    /// The thread's number.
    pub(super) tid: AtomicU32,
}

/// The key's number plus one, 0 without one.
static KEY: AtomicU32 = AtomicU32::new(0);

/// The key, if there is one now.
pub(super) fn key() -> Option<Key> {
    KEY.load(Relaxed).checked_sub(1).map(Key::from_number)
}

/// Makes the key.
pub(crate) fn begin(on_exit: OnExit) {
    let key = libc::key_create(on_exit).map_or(0, |key| key.number() + 1);
    KEY.store(key, SeqCst);
}

/// Deletes the key.
pub(crate) fn end() {
    let key = key();
    // First: a forked child must not delete what may be another's by then.
    KEY.store(0, SeqCst);
    if let Some(key) = key {
        key.delete();
    }
}

impl Notice {
    /// The record is this thread's from now on.
    pub(crate) fn begin(&self, block: usize) {
        self.tid.store(robust::tid(block), Relaxed);
        self.futex.store(0, Relaxed);
        self.own_head[0].store(0, Relaxed);
    }

    /// Has the key's destructor run at this thread's exit, with `value`.
    pub(crate) fn arm(&self, value: *const c_void) {
        if let Some(key) = key() {
            key.set(value);
        }
    }

    /// Whether Linux marks this record at the thread's end.
    pub(crate) fn is_watched(&self) -> bool {
        self.futex.load(SeqCst) != 0
    }

    /// Whether the thread has ended, as far as can be told; `ask` the system if
    /// nothing else tells.
    pub(crate) fn has_exited(&self, ask: bool) -> bool {
        match self.futex.load(SeqCst).checked_sub(1) {
            Some(place) => self.before.get(place as usize).is_some_and(owner_died),
            None => ask && !thread::alive(self.tid.load(Relaxed)),
        }
    }

    /// The record is nobody's.
    pub(crate) fn forget(&self) {
        self.futex.store(0, Relaxed);
    }

    /// In a forked child, on this record's thread: Linux has emptied the child's robust list,
    /// and a C library registers a new one with it.
    pub(crate) fn fork_child(&self, block: usize) {
        self.tid.store(thread::current(), Relaxed);
        self.futex.store(0, Relaxed);
        self.watch(block);
    }
}

/// Whether the owner of a robust futex has died.
fn owner_died(word: &AtomicU32) -> bool {
    let died = word.load(Relaxed) & FUTEX_OWNER_DIED != 0;
    if died {
        // What the owner wrote before is seen by the thread that learns of it.
        fence(Acquire);
    }
    died
}
