// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting on a word, by futex(2), and the clock.
//!
//! On 32 bits each of these calls exists twice: for a time of two words, which is enough for
//! intervals and for a clock that starts with the system, and for a time of 64 bits. A system
//! may lack either: the second came with Linux 5.1, the first is an option of later ones
//! (`CONFIG_COMPAT_32BIT_TIME`). So where the first is missing, the second is tried.

use super::{Errno, call};
use crate::arch::linux::nr;
use crate::sync::AtomicU32;
use core::ptr;

// include/uapi/linux/futex.h
#[cfg(feature = "freestanding")]
const FUTEX_WAIT: usize = 0;
const FUTEX_WAIT_PRIVATE: usize = 128;
const FUTEX_WAKE_PRIVATE: usize = 1 | 128;

const FUTEX_TRYLOCK_PI_PRIVATE: usize = 8 | 128;

/// include/uapi/linux/time.h
const CLOCK_MONOTONIC: usize = 1;

/// include/uapi/asm-generic/errno.h
const ETIMEDOUT: Errno = Errno(110);
const EDEADLK: Errno = Errno(35);

const SECOND: u64 = 1_000_000_000;

/// Nanoseconds of a clock that only goes forward; `None` if the system does not let it be read.
pub(crate) fn now() -> Option<u64> {
    if super::spares_calls() {
        return None;
    }
    let mut time = [0_isize; 2];
    // SAFETY: Linux writes a timespec of two words.
    let answer = unsafe { call(nr::CLOCK_GETTIME, (CLOCK_MONOTONIC, &mut time)) };
    #[allow(clippy::cast_sign_loss)] // the clock counts from the start of the system
    let time = time.map(|part| part as u64);
    #[cfg(target_pointer_width = "32")]
    let (answer, time) = if answer == Err(super::ENOSYS) {
        let mut time = [0_u64; 2];
        // SAFETY: Linux writes a timespec of two times 64 bits.
        (unsafe { call(nr::CLOCK_GETTIME64, (CLOCK_MONOTONIC, &mut time)) }, time)
    } else {
        (answer, time)
    };
    let [seconds, nanos] = time;
    answer.is_ok().then(|| seconds.saturating_mul(SECOND).saturating_add(nanos))
}

/// futex(2), with what each operation used here takes.
///
/// # Safety
/// For an operation that waits, `word` is valid.
unsafe fn futex(
    word: *const AtomicU32,
    operation: usize,
    value: u32,
    nanos: Option<u64>,
) -> Result<usize, Errno> {
    let clamp = |part: u64| usize::try_from(part).unwrap_or(usize::MAX >> 1);
    let limit = nanos.map(|n| [clamp(n / SECOND), clamp(n % SECOND)]);
    // SAFETY: the caller keeps the word where Linux reads it; the timespec of two words outlives
    // the call.
    let answer = unsafe { call(nr::FUTEX, (word, operation, value, limit.as_ref())) };
    #[cfg(target_pointer_width = "32")]
    if answer == Err(super::ENOSYS) {
        let limit = nanos.map(|n| [n / SECOND, n % SECOND]);
        // SAFETY: the caller keeps the word where Linux reads it; the timespec of two times 64
        // bits outlives the call.
        return unsafe { call(nr::FUTEX_TIME64, (word, operation, value, limit.as_ref())) };
    }
    answer
}

/// Sleeps while `word` is `value`, at most `nanos`; whether that time has passed.
pub(crate) fn wait(word: &AtomicU32, value: u32, nanos: Option<u64>) -> bool {
    // SAFETY: the word is borrowed for the call.
    unsafe { futex(word, FUTEX_WAIT_PRIVATE, value, nanos) == Err(ETIMEDOUT) }
}

/// Sleeps until Linux has cleared `word`, which is `value`: the thread ID of a thread that
/// exits. Linux does not wake it as a private futex, so this does not wait on one.
#[cfg(feature = "freestanding")]
pub(super) fn wait_for_clear(word: &AtomicU32, value: u32) {
    // SAFETY: the word is borrowed for the call.
    let _ = unsafe { futex(word, FUTEX_WAIT, value, None) };
}

/// Wakes up to `count` threads that sleep on the word of this address, which may be gone by
/// now: Linux only looks for sleepers under it.
pub(crate) fn wake(word: *const AtomicU32, count: u32) {
    // SAFETY: FUTEX_WAKE reads and writes no memory of ours.
    let _ = unsafe { futex(word, FUTEX_WAKE_PRIVATE, count, None) };
}

/// Whether Linux can read a word at this address, which is aligned for 32 bits: it compares that with a value, and
/// sleeps no time at all. Where not even that is allowed, it is taken for readable.
pub(super) fn can_compare(address: usize) -> bool {
    let word = ptr::with_exposed_provenance::<AtomicU32>(address);
    // SAFETY: Linux reads the word if it can, and writes nothing. Nobody relies on being woken here.
    unsafe { futex(word, FUTEX_WAIT_PRIVATE, 0, Some(0)) != Err(super::EFAULT) }
}

/// Whether the thread with this ID has exited, if Linux says so of one that still has the ID: the first thread of a
/// process keeps it until all others have exited. A lock that says it is that thread's is then refused
/// (`attach_to_pi_owner` in linux/kernel/futex/pi.c). `own` is this thread.
pub(super) fn is_dead_owner(id: u32, own: u32) -> bool {
    let answer = |id| {
        let lock = AtomicU32::new(id);
        // SAFETY: the word is this function's own; the operation takes no more, and does not sleep.
        unsafe { futex(&raw const lock, FUTEX_TRYLOCK_PI_PRIVATE, 0, None) }
    };
    // Filters may not know the operation. One that answers says the same of this thread.
    !super::spares_calls() && answer(id) == Err(super::ESRCH) && answer(own) == Err(EDEADLK)
}
