// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread-specific key whose destructor runs as a thread exits, where there is a C library.
//!
//! glibc allocates when a thread sets the first value of a key beyond the first 32
//! (`__pthread_setspecific` in nptl). A thread's first callback sets the value, and may be in a
//! handler that has interrupted `malloc`. So only a key below [`WITHOUT_ALLOCATION`] is used. A
//! program that has taken all of those does without: its exits are noticed by the robust list,
//! or by asking (`exit.rs`).

use core::ffi::c_void;

use super::libc::{self, Key};
use crate::os::terms::OnExit;
use crate::sync::{AtomicU32, Relaxed, SeqCst};

/// Keys below this number have room for their value in each thread's own record (glibc's
/// `PTHREAD_KEY_2NDLEVEL_SIZE`; musl and bionic have room for all of theirs).
const WITHOUT_ALLOCATION: u32 = 32;

/// The key's number plus one, 0 without one.
static KEY: AtomicU32 = AtomicU32::new(0);

/// The key, if there is one now.
pub(super) fn key() -> Option<Key> {
    KEY.load(Relaxed).checked_sub(1).map(Key::from_number)
}

/// Makes the key.
pub(super) fn begin(on_exit: OnExit) {
    let mut key = libc::key_create(on_exit);
    if let Some(late) = key.filter(|key| key.number() >= WITHOUT_ALLOCATION) {
        late.delete();
        key = None;
    }
    KEY.store(key.map_or(0, |key| key.number() + 1), SeqCst);
}

/// Deletes the key.
pub(crate) fn end() {
    let key = key();
    // Before the delete: a child forked after it must not delete the key again, whose number may
    // be another library's by then.
    KEY.store(0, SeqCst);
    if let Some(key) = key {
        key.delete();
    }
}

/// Sets the key's value, so that the destructor runs with it when this thread exits. False if there is none.
pub(super) fn arm(value: *const c_void) -> bool {
    key().is_some_and(|key| key.set(value))
}
