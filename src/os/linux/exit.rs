//! How the exit of a thread is noticed.
//!
//! 1. A thread-specific key's destructor (`key.rs`): at once, on the thread itself. Not run
//!    for a raw exit(2), nor after the last round of destructors.
//! 2. The robust-futex list, where the system has it: an entry of ours on the list that the
//!    C library registered for this thread (or, where there is none, on one of ours) is
//!    marked by Linux when the thread exits in any way (include/uapi/linux/futex.h, and
//!    Documentation/locking/robust-futex-ABI.rst).
//! 3. The question whether a thread with this number lives, where the robust list cannot be had.
//!    If the number is used again, the exit is noticed later.
//!
//! # Safety
//! A thread's robust list is its own: no other thread touches it while the thread lives. Its
//! head and entries stay valid for as long as they are linked: the C library sees to that
//! for its own, and a [`Notice`] is in a record that is not unmapped while its thread lives.

use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr;

pub(crate) use super::ids::note_home as fork_child;
pub(crate) use super::key::end;
use super::{Errno, call, ids, key, libc};
use crate::arch::linux::nr;
use crate::os::terms::OnExit;
use crate::sync::{Acquire, AtomicU32, AtomicUsize, Relaxed, Release, SeqCst, fence};

/// Words before a robust entry that a C library's offset may point into, and of
/// which glibc writes the last one when a lock is linked in front of the entry
/// (its list is doubly linked on 64 bits).
const BEFORE_ENTRY: usize = 8;

/// In [`Notice::futex`]: the entry is not linked yet, because the C library was changing the list.
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
    /// A head of our own, where the thread has none; its first word is 0 if it has.
    own_head: [AtomicUsize; 3],
    /// Which of `before` is the futex, plus one; 0 without a robust list, or [`POSTPONED`].
    futex: AtomicU32,
    /// The thread's number; 0 if it is not known, because a child of `vfork` has used the record
    /// first.
    tid: AtomicU32,
}

/// Has exits noticed.
pub(crate) fn begin(on_exit: OnExit) {
    ids::note_home();
    key::begin(on_exit);
}

impl Notice {
    /// The record is this thread's from now on.
    pub(crate) fn begin(&self, block: usize) {
        self.tid.store(tid(block), Relaxed);
        self.futex.store(0, Relaxed);
        self.own_head[0].store(0, Relaxed);
    }

    /// Whether it is known which thread's the record is.
    pub(crate) fn is_known(&self) -> bool {
        self.tid.load(Relaxed) != 0
    }

    /// Whether the record needs nothing more to notice the exit as well as it can.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_known() && self.futex.load(Relaxed) != POSTPONED
    }

    /// Which of `before` Linux marks.
    fn marked_place(&self) -> Option<usize> {
        match self.futex.load(SeqCst) {
            0 | POSTPONED => None,
            place => Some(place as usize - 1),
        }
    }

    /// Has the key's destructor run at this thread's exit, with `value`.
    pub(crate) fn arm(&self, value: *const c_void) {
        key::arm(value);
    }

    /// Whether Linux marks this record when the thread exits.
    pub(crate) fn is_watched(&self) -> bool {
        self.marked_place().is_some()
    }

    /// Whether the thread has exited, as far as is known; `ask` the system if nothing else shows
    /// it.
    pub(crate) fn has_exited(&self, ask: bool) -> bool {
        match self.marked_place() {
            Some(place) => self.before.get(place).is_some_and(owner_died),
            None => ask && self.is_known() && !ids::alive(self.tid.load(Relaxed)),
        }
    }

    /// The record is no thread's.
    pub(crate) fn forget(&self) {
        self.futex.store(0, Relaxed);
    }

    /// In a forked child, on this record's thread: Linux has emptied the child's robust list,
    /// and a C library registers a new one with it.
    pub(crate) fn fork_child(&self, block: usize) {
        self.tid.store(ids::current(), Relaxed);
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

/// How far Linux follows a robust list (include/linux/futex.h, `ROBUST_LIST_LIMIT`).
const ROBUST_LIST_LIMIT: usize = 2048;

/// `struct robust_list_head` (include/uapi/linux/futex.h).
#[repr(C)]
struct RobustHead {
    /// The first entry, or the head itself.
    list: *mut usize,
    /// From an entry to its futex word, in bytes.
    futex_offset: isize,
    /// An entry that is being linked or unlinked.
    pending: *mut usize,
}

// The entry is linked as the words of the system's own lists are.
const _: () = assert!(offset_of!(Notice, entry) % size_of::<usize>() == 0);

/// The robust list that is registered for this thread, if the system has them.
fn robust_head() -> Option<*mut RobustHead> {
    let mut head: *mut RobustHead = ptr::null_mut();
    let mut size = 0_usize;
    // SAFETY: 0 is this thread; Linux writes a pointer and a size.
    let answer = unsafe { call(nr::GET_ROBUST_LIST, (0, &mut head, &mut size)) };
    (answer.is_ok() && size == size_of::<RobustHead>()).then_some(head)
}

/// Registers `head` for this thread.
///
/// # Safety
/// `head` and the entries linked to it live until the thread has exited.
unsafe fn set_robust_head(head: *mut RobustHead) -> Result<(), Errno> {
    // SAFETY: the caller keeps the list for as long as Linux may walk it.
    unsafe { call(nr::SET_ROBUST_LIST, (head, size_of::<RobustHead>())) }.map(drop)
}

/// From a thread's block to the robust head its C library registered, plus one;
/// the same in every thread that library made. 0: not known.
static HEAD_DISTANCE: AtomicUsize = AtomicUsize::new(0);

/// The `futex_offset` of such a head.
static HEAD_OFFSET: AtomicUsize = AtomicUsize::new(0);

impl Notice {
    /// Has Linux mark this record when the thread exits, if it can.
    pub(crate) fn watch(&self, block: usize) {
        if !self.is_known() {
            return;
        }
        let Some(head) = robust_head_of(block) else { return };
        let head = if head.is_null() {
            if libc::has_keys() {
                return; // the C library will register its own in the place of ours
            }
            let Some(head) = self.register_own_head() else { return };
            head
        } else {
            head
        };
        // SAFETY: the head is the one registered for this very thread; nothing
        // else touches it or the list but the thread itself.
        unsafe {
            // The C library says so in `pending` while it changes the list. If this is a handler that
            // has interrupted it there, it would overwrite the link to this entry.
            if !(&raw const (*head).pending).read_volatile().is_null() {
                return self.futex.store(POSTPONED, Relaxed);
            }
            let offset = (*head).futex_offset;
            let place = BEFORE_ENTRY.checked_add_signed(offset / 4);
            let place = place.filter(|_| offset % 4 == 0);
            let Some((place, futex)) = place.and_then(|p| Some((p, self.before.get(p)?))) else {
                return;
            };
            // model: a_watch_that_begins_too_early here
            futex.store(self.tid.load(Relaxed), Relaxed);
            let first = (*head).list;
            self.entry.store(first as usize, Relaxed);
            if size_of::<usize>() == 8 {
                // The word before an entry leads back, on 64 bits.
                self.set_prev_link(head.cast());
                if first.cast() != head {
                    entry_without_flag(first).sub(1).write(self.entry_address());
                }
            }
            (*head).list = self.entry_address() as *mut usize;
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

    fn register_own_head(&self) -> Option<*mut RobustHead> {
        let head = ptr::from_ref(&self.own_head).cast_mut().cast::<RobustHead>();
        // SAFETY: the three words are this thread's alone, and the record lives
        // until the thread has exited.
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

    /// Takes the entry off this thread's list.
    pub(crate) fn unwatch(&self, block: usize) {
        if [0, POSTPONED].contains(&self.futex.swap(0, SeqCst)) {
            return;
        }
        if self.own_head[0].swap(0, Relaxed) != 0 {
            // The whole list is ours, and in a record that may be unmapped.
            // SAFETY: without a list Linux looks at nothing.
            let _ = unsafe { set_robust_head(ptr::null_mut()) };
            return;
        }
        let Some(head) = robust_head_of(block).filter(|head| !head.is_null()) else { return };
        let ours = self.entry_address();
        // SAFETY: this thread's own list, whose entries its C library keeps valid.
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

/// The address in a link of a robust list; its lowest bit may be a flag
/// (include/uapi/linux/futex.h: a priority-inheriting lock).
fn entry_without_flag(entry: *mut usize) -> *mut usize {
    entry.map_addr(|address| address & !1)
}

/// The robust head of this thread. Where the C library keeps it at one distance
/// from the thread-local blocks of all its threads, only the first has to ask.
fn robust_head_of(block: usize) -> Option<*mut RobustHead> {
    if let Some(head) = learned_head(block) {
        return Some(head);
    }
    let head = robust_head()?;
    if !head.is_null() && libc::has_keys() {
        // SAFETY: Linux says that this is this thread's head.
        HEAD_OFFSET.store(unsafe { (*head).futex_offset }.cast_unsigned(), Relaxed);
        HEAD_DISTANCE.store((head as usize).wrapping_sub(block).wrapping_add(1), Relaxed);
    }
    Some(head)
}

/// The robust head of this thread, without asking.
fn learned_head(block: usize) -> Option<*mut RobustHead> {
    let distance = HEAD_DISTANCE.load(Relaxed);
    if distance == 0 || !libc::has_keys() {
        return None;
    }
    let head = block.wrapping_add(distance - 1) as *mut RobustHead;
    // SAFETY: the same C library made this thread (it has keys), so its
    // own record is around the thread pointer as in the first one.
    let same = unsafe { (*head).futex_offset.cast_unsigned() == HEAD_OFFSET.load(Relaxed) };
    same.then_some(head)
}

/// Bytes from a thread's number in the C library's record to the robust head there:
/// glibc's, which has a word between the two (`struct pthread` in nptl/descr.h). Relied
/// on only once it was seen to be so in two threads of different numbers.
const TID_BEFORE_HEAD: usize = 2 * size_of::<usize>();

/// The first thread's number while one has been seen; then [`SEEN_TWICE`], or
/// [`SEEN_OTHERWISE`].
static TID_SEEN: AtomicU32 = AtomicU32::new(0);

const SEEN_TWICE: u32 = u32::MAX;

const SEEN_OTHERWISE: u32 = u32::MAX - 1;

/// This thread's number, if this process is the thread's, else 0.
fn asked_tid() -> u32 {
    if ids::is_visitor() { 0 } else { ids::current() }
}

/// This thread's number: without a system call, where the C library is seen to keep it. 0 if it
/// cannot be had, in a child of `vfork`.
fn tid(block: usize) -> u32 {
    let Some(head) = learned_head(block) else { return asked_tid() };
    // SAFETY: the C library's record of this thread begins further below: the head is in the
    // middle of it, so these bytes belong to the record, too.
    let noted = unsafe { head.byte_sub(TID_BEFORE_HEAD).cast::<u32>().read() };
    let seen = TID_SEEN.load(Relaxed);
    if seen == SEEN_TWICE {
        return noted;
    }
    let tid = asked_tid();
    if tid == 0 {
        return 0;
    }
    let next = match (seen, noted == tid) {
        (SEEN_OTHERWISE, _) | (_, false) => SEEN_OTHERWISE,
        (0, true) => tid,
        (first, true) if first == tid => tid,
        (_, true) => SEEN_TWICE,
    };
    TID_SEEN.store(next, Relaxed);
    tid
}
