// SPDX-License-Identifier: MIT OR Apache-2.0
//! Slabs: address space for many stacks in one mapping.
//!
//! Linux allows a process only so many mappings (`vm.max_map_count`, 65 530), and works longer on
//! each the more there are. Where guards can be made without a mapping of their own
//! (`MADV_GUARD_INSTALL`), stacks that lie side by side and may all be written are one mapping,
//! guards included. So a slab is mapped without access, its stacks are taken from the bottom up, and
//! each is opened as it is taken: a slab is two mappings, what is taken and what is not. Where
//! guards split mappings, there are no slabs.
//!
//! The stacks are unmapped one by one: a slab has no end of its own, and nothing counts.
//!
//! Nothing here locks: a signal handler may come at any instruction, and take a stack, too.
//!
//! What is between a slab's mark and its end is in use by nothing. The thread that moves the mark over
//! a range has the range to itself; the thread that puts another slab in the place of one has what
//! was left of that one.

use crate::sync::{AtomicU32, AtomicU64, Relaxed};

/// What sizes and addresses are multiples of: the smallest page.
const UNIT_BITS: u32 = 12;

/// The bits of what is left of a slab, in units. Above them is the address, of which Linux gives
/// out 47 bits or 48, unless a program asks for more (Documentation/arch/x86/x86_64/5level-paging.rst).
const LEFT_BITS: u32 = 28;

/// Stacks in the first slab, and in the largest: there, what is not taken yet is little beside what
/// is.
const FIRST: usize = 4;
const DOUBLINGS: u32 = 7;

/// No slab of more than one stack is larger, in bytes: much larger ones find no room where Gs are to lie.
const LARGEST: usize = 1 << 30;

/// The slab that stacks are taken from.
pub(super) struct Slab {
    /// Where the next stack is, and what is left from there; 0 if there is no slab.
    mark: AtomicU64,
    /// Slabs so far.
    count: AtomicU32,
}

/// A mark. `None` if the address does not fit.
fn mark(at: usize, left: usize) -> Option<u64> {
    let (at, left) = ((at >> UNIT_BITS) as u64, (left >> UNIT_BITS) as u64);
    let fits = at < 1 << (u64::BITS - LEFT_BITS) && left < 1 << LEFT_BITS;
    fits.then_some(at << LEFT_BITS | left)
}

/// The address of a mark, and the bytes that are left.
#[allow(clippy::cast_possible_truncation)] // they were `usize` before
fn place(mark: u64) -> (usize, usize) {
    let left = mark & ((1 << LEFT_BITS) - 1);
    ((mark >> LEFT_BITS << UNIT_BITS) as usize, (left << UNIT_BITS) as usize)
}

impl Slab {
    /// None yet.
    pub(super) const fn new() -> Self {
        Self { mark: AtomicU64::new(0), count: AtomicU32::new(0) }
    }

    /// `len` bytes, whole pages, from the slab or from a new one. `map` maps one without access;
    /// `None` if it does not. `unmap` gets what nothing uses and nothing else knows.
    pub(super) fn take(
        &self,
        len: usize,
        map: impl Fn(usize) -> Option<usize>,
        unmap: impl Fn(usize, usize),
    ) -> Option<usize> {
        loop {
            let now = self.mark.load(Relaxed);
            let (at, left) = place(now);
            if left >= len {
                let next = mark(at + len, left - len)?;
                // Relaxed: what is taken is known by its address alone.
                if self.mark.compare_exchange(now, next, Relaxed, Relaxed).is_ok() {
                    return Some(at);
                }
                continue;
            }
            let count = self.count.load(Relaxed);
            let most = (LARGEST / len).max(1);
            let size = len.checked_mul((FIRST << count.min(DOUBLINGS)).min(most))?;
            let start = map(size)?;
            let next = mark(start + len, size - len);
            let replaced = next.is_some_and(|next| {
                self.mark.compare_exchange(now, next, Relaxed, Relaxed).is_ok()
            });
            if replaced {
                self.count.store(count + 1, Relaxed);
                if left != 0 {
                    unmap(at, left);
                }
                return Some(start);
            }
            unmap(start, size);
            next?;
        }
    }

    /// What has not been taken, and nothing uses any more: where it starts, and its bytes. The next
    /// stack begins a new slab.
    pub(super) fn end(&self) -> Option<(usize, usize)> {
        let (at, left) = place(self.mark.swap(0, Relaxed));
        self.count.store(0, Relaxed);
        (left != 0).then_some((at, left))
    }
}
