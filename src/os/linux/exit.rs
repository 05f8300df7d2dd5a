// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the exit of a thread is noticed.
//!
//! 1. A thread-specific key's destructor (`key.rs`): at once, on the thread itself. Not run
//!    for a raw exit(2), nor after the last round of destructors.
//! 2. The robust-futex list, where Linux lets needm have it. needm links an entry of its own to
//!    the list that the C library registered for this thread; in a program without a C library
//!    it registers a list itself. Linux marks the entry when the thread exits in any way
//!    (include/uapi/linux/futex.h, and Documentation/locking/robust-futex-ABI.rst).
//! 3. Where there is no robust list: another thread asks Linux whether a thread with this thread
//!    ID (TID) exists. If Linux has given the TID to a new thread, the exit is noticed when that
//!    one has exited, too.
//!
//! # Safety
//! A thread's robust list is its own: no other thread touches it while the thread lives. Its
//! head and entries stay valid for as long as they are linked: the C library sees to that
//! for its own, and a [`Notice`] is in a record that is not unmapped while its thread lives.
//! Which list is a thread's, Linux says, or a head that `robust_list.rs` recognizes.

use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr;

use super::robust_list::{
    RobustHead, entry_without_flag, robust_head, robust_head_of, set_robust_head, tid, trust_no_tid,
};
use super::{ids, key, libc};
use crate::os::terms::OnExit;
use crate::sync::{
    Acquire, AtomicU32, AtomicUsize, Relaxed, Release, SeqCst, compiler_fence, fence,
};

/// 32-bit words reserved before the entry. A C library's `futex_offset` may point to any of them.
/// On 64 bits glibc's list is doubly linked: when it links a lock in front of the entry, it
/// overwrites the last two of these words with the link back.
const BEFORE_ENTRY: usize = 8;

/// In [`Notice::futex`]: the entry is not linked yet, because the C library was changing the list, or
/// had an entry there that this one cannot be linked before.
const POSTPONED: u32 = u32::MAX;

/// The bit that Linux sets in a robust futex whose owner died (include/uapi/linux/futex.h).
const FUTEX_OWNER_DIED: u32 = 0x4000_0000;

/// The part of a thread's record by which its exit is noticed.
#[repr(C)]
pub(crate) struct Notice {
    /// 32 bits each; one is the robust futex, by the C library's offset.
    before: [AtomicU32; BEFORE_ENTRY],
    /// The entry: the next one's address.
    entry: AtomicUsize,
    /// The head of the list that the entry is linked to. If it is a C library's: 0, and its address.
    /// If it is needm's own: this is it ([`RobustHead`]), and the first word is not 0.
    head: [AtomicUsize; 3],
    /// Which of `before` is the futex, plus one; 0 without a robust list, or [`POSTPONED`].
    futex: AtomicU32,
    /// The thread ID; 0 if it is not known. That is so if a child of `vfork` set the record up:
    /// it shares the thread's memory, but `gettid` gives it another process's thread ID.
    tid: AtomicU32,
}

/// Sets up the detection of exits: creates the key whose destructor is `on_exit`.
pub(crate) fn begin(on_exit: OnExit) {
    ids::note_home();
    key::begin(on_exit);
}

/// Deletes the key: no destructor of needm's begins any more.
pub(crate) fn end() {
    key::end();
}

/// The calling thread's ID.
pub(crate) fn own_id() -> u32 {
    ids::current()
}

/// The same; 0 in a child of `vfork`.
pub(crate) fn thread_id(block: usize) -> u32 {
    tid(block)
}

/// Whether a thread of this process has this ID.
pub(crate) fn is_alive(id: u32) -> bool {
    ids::alive(id)
}

/// In a forked child: this is the process from now on whose threads are asked about.
pub(crate) fn note_new_process() {
    ids::note_home();
    trust_no_tid();
}

impl Notice {
    /// Assigns the record to the calling thread. [`Notice::watch`] does the rest.
    pub(crate) fn begin(&self, block: usize) {
        self.tid.store(tid(block), Relaxed);
        self.futex.store(0, Relaxed);
        self.forget_head();
    }

    /// The entry is linked nowhere.
    fn forget_head(&self) {
        self.head[1].store(0, Relaxed);
        self.head[0].store(0, Relaxed);
    }

    /// Whether the thread ID is known.
    pub(crate) fn has_thread_id(&self) -> bool {
        self.tid.load(Relaxed) != 0
    }

    /// The thread ID; 0 if it is not known.
    pub(crate) fn thread_id(&self) -> u32 {
        self.tid.load(Relaxed)
    }

    /// False if [`Notice::watch`] must be tried again: it was postponed, or the thread ID was not
    /// known.
    pub(crate) fn is_settled(&self) -> bool {
        self.has_thread_id() && self.futex.load(Relaxed) != POSTPONED
    }

    /// Which of `before` Linux marks.
    fn marked_place(&self) -> Option<usize> {
        // SeqCst: reads what `watch` stored with Release, and with it the futex; and is in one
        // order with the swap in `unwatch`.
        match self.futex.load(SeqCst) {
            0 | POSTPONED => None,
            place => Some(place as usize - 1),
        }
    }

    /// Sets the key's value, so that the destructor runs with it when this thread exits. False if there is none.
    pub(crate) fn arm(&self, value: *const c_void) -> bool {
        key::arm(value)
    }

    /// Whether Linux marks this record when the thread exits.
    pub(crate) fn is_watched(&self) -> bool {
        self.marked_place().is_some()
    }

    /// Whether the thread has exited, as far as is known. With `ask`, a system call asks Linux if
    /// nothing else shows it.
    pub(crate) fn has_exited(&self, ask: bool) -> bool {
        match self.marked_place() {
            Some(place) => self.before.get(place).is_some_and(owner_died),
            None => ask && self.has_thread_id() && !ids::alive(self.tid.load(Relaxed)),
        }
    }

    /// Stops watching. The next [`Notice::begin`] sets the rest anew.
    pub(crate) fn forget(&self) {
        self.futex.store(0, Relaxed);
    }

    /// In a forked child, on this record's thread: Linux has emptied the child's robust list,
    /// and a C library registers a new one with it.
    pub(crate) fn rewatch_in_child(&self, block: usize) {
        self.tid.store(ids::current(), Relaxed);
        self.futex.store(0, Relaxed);
        self.forget_head();
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

/// How far Linux follows a robust list (include/linux/futex.h, `ROBUST_LIST_LIMIT`).
const ROBUST_LIST_LIMIT: usize = 2048;

// Linux and the C library read the entry through an aligned pointer.
const _: () = assert!(offset_of!(Notice, entry) % size_of::<usize>() == 0);

impl Notice {
    /// Links the entry to this thread's robust list, so that Linux marks it when the thread exits.
    /// Does nothing if there is no list to be had.
    pub(crate) fn watch(&self, block: usize) {
        if !self.has_thread_id() {
            return;
        }
        let Some(head) = robust_head_of(block) else { return };
        let head = if head.is_null() {
            // A C library that has keys has robust mutexes, too (POSIX threads). If it has no
            // list yet, as musl before a thread's first robust mutex, it will register one later,
            // in the place of ours.
            if libc::has_keys() {
                return;
            }
            let Some(head) = self.register_own_head() else { return };
            head
        } else {
            head
        };
        // SAFETY: the head is this thread's own, because Linux said so or `learned_head` recognized
        // it. No other thread touches it or its list, and its entries are valid while they are
        // linked.
        unsafe {
            // While the C library edits the list, `pending` is set. If this code runs in a handler
            // that interrupted the edit, the C library would overwrite the link to this entry
            // when it goes on. So the watch is postponed.
            if !(&raw const (*head).pending).read_volatile().is_null() {
                return self.futex.store(POSTPONED, Relaxed);
            }
            let first = (*head).list;
            // musl's entries lead back on 32 bits, too, where glibc's have another word in that place. So
            // the watch waits until there is no entry that would have to be told.
            let is_musls = libc::has_keys() && !libc::is_glibc();
            if size_of::<usize>() == 4 && is_musls && first.cast() != head {
                return self.futex.store(POSTPONED, Relaxed);
            }
            let offset = (*head).futex_offset;
            let place = BEFORE_ENTRY.checked_add_signed(offset / 4);
            let place = place.filter(|_| offset % 4 == 0);
            let Some((place, futex)) = place.and_then(|p| Some((p, self.before.get(p)?))) else {
                return;
            };
            // model: a_watch_that_begins_too_early here
            // Linux marks a futex only if it holds the thread ID of the exiting thread.
            futex.store(self.tid.load(Relaxed), Relaxed);
            self.entry.store(first as usize, Relaxed);
            if size_of::<usize>() == 8 {
                // The pointer before an entry leads back, on 64 bits (glibc's `__prev`).
                self.set_prev_link(head.cast());
                if first.cast() != head {
                    entry_without_flag(first).sub(1).write(self.entry_address());
                }
            }
            if head != self.own_head() {
                self.head[0].store(0, Relaxed);
                self.head[1].store(head as usize, Relaxed);
            }
            // Last: a handler in between may exit the thread, and Linux then follows the list.
            compiler_fence(SeqCst);
            (*head).list = self.entry_address() as *mut usize;
            // Release: a reaper that sees the place sees the thread ID in the futex, too.
            // model: a_watch_that_begins_too_early
            #[allow(clippy::cast_possible_truncation)] // below BEFORE_ENTRY
            self.futex.store(place as u32 + 1, Release);
        }
    }

    fn entry_address(&self) -> usize {
        ptr::from_ref(&self.entry) as usize
    }

    fn set_prev_link(&self, to: *mut usize) {
        #[allow(clippy::cast_ptr_alignment)] // the entry after them is a word, aligned as one
        let back = ptr::from_ref(&self.before[BEFORE_ENTRY - 2]).cast_mut().cast::<usize>();
        // SAFETY: two of `before` are a word on 64 bits, aligned as the entry is, and only
        // this thread writes there.
        unsafe { back.write(to as usize) };
    }

    fn own_head(&self) -> *mut RobustHead {
        ptr::from_ref(&self.head).cast_mut().cast()
    }

    fn register_own_head(&self) -> Option<*mut RobustHead> {
        let head = self.own_head();
        // SAFETY: only this thread uses the three words. Linux may read the list until the thread
        // has exited or `unwatch` takes it away; the record stays mapped until then.
        unsafe {
            #[allow(clippy::cast_possible_wrap)] // 32
            let offset = -(size_of_val(&self.before) as isize);
            head.write(RobustHead {
                list: head.cast(),
                futex_offset: offset,
                pending: ptr::null_mut(),
            });
            set_robust_head(head).ok()?;
        }
        // Some emulators accept the call and do nothing.
        (robust_head() == Some(head)).then_some(head)
    }

    /// Takes the entry off this thread's list. May be repeated after a jump out of it.
    pub(crate) fn unwatch(&self) {
        // SeqCst, as in `marked_place`: a reaper that reads the place after this does not look at the
        // futex. One that has read it before finds that the record's state has changed
        // (`Thread::begin_exit`).
        self.futex.swap(0, SeqCst);
        if self.head[0].load(Relaxed) != 0 {
            // The whole list is ours, and in a record that may be unmapped.
            // SAFETY: with null Linux has no list of this thread to walk.
            let _ = unsafe { set_robust_head(ptr::null_mut()) };
        } else if self.head[1].load(Relaxed) != 0 {
            self.unlink();
        }
        self.forget_head();
    }

    /// Takes the entry off the list of a C library that it may be linked to.
    fn unlink(&self) {
        let head = self.head[1].load(Relaxed) as *mut RobustHead;
        let ours = self.entry_address();
        // SAFETY: `watch` linked the entry to this list, which is this thread's own. The C library
        // keeps its entries valid while they are linked.
        unsafe {
            let mut at: *mut usize = head.cast();
            for _ in 0..ROBUST_LIST_LIMIT {
                let next = at.read();
                if next & !1 == ours {
                    let after = self.entry.load(Relaxed);
                    // model: an_exit_that_stays_on_the_robust_list
                    at.write(after);
                    if size_of::<usize>() == 8 && after as *mut RobustHead != head {
                        entry_without_flag(after as *mut usize).sub(1).write(at as usize);
                    }
                    return;
                }
                if next as *mut RobustHead == head || next == 0 {
                    return;
                }
                at = entry_without_flag(next as *mut usize);
            }
        }
    }
}
