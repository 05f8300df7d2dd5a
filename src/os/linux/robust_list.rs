// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread's robust-futex list (get_robust_list(2)): where its head is, and the thread ID that glibc
//! keeps before the head. Both without a system call, where what is read proves itself.

use core::ptr;

use super::{Errno, call, ids, libc};
use crate::arch::linux::nr;
use crate::sync::{AtomicU32, AtomicUsize, Relaxed};

/// `struct robust_list_head` (include/uapi/linux/futex.h).
#[repr(C)]
pub(super) struct RobustHead {
    /// The first entry, or the head itself.
    pub(super) list: *mut usize,
    /// From an entry to its futex word, in bytes.
    pub(super) futex_offset: isize,
    /// An entry that is being linked or unlinked.
    pub(super) pending: *mut usize,
}

/// The robust list that is registered for this thread, if the system has them.
pub(super) fn robust_head() -> Option<*mut RobustHead> {
    if super::spares_calls() {
        return None;
    }
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
pub(super) unsafe fn set_robust_head(head: *mut RobustHead) -> Result<(), Errno> {
    // SAFETY: the caller keeps the list for as long as Linux may walk it.
    unsafe { call(nr::SET_ROBUST_LIST, (head, size_of::<RobustHead>())) }.map(drop)
}

/// The distance in bytes from needm's thread-local block to the robust head that the C library
/// registered for the same thread; wrapping, because it may be negative. Stored plus one, so that
/// 0 means unknown. A C library keeps both at one distance in all threads that it makes.
static HEAD_DISTANCE: AtomicUsize = AtomicUsize::new(0);

/// The `futex_offset` of such a head.
static HEAD_OFFSET: AtomicUsize = AtomicUsize::new(0);

/// The address in a link of a robust list; its lowest bit may be a flag
/// (include/uapi/linux/futex.h: a priority-inheriting lock).
pub(super) fn entry_without_flag(entry: *mut usize) -> *mut usize {
    entry.map_addr(|address| address & !1)
}

/// The robust head of this thread; null if none is registered, `None` if Linux has no robust
/// lists. Only the first thread makes a system call for it, where [`learned_head`] recognizes the
/// heads of the others.
pub(super) fn robust_head_of(block: usize) -> Option<*mut RobustHead> {
    if let Some(head) = learned_head(block) {
        return Some(head);
    }
    let head = robust_head()?;
    // Only a C library has its head at one distance; ours is in the record. One that has keys
    // registers the lists of its threads itself (`watch`).
    if !head.is_null() && libc::has_keys() {
        // SAFETY: Linux says that this is this thread's head.
        HEAD_OFFSET.store(unsafe { (*head).futex_offset }.cast_unsigned(), Relaxed);
        HEAD_DISTANCE.store((head as usize).wrapping_sub(block).wrapping_add(1), Relaxed);
    }
    Some(head)
}

/// No system that needm runs on has smaller pages (`getpagesize` in every ABI of `arch/`).
pub(super) const SMALLEST_PAGE: usize = 4096;

/// The robust head of this thread, without a system call: the address at the learned distance, if
/// what is there is a head without entries.
///
/// A thread may have been made by a raw `clone`, with thread-local storage that is laid out in
/// another way. So nothing is read that may be unmapped, and what is read must be a head by its
/// content. An empty list is a pointer to its own head, which no copy of another thread's head is,
/// and no memory of zeros.
fn learned_head(block: usize) -> Option<*mut RobustHead> {
    let head = head_place(block)?;
    // SAFETY: `head_place` gives only what can be read, and is aligned. Volatile: if it is not the
    // thread's own, other threads may write there. Then the value is only compared.
    let list = unsafe { (&raw const (*head).list).read_volatile() };
    (list.cast() == head).then_some(head)
}

/// The address at the learned distance, where the head of this thread may be, and the thread ID before
/// it: in one page with the block, and followed by the learned offset.
pub(super) fn head_place(block: usize) -> Option<*mut RobustHead> {
    let distance = HEAD_DISTANCE.load(Relaxed);
    if distance == 0 || !libc::has_keys() {
        return None;
    }
    let at = block.wrapping_add(distance - 1);
    let (from, end) = (at.wrapping_sub(TID_BEFORE_HEAD), at.wrapping_add(size_of::<RobustHead>()));
    let page = block & !(SMALLEST_PAGE - 1);
    let is_in_page = page <= from && from < end && end - page <= SMALLEST_PAGE;
    if !is_in_page || !at.is_multiple_of(align_of::<RobustHead>()) {
        return None;
    }
    let head = at as *mut RobustHead;
    // SAFETY: these bytes are in one page with the block, which is mapped and readable, because it
    // is this thread's own thread-local storage; and aligned. Volatile: if they are not the
    // thread's own, other threads may write there. Then the value is only compared.
    let offset = unsafe { (&raw const (*head).futex_offset).read_volatile() };
    (offset.cast_unsigned() == HEAD_OFFSET.load(Relaxed)).then_some(head)
}

/// Bytes from the thread ID in the C library's record of a thread to the robust head there:
/// glibc's, which has a pointer between the two (`struct pthread` in nptl/descr.h). Relied
/// on only once it was seen to be so in two threads of different thread IDs.
const TID_BEFORE_HEAD: usize = 2 * size_of::<usize>();

/// How far the thread ID before the head is trusted: 0 is untested; a thread ID is one thread in
/// which it was right; then [`TRUSTED`] or [`NEVER_TRUSTED`].
static TID_TRUST: AtomicU32 = AtomicU32::new(0);

/// In [`TID_TRUST`]: it was right in two threads.
const TRUSTED: u32 = u32::MAX;

/// In [`TID_TRUST`]: it was wrong once.
const NEVER_TRUSTED: u32 = u32::MAX - 1;

/// In a forked child: a raw fork has not told the C library, whose ID is then the parent's thread's.
pub(super) fn trust_no_tid() {
    TID_TRUST.store(0, Relaxed);
}

/// What Linux says is this thread's ID; 0 in a child of `vfork`, which shares the memory but is
/// another process.
fn asked_tid() -> u32 {
    if ids::is_visitor() { 0 } else { ids::current() }
}

/// This thread's ID: without a system call, where it is trusted that the C library keeps it before
/// the head. 0 if it cannot be had, in a child of `vfork`.
pub(super) fn tid(block: usize) -> u32 {
    let Some(head) = learned_head(block) else { return asked_tid() };
    // SAFETY: `learned_head` gives a head only if these bytes, too, are in one page with the block,
    // which is mapped and readable. They are aligned as the head is.
    let noted = unsafe { head.byte_sub(TID_BEFORE_HEAD).cast::<u32>().read_volatile() };
    let trust = TID_TRUST.load(Relaxed);
    if trust == TRUSTED {
        return noted;
    }
    let tid = asked_tid();
    if tid == 0 {
        return 0;
    }
    let next = match (trust, noted == tid) {
        (NEVER_TRUSTED, _) | (_, false) => NEVER_TRUSTED,
        (0, true) => tid,
        (first, true) if first == tid => tid,
        (_, true) => TRUSTED,
    };
    TID_TRUST.store(next, Relaxed);
    tid
}
