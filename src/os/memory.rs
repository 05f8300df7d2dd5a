// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory, in whole pages.

use super::room::memory as room;
pub(crate) use super::terms::{Access, Side};

/// The least stack that deferred functions have after the stack has run out, in bytes, with what
/// the system itself takes of it.
pub(crate) const RESERVE: usize = room::RESERVE;

/// Whether the system opens the reserve itself when something touches it.
pub(crate) const RESERVE_OPENS_ITSELF: bool = room::RESERVE_OPENS_ITSELF;

/// The smallest guard below a stack's reserve, in bytes.
pub(crate) const LEAST_GUARD: usize = room::LEAST_GUARD;

/// The system has no memory, or no more mappings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused;

/// Asks the system for the size of a page. To be called before the first
/// [`page_size`]; not from a handler. The answer never changes.
pub(crate) fn ask_page_size() {
    room::ask_page_size();
}

/// Bytes of a page: what [`ask_page_size`] found, a power of two from 4096 on. Costs
/// one load.
pub(crate) fn page_size() -> usize {
    room::page_size()
}

/// Maps `len` bytes of zeros, up to the end of a page, at an address of the system's
/// choice, aligned to a page. They take memory only where they are touched.
pub(crate) fn map(len: usize, access: Access) -> Result<usize, Refused> {
    room::map(len, access).map_err(|_| Refused)
}

/// Unmaps what [`map`] gave for `len` bytes, the whole of it. Cannot fail.
///
/// # Safety
/// `start` and `len` are those of one [`map`], and nothing refers to the range.
pub(crate) unsafe fn unmap(start: usize, len: usize) {
    // SAFETY: the range is one whole mapping of `map`, and nothing refers to it, by this
    // function's own contract.
    unsafe { room::unmap(start, len) }
}

/// Maps a stack with its guards: `len` bytes of zeros that may be written, in which `guards` are
/// inaccessible for good (from, and to, in bytes from the start; whole pages). The first of them
/// starts at 0. Where the system can, many stacks are one mapping for it; and where the address
/// space has room, a G lies below the stacks that the system gives to threads: code that leaves it
/// for one of those then goes up, as code that returns does. To be unmapped by [`unmap`], with
/// the same `len`.
pub(crate) fn map_stack(
    side: Side,
    len: usize,
    guards: &[(usize, usize)],
) -> Result<usize, Refused> {
    room::map_stack(side, len, guards).map_err(|_| Refused)
}

/// Unmaps address space that is kept for stacks to come.
pub(crate) fn unmap_spare_room() {
    room::unmap_spare_room();
}

/// Readies the reserve below a stack: the upper end of its lowest guard, which nothing may use
/// until the stack has run out, and [`open`] opens it. On a system that handles faults on the
/// stack that has run out, its handler may use it before that.
///
/// # Safety
/// The range is whole pages of a guard that [`map_stack`] made, or that [`close`] has closed; and
/// nothing uses it.
pub(crate) unsafe fn arm_reserve(start: usize, len: usize) -> Result<(), Refused> {
    // SAFETY: the range is part of one mapping of `map`, is closed, and nothing uses it, by this
    // function's own contract.
    unsafe { room::arm_reserve(start, len) }.map_err(|_| Refused)
}

/// Opens a part of a guard: it may be written then.
///
/// # Safety
/// The range is whole pages of a guard that [`map_stack`] made, and nothing uses it.
pub(crate) unsafe fn open(start: usize, len: usize) -> Result<(), Refused> {
    // SAFETY: the range is part of a guard, and nothing uses it, by this function's own contract.
    unsafe { room::open(start, len) }.map_err(|_| Refused)
}

/// Closes what [`open`] has opened, and gives its memory back. Cannot fail.
///
/// # Safety
/// The range is one that [`open`] has opened, and what it holds is not needed.
pub(crate) unsafe fn close(start: usize, len: usize) {
    // SAFETY: the range is part of a guard, and nothing there is needed, by this function's own
    // contract.
    unsafe { room::close(start, len) }
}

/// The lowest page of a range that takes memory: one that was touched since it was mapped or
/// [`discard`]ed. `None` if there is none, or if the system does not say; a page that it has
/// swapped out may count as untouched.
///
/// # Safety
/// The range is whole pages of one mapping that [`map`] made.
pub(crate) unsafe fn lowest_touched(start: usize, len: usize) -> Option<usize> {
    // SAFETY: the range is whole pages of one mapping of `map`, by this function's own contract.
    unsafe { room::lowest_touched(start, len) }
}

/// Has a range read as zeros. Where the system can, its memory is given back.
///
/// # Safety
/// The range is whole pages of one mapping that [`map`] made, may be written, and what it holds
/// is not needed.
pub(crate) unsafe fn clear(start: usize, len: usize) {
    // SAFETY: the range is part of one mapping of `map`, may be written, and nothing there is
    // needed, by this function's own contract.
    unsafe { room::clear(start, len) }
}

/// Gives the memory of a range back. It reads as zeros afterwards, or as before where
/// the system keeps it; the range stays mapped. Cannot fail.
///
/// # Safety
/// The range is whole pages of one mapping that [`map`] made, and what it holds is not
/// needed.
pub(crate) unsafe fn discard(start: usize, len: usize) {
    // SAFETY: the range is part of one mapping of `map`, and nothing there is needed, by this
    // function's own contract.
    unsafe { room::discard(start, len) }
}
