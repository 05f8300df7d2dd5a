//! The thread-specific key whose destructor runs as a thread exits, where there is a C library.

use core::ffi::c_void;

use super::libc::{self, Key};
use crate::os::terms::OnExit;
use crate::sync::{AtomicU32, Relaxed, SeqCst};

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
    // Before the delete: a child forked after it must not delete the key again, whose number may
    // be another library's by then.
    KEY.store(0, SeqCst);
    if let Some(key) = key {
        key.delete();
    }
}

/// Has the destructor run at this thread's exit, with `value`.
pub(super) fn arm(value: *const c_void) {
    if let Some(key) = key() {
        key.set(value);
    }
}
