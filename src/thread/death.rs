//! The robust-futex list: the kernel marks our entry on it when the thread ends in any
//! way (include/uapi/linux/futex.h, and Documentation/locking/robust-futex-ABI.rst).
//!
//! # Safety
//! A thread's list is its own: nobody else touches it while the thread lives.
#![allow(unsafe_code)] // the list is the C library's memory

use crate::os::libc::Key;
use crate::os::thread as system;
use crate::os::thread::RobustHead;
use crate::sync::{AtomicU32, AtomicUsize, Relaxed, Release, SeqCst};
use crate::thread_record::{BEFORE_ENTRY, Thread};
use crate::tls::Tls;
use core::ptr;

/// The key's number plus one, 0 without one.
pub(crate) static KEY: AtomicU32 = AtomicU32::new(0);

pub(crate) fn key() -> Option<Key> {
    KEY.load(Relaxed).checked_sub(1).map(Key::from_number)
}

/// Has the key's destructor run at this thread's end.
pub(crate) fn arm_key(thread: &Thread) {
    if let Some(key) = key() {
        key.set(ptr::from_ref(thread).cast());
    }
}

impl Thread {
    /// Whether the kernel marks this record at the thread's end.
    pub(crate) fn is_watched(&self) -> bool {
        self.futex.load(SeqCst) != 0
    }

    /// Whether the thread has ended, as far as can be told; `ask` the system if
    /// nothing else tells.
    pub(crate) fn has_exited(&self, ask: bool) -> bool {
        match self.futex.load(SeqCst).checked_sub(1) {
            Some(place) => self.before.get(place as usize).is_some_and(system::owner_died),
            None => ask && !system::alive(self.tid.load(Relaxed)),
        }
    }
}

/// How far the kernel follows a robust list (include/linux/futex.h,
/// `ROBUST_LIST_LIMIT`).
pub(crate) const ROBUST_LIST_LIMIT: usize = 2048;

/// From a thread's block to the robust head its C library registered, plus one;
/// the same in every thread that library made. 0: not known.
pub(crate) static HEAD_DISTANCE: AtomicUsize = AtomicUsize::new(0);

pub(crate) static HEAD_OFFSET: AtomicUsize = AtomicUsize::new(0);

impl Thread {
    /// Has the kernel mark this record when the thread ends, if it can.
    pub(crate) fn watch(&self, tls: &Tls) {
        let Some(head) = robust_head_of(tls) else { return };
        let head = if head.is_null() {
            if key().is_some() {
                return; // the C library will register its own, and ours would go
            }
            let Some(head) = self.register_own_head() else { return };
            head
        } else {
            head
        };
        // SAFETY: the head is the one registered for this very thread; nobody
        // else touches it or the list but the thread itself.
        unsafe {
            let offset = (*head).futex_offset;
            let place = BEFORE_ENTRY.checked_add_signed(offset / 4);
            let place = place.filter(|_| offset % 4 == 0);
            let Some((place, futex)) = place.and_then(|p| Some((p, self.before.get(p)?))) else {
                return;
            };
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
            #[allow(clippy::cast_possible_truncation)] // below BEFORE_ENTRY
            self.futex.store(place as u32 + 1, Release);
        }
    }

    pub(crate) fn entry_address(&self) -> usize {
        ptr::from_ref(&self.entry) as usize
    }

    pub(crate) fn set_prev_link(&self, to: *mut usize) {
        let back = ptr::from_ref(&self.before[BEFORE_ENTRY - 2]).cast_mut().cast::<usize>();
        // SAFETY: two of `before` are a word on 64 bits, aligned as the entry is.
        unsafe { back.write(to as usize) };
    }

    pub(crate) fn register_own_head(&self) -> Option<*mut RobustHead> {
        let head = ptr::from_ref(&self.own_head).cast_mut().cast::<RobustHead>();
        // SAFETY: the three words are this thread's alone, and the record lives
        // until the thread has ended.
        unsafe {
            #[allow(clippy::cast_possible_wrap)] // 32
            let offset = -(size_of_val(&self.before) as isize);
            head.write(RobustHead {
                list: head.cast(),
                futex_offset: offset,
                pending: ptr::null_mut(),
            });
            system::set_robust_head(head).ok()?;
        }
        // Some emulators say yes and do nothing.
        (system::robust_head() == Some(head)).then_some(head)
    }

    /// Takes the entry off this thread's list.
    pub(crate) fn unwatch(&self, tls: &Tls) {
        if self.futex.swap(0, SeqCst) == 0 {
            return;
        }
        if self.own_head[0].swap(0, Relaxed) != 0 {
            // The whole list is ours, and in a record that may be unmapped.
            // SAFETY: without a list the kernel looks at nothing.
            let _ = unsafe { system::set_robust_head(ptr::null_mut()) };
            return;
        }
        let Some(head) = robust_head_of(tls).filter(|head| !head.is_null()) else { return };
        let ours = self.entry_address();
        // SAFETY: this thread's own list, whose entries its C library keeps valid.
        unsafe {
            let mut at: *mut usize = head.cast();
            for _ in 0..ROBUST_LIST_LIMIT {
                let next = at.read();
                if next & !1 == ours {
                    let after = self.entry.load(Relaxed);
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
pub(crate) fn entry_without_flag(entry: *mut usize) -> *mut usize {
    entry.map_addr(|address| address & !1)
}

/// The robust head of this thread. Where the C library keeps it at one distance
/// from the thread-local blocks of all its threads, only the first has to ask.
pub(crate) fn robust_head_of(tls: &Tls) -> Option<*mut RobustHead> {
    if let Some(head) = learned_head(tls) {
        return Some(head);
    }
    let head = system::robust_head()?;
    if !head.is_null() && key().is_some() {
        let block = ptr::from_ref(tls) as usize;
        // SAFETY: the kernel says that this is this thread's head.
        HEAD_OFFSET.store(unsafe { (*head).futex_offset } as usize, Relaxed);
        HEAD_DISTANCE.store((head as usize).wrapping_sub(block).wrapping_add(1), Relaxed);
    }
    Some(head)
}

pub(crate) fn learned_head(tls: &Tls) -> Option<*mut RobustHead> {
    let distance = HEAD_DISTANCE.load(Relaxed);
    if distance == 0 || key().is_none() {
        return None;
    }
    let block = ptr::from_ref(tls) as usize;
    let head = block.wrapping_add(distance - 1) as *mut RobustHead;
    // SAFETY: the same C library made this thread (it has keys), so its
    // own record is around the thread pointer as in the first one.
    let same = unsafe { (*head).futex_offset as usize == HEAD_OFFSET.load(Relaxed) };
    same.then_some(head)
}

/// Bytes from a thread's number in the C library's record to the robust head there:
/// glibc's, which has a word between the two (`struct pthread` in nptl/descr.h). Relied
/// on only once it was seen to be so in two threads of different numbers.
pub(crate) const TID_BEFORE_HEAD: usize = 2 * size_of::<usize>();

/// The first thread's number while one has been seen; then [`SEEN_TWICE`], or
/// [`SEEN_OTHERWISE`].
pub(crate) static TID_SEEN: AtomicU32 = AtomicU32::new(0);

pub(crate) const SEEN_TWICE: u32 = u32::MAX;

pub(crate) const SEEN_OTHERWISE: u32 = u32::MAX - 1;

/// This thread's number.
pub(crate) fn tid(tls: &Tls) -> u32 {
    let Some(head) = learned_head(tls) else { return system::current() };
    // SAFETY: that many bytes before the head are the C library's record still, of
    // which the head is not the beginning.
    let noted = unsafe { head.byte_sub(TID_BEFORE_HEAD).cast::<u32>().read() };
    let seen = TID_SEEN.load(Relaxed);
    if seen == SEEN_TWICE {
        return noted;
    }
    let tid = system::current();
    let next = match (seen, noted == tid) {
        (SEEN_OTHERWISE, _) | (_, false) => SEEN_OTHERWISE,
        (0, true) => tid,
        (first, true) if first == tid => tid,
        (_, true) => SEEN_TWICE,
    };
    TID_SEEN.store(next, Relaxed);
    tid
}
