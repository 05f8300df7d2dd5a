//! The numbers of threads, and whether a thread of a number lives.

use super::system;

pub(super) fn current() -> u32 {
    system::block().tid()
}

pub(super) fn alive(tid: u32) -> bool {
    system::is_alive(tid)
}
