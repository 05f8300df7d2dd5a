// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting on a word, by `WaitOnAddress`, and the clock.

use core::ptr;

use super::last_error;
use super::sys::{
    ERROR_TIMEOUT, GetLastError, INFINITE, QueryPerformanceCounter, QueryPerformanceFrequency,
    WaitOnAddress, WakeByAddressAll, WakeByAddressSingle,
};
use crate::sync::AtomicU32;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u128 = 1_000_000_000;

/// Nanoseconds of a clock that only goes forward. Windows never refuses it (Microsoft,
/// `QueryPerformanceCounter`).
pub(crate) fn now() -> Option<u64> {
    let (mut count, mut frequency) = (0, 0);
    // SAFETY: Windows writes a number to each.
    let known = last_error::keeping(|| unsafe {
        QueryPerformanceFrequency(&raw mut frequency) != 0
            && QueryPerformanceCounter(&raw mut count) != 0
    });
    let (count, frequency) = (u128::try_from(count).ok()?, u128::try_from(frequency).ok()?);
    if !known || frequency == 0 {
        return None;
    }
    u64::try_from(count * SECOND / frequency).ok()
}

/// Sleeps while `word` is `value`, at most `nanos`, in whole milliseconds; whether that time has
/// passed.
pub(crate) fn wait(word: &AtomicU32, value: u32, nanos: Option<u64>) -> bool {
    let millis = nanos.map_or(INFINITE, |nanos| {
        u32::try_from(nanos.div_ceil(MILLISECOND)).unwrap_or(INFINITE - 1).min(INFINITE - 1)
    });
    let address = ptr::from_ref(word).cast();
    let size = size_of::<AtomicU32>();
    last_error::keeping(|| {
        // SAFETY: both words are valid for the call.
        let woken = unsafe { WaitOnAddress(address, (&raw const value).cast(), size, millis) };
        woken == 0 && GetLastError() == ERROR_TIMEOUT
    })
}

/// Wakes up to `count` threads that sleep on the word of this address, or all of them.
pub(crate) fn wake(word: *const AtomicU32, count: u32) {
    // SAFETY: Windows only looks for sleepers under the address.
    unsafe {
        if count == 1 {
            WakeByAddressSingle(word.cast());
        } else {
            WakeByAddressAll(word.cast());
        }
    }
}
