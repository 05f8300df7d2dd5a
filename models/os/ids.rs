//! Thread IDs, and whether a thread with a given ID exists.

use super::system;

/// There is one process.
pub(crate) fn note_home() {}

/// No child of a `vfork` comes.
pub(super) fn is_visitor() -> bool {
    false
}

pub(super) fn current() -> u32 {
    system::block().tid()
}

pub(super) fn alive(tid: u32) -> bool {
    system::is_alive(tid)
}
