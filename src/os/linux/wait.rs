//! Waiting on a word, by futex(2), and the clock.

use super::call;
use crate::arch::linux::nr;
use crate::sync::AtomicU32;

// include/uapi/linux/futex.h
#[cfg(feature = "freestanding")]
const FUTEX_WAIT: usize = 0;
const FUTEX_WAIT_PRIVATE: usize = 128;
const FUTEX_WAKE_PRIVATE: usize = 1 | 128;

/// include/uapi/linux/time.h
const CLOCK_MONOTONIC: usize = 1;

/// Nanoseconds of a clock that only goes forward.
pub(crate) fn now() -> u64 {
    let mut time = [0_isize; 2];
    // SAFETY: Linux writes a timespec of two words.
    let _ = unsafe { call(nr::CLOCK_GETTIME, (CLOCK_MONOTONIC, &mut time)) };
    #[allow(clippy::cast_sign_loss)] // the clock counts from the start of the system
    let [seconds, nanos] = time.map(|part| part as u64);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Sleeps while `word` is `value`, at most `nanos`.
pub(crate) fn wait(word: &AtomicU32, value: u32, nanos: Option<u64>) {
    let clamp = |part: u64| usize::try_from(part).unwrap_or(usize::MAX >> 1);
    let limit = nanos.map(|n| [clamp(n / 1_000_000_000), clamp(n % 1_000_000_000)]);
    // SAFETY: the word and the timespec of two words outlive the call.
    let _ = unsafe { call(nr::FUTEX, (word, FUTEX_WAIT_PRIVATE, value, limit.as_ref())) };
}

/// Sleeps until the system has cleared `word`, which is `value`: the number of a thread
/// that exits. The system's wake is not a private one.
#[cfg(feature = "freestanding")]
pub(super) fn wait_for_clear(word: &AtomicU32, value: u32) {
    const FOR_EVER: Option<&[usize; 2]> = None;
    // SAFETY: the word outlives the call.
    let _ = unsafe { call(nr::FUTEX, (word, FUTEX_WAIT, value, FOR_EVER)) };
}

/// Wakes up to `count` threads that sleep on the word of this address, which may be gone by
/// now: Linux only looks for sleepers under it.
pub(crate) fn wake(word: *const AtomicU32, count: u32) {
    // SAFETY: FUTEX_WAKE reads and writes no memory of ours.
    let _ = unsafe { call(nr::FUTEX, (word, FUTEX_WAKE_PRIVATE, count)) };
}
