//! Threads, futexes, clocks, and the barrier across threads.

use core::ptr;

use super::{ESRCH, Errno, call, checked};
use crate::arch::linux::nr;
use crate::sync::{Acquire, AtomicU32, Relaxed, fence};

// include/uapi/linux/futex.h
#[cfg(feature = "freestanding")]
const FUTEX_WAIT: usize = 0;
const FUTEX_WAIT_PRIVATE: usize = 128;
const FUTEX_WAKE_PRIVATE: usize = 1 | 128;
/// The bit the kernel sets in a robust futex whose owner died.
pub(crate) const FUTEX_OWNER_DIED: u32 = 0x4000_0000;

// include/uapi/linux/membarrier.h
const MEMBARRIER_PRIVATE_EXPEDITED: usize = 1 << 3;
const MEMBARRIER_REGISTER_PRIVATE_EXPEDITED: usize = 1 << 4;

/// include/uapi/linux/time.h
const CLOCK_MONOTONIC: usize = 1;

/// This process.
pub(crate) fn process() -> u32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { call(nr::GETPID, ()) }.map_or(0, low)
}

/// This thread.
pub(crate) fn current() -> u32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { call(nr::GETTID, ()) }.map_or(0, low)
}

#[allow(clippy::cast_possible_truncation)] // ids are positive ints
fn low(id: usize) -> u32 {
    id as u32
}

/// Whether a thread of this process has this id.
pub(crate) fn alive(tid: u32) -> bool {
    // SAFETY: signal 0 is only a question.
    let answer = unsafe { call(nr::TGKILL, (process(), tid, 0)) };
    answer != Err(ESRCH)
}

/// Nanoseconds of a clock that only goes forward.
pub(crate) fn now() -> u64 {
    let mut time = [0_isize; 2];
    // SAFETY: the kernel writes a timespec of two words.
    let _ = unsafe { call(nr::CLOCK_GETTIME, (CLOCK_MONOTONIC, &mut time)) };
    #[allow(clippy::cast_sign_loss)] // the clock counts from the start of the system
    let [seconds, nanos] = time.map(|part| part as u64);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Sleeps while `word` is `value`, at most `nanos`.
pub(crate) fn wait(word: &AtomicU32, value: u32, nanos: Option<u64>) -> Result<(), Errno> {
    let clamp = |part: u64| usize::try_from(part).unwrap_or(usize::MAX >> 1);
    let limit = nanos.map(|n| [clamp(n / 1_000_000_000), clamp(n % 1_000_000_000)]);
    // SAFETY: the word and the timespec of two words outlive the call.
    unsafe { call(nr::FUTEX, (word, FUTEX_WAIT_PRIVATE, value, limit.as_ref())) }.map(drop)
}

/// Sleeps until the system has cleared `word`, which is `value`: the number of a thread
/// that ends. The system's wake is not a private one.
#[cfg(feature = "freestanding")]
pub(crate) fn wait_for_clear(word: &AtomicU32, value: u32) {
    const FOR_EVER: Option<&[usize; 2]> = None;
    // SAFETY: the word outlives the call.
    let _ = unsafe { call(nr::FUTEX, (word, FUTEX_WAIT, value, FOR_EVER)) };
}

/// What `needm_clone` answered: the new thread's number, or why there is none.
pub(crate) fn thread_made(answer: isize) -> Result<u32, Errno> {
    checked(answer).map(low)
}

/// Wakes up to `count` of those who sleep on `word`.
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    wake_some(word, count);
}

/// Wakes one who sleeps on the word of this address, which may be gone by now: the
/// kernel only looks for sleepers under it.
pub(crate) fn wake_at(word: *const AtomicU32) {
    wake_some(word, 1);
}

fn wake_some(word: *const AtomicU32, count: u32) {
    // SAFETY: FUTEX_WAKE reads and writes no memory of ours.
    unsafe {
        let _ = call(nr::FUTEX, (word, FUTEX_WAKE_PRIVATE, count));
    }
}

/// Registers this process for [`barrier`]; whether it can be had.
pub(crate) fn register_barrier() -> bool {
    // SAFETY: touches no memory.
    unsafe { call(nr::MEMBARRIER, (MEMBARRIER_REGISTER_PRIVATE_EXPEDITED, 0, 0)) }.is_ok()
}

/// A full barrier on every thread of this process that is running.
pub(crate) fn barrier() {
    // SAFETY: touches no memory.
    let _ = unsafe { call(nr::MEMBARRIER, (MEMBARRIER_PRIVATE_EXPEDITED, 0, 0)) };
}

/// `struct robust_list_head` (include/uapi/linux/futex.h).
#[repr(C)]
pub(crate) struct RobustHead {
    /// The first entry, or the head itself.
    pub(crate) list: *mut usize,
    /// From an entry to its futex word, in bytes.
    pub(crate) futex_offset: isize,
    /// An entry that is being linked or unlinked.
    pub(crate) pending: *mut usize,
}

/// The robust list that is registered for this thread, if the system has them.
pub(crate) fn robust_head() -> Option<*mut RobustHead> {
    let mut head: *mut RobustHead = ptr::null_mut();
    let mut size = 0_usize;
    // SAFETY: 0 is this thread; the kernel writes a pointer and a size.
    let answer = unsafe { call(nr::GET_ROBUST_LIST, (0, &mut head, &mut size)) };
    (answer.is_ok() && size == size_of::<RobustHead>()).then_some(head)
}

/// Registers `head` for this thread.
///
/// # Safety
/// `head` and the entries linked to it live until the thread has ended.
pub(crate) unsafe fn set_robust_head(head: *mut RobustHead) -> Result<(), Errno> {
    // SAFETY: passed on.
    unsafe { call(nr::SET_ROBUST_LIST, (head, size_of::<RobustHead>())) }.map(drop)
}

/// Whether the owner of a robust futex has died.
pub(crate) fn owner_died(word: &AtomicU32) -> bool {
    let died = word.load(Relaxed) & FUTEX_OWNER_DIED != 0;
    if died {
        // Who learns it sees what the owner wrote before.
        fence(Acquire);
    }
    died
}

/// The error number where a host can make no threads: ENOSYS
/// (include/uapi/asm-generic/errno.h).
pub(crate) const NO_THREADS: i32 = 38;
