// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stack of row numbers that many threads push and pop without a lock.
//!
//! The head is one 64-bit word: the first row's number plus one, and above it a
//! count that every change raises, so that a pop which was interrupted for long
//! cannot mistake a head that went and came back for the one it read. The rows
//! themselves stay mapped (`table.rs`), so a link that is read late is stale but
//! harmless: the compare-and-swap that would use it fails.

use crate::sync::{Acquire, AtomicU32, AtomicU64, Relaxed, SeqCst};

/// Where the links of a list's rows are.
pub(crate) trait Links {
    /// The link of row `index`: the next row's number plus one, or 0.
    fn link(&self, index: u32) -> Option<&AtomicU32>;
}

/// The stack's head.
pub(crate) struct List {
    head: AtomicU64,
}

/// The low half of a head: a row's number plus one.
#[allow(clippy::cast_possible_truncation)] // the half is what is wanted
fn first(head: u64) -> u32 {
    head as u32
}

/// A head after `before` that starts at `first`.
fn following(before: u64, first: u32) -> u64 {
    // model: a_list_without_a_generation
    ((before >> 32).wrapping_add(1) << 32) | u64::from(first)
}

impl List {
    /// An empty one.
    pub(crate) const fn new() -> Self {
        Self { head: AtomicU64::new(0) }
    }

    /// Puts row `index` first.
    pub(crate) fn push(&self, rows: &impl Links, index: u32) {
        let Some(link) = rows.link(index) else { return };
        let mut head = self.head.load(Relaxed);
        loop {
            link.store(first(head), Relaxed);
            // SeqCst: a waiter announces itself and then looks here; this push
            // is followed by a look for waiters. One of the two sees the other.
            // model: a_list_that_publishes_nothing
            match self.head.compare_exchange_weak(head, following(head, index + 1), SeqCst, Relaxed)
            {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes the first row, and whether it was the last.
    pub(crate) fn pop(&self, rows: &impl Links) -> Option<(u32, bool)> {
        let mut head = self.head.load(SeqCst);
        loop {
            let index = first(head).checked_sub(1)?;
            let next = rows.link(index)?.load(Relaxed);
            match self.head.compare_exchange_weak(head, following(head, next), SeqCst, Acquire) {
                Ok(_) => return Some((index, next == 0)),
                Err(now) => head = now,
            }
        }
    }

    /// Forgets all rows. No thread may be pushing or popping.
    pub(crate) fn clear(&self) {
        let head = self.head.load(Relaxed);
        self.head.store(following(head, 0), Relaxed);
    }
}
