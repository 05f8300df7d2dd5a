//! Keys, as a C library has them.

use super::system::{block, host};
use crate::os::terms::OnExit;
use crate::sync::{AtomicU32, SeqCst};
use core::cell::Cell;
use core::ffi::c_void;

/// A key, by its number.
#[derive(Clone, Copy)]
pub(super) struct Key(u32);

std::thread_local! {
    static DESTRUCTOR: Cell<Option<OnExit>> = const { Cell::new(None) };
}

/// Keys made so far.
static MADE: AtomicU32 = AtomicU32::new(0);
/// The last one's number, until it is deleted.
static VALID: AtomicU32 = AtomicU32::new(0);

/// Whether there is a C library.
pub(super) fn has_keys() -> bool {
    host().keys
}

/// Whether it is glibc: the lists of the model are as that has them.
pub(super) fn is_glibc() -> bool {
    host().keys
}

pub(super) fn key_create(destructor: OnExit) -> Option<Key> {
    if !host().keys {
        return None;
    }
    DESTRUCTOR.set(Some(destructor));
    let number = MADE.fetch_add(1, SeqCst) + 1;
    VALID.store(number, SeqCst);
    Some(Key(number))
}

impl Key {
    pub(super) fn set(self, value: *const c_void) -> bool {
        block().value.set((self.0, value.cast_mut()));
        true
    }
    pub(super) fn delete(self) {
        let _ = VALID.compare_exchange(self.0, 0, SeqCst, SeqCst);
    }
    pub(super) fn number(self) -> u32 {
        self.0
    }
    pub(super) fn from_number(number: u32) -> Self {
        Self(number)
    }
}

/// Runs a thread's destructor, unless the key was deleted.
pub(super) fn run_destructor(key: u32, value: *mut c_void) {
    if VALID.load(SeqCst) == key {
        let destructor = DESTRUCTOR.get().expect("the key was made");
        // SAFETY: this thread has set the value for this key, and is exiting.
        unsafe { destructor(value) };
    }
}
