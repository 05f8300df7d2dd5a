// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tables whose rows never move: of Ms, and of threads' records.
//!
//! A row, once there, stays where it is until needm is stopped, so a
//! pointer to it that was read a while ago still points to a row. That is what
//! lets the extra list be popped without a lock.
//!
//! Chunk *k* holds `FIRST << k` rows, mapped straight from the system and zero
//! to start with; adding takes no lock and may be interrupted anywhere.
//!
//! Processors find a cache line, and a store that a load has to wait for, by the address within
//! the page first. A callback per call uses the first line of an M and that of a thread's record
//! in turns. Were both at the same place of their pages, each access might wait for the other
//! (Zen 3: 24 cycles more a callback, by the chance of where the tables are mapped). So all rows
//! of a table begin at its [`Rows::PLACE`] in a pair of lines.
//!
//! # Safety
//! `E` must be valid as all zeros and hold nothing but atomics: [`Rows`].
#![allow(unsafe_code)] // rows live in mappings

use core::ptr;

use crate::os::memory::{self, Access};
use crate::sync::{AcqRel, Acquire, AtomicPtr, AtomicU32, Relaxed};

/// Rows of the first chunk.
const FIRST: u32 = 64;
/// Chunks, at most: together some thousand million rows.
const CHUNKS: usize = 24;

/// What a row may be.
///
/// # Safety
/// All zeros is a valid value, and every field can be shared.
pub(crate) unsafe trait Rows: Sync {
    /// Where rows begin, in bytes from the start of a pair of cache lines: 0 or [`LINE`].
    const PLACE: usize;
}

/// A cache line, in bytes.
pub(crate) const LINE: usize = 64;

/// Two lines, which some processors fetch together.
pub(crate) const PAIR: usize = 2 * LINE;

/// A growing table of `E`.
pub(crate) struct Table<E> {
    chunks: [AtomicPtr<E>; CHUNKS],
    len: AtomicU32,
}

/// The system had no memory for a row, or the table is full.
#[derive(Debug)]
pub(crate) struct Full;

impl<E: Rows> Table<E> {
    const ALIGNED: () =
        assert!(PAIR.is_multiple_of(align_of::<E>()) && E::PLACE.is_multiple_of(align_of::<E>()));

    /// An empty one.
    pub(crate) const fn new() -> Self {
        let () = Self::ALIGNED;
        Self { chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS], len: AtomicU32::new(0) }
    }

    /// The chunk that row `index` is in, and the row's place there.
    fn place(index: u32) -> (usize, usize) {
        // Nothing here can panic, whatever the index. The sum wraps only for an index that no
        // table reaches.
        let shifted = index.wrapping_add(FIRST) | 1;
        let chunk = FIRST.leading_zeros().saturating_sub(shifted.leading_zeros());
        (chunk as usize, index.wrapping_add(FIRST).wrapping_sub(FIRST << chunk) as usize)
    }

    /// From one row to the next, in bytes.
    const STRIDE: usize = size_of::<E>().next_multiple_of(PAIR);

    fn bytes(chunk: usize) -> usize {
        E::PLACE + ((FIRST as usize * Self::STRIDE) << chunk)
    }

    /// Rows so far.
    pub(crate) fn len(&self) -> u32 {
        self.len.load(Acquire)
    }

    /// Row `index`, if there is one.
    pub(crate) fn get(&self, index: u32) -> Option<&E> {
        if index >= self.len() {
            return None;
        }
        let (chunk, row) = Self::place(index);
        let start = self.chunks.get(chunk)?.load(Acquire);
        // SAFETY: `len` covers the row, which means that its chunk was mapped before, with room for
        // `PLACE` and so many strides, and `clear`'s caller promises that no thread is here then.
        // A chunk starts with a page, and `PLACE` and `STRIDE` are multiples of the alignment.
        Some(unsafe { &*start.byte_add(E::PLACE + row * Self::STRIDE) })
    }

    /// All rows.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &E> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Adds a row of zeros and returns its index.
    pub(crate) fn add(&self) -> Result<u32, Full> {
        loop {
            let index = self.len();
            let (chunk, _) = Self::place(index);
            let slot = self.chunks.get(chunk).ok_or(Full)?;
            if slot.load(Acquire).is_null() {
                let bytes = Self::bytes(chunk);
                let start = memory::map(bytes, Access::ReadWrite).map_err(|_| Full)?;
                let fresh = start as *mut E;
                if slot.compare_exchange(ptr::null_mut(), fresh, AcqRel, Acquire).is_err() {
                    // SAFETY: no other thread has seen this mapping.
                    unsafe { memory::unmap(start, bytes) };
                }
            }
            if self.len.compare_exchange(index, index + 1, AcqRel, Relaxed).is_ok() {
                return Ok(index);
            }
        }
    }

    /// Unmaps all rows.
    ///
    /// # Safety
    /// No thread is in the table or holds a reference into it, and none comes
    /// before this has returned.
    pub(crate) unsafe fn clear(&self) {
        self.len.store(0, Relaxed);
        for (chunk, slot) in self.chunks.iter().enumerate() {
            let start = slot.swap(ptr::null_mut(), AcqRel);
            if !start.is_null() {
                // SAFETY: the chunk was mapped with this size, and the caller
                // promises that nothing refers into it.
                unsafe { memory::unmap(start as usize, Self::bytes(chunk)) };
            }
        }
    }
}
