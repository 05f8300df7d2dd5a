// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mappings, stacks and their guards, and the size of a page.

use super::slab::Slab;
use super::{EFAULT, Errno, call, libc, spares_calls};
use crate::arch::linux::nr;
use crate::os::terms::{Access, Side};
use crate::sync::{AtomicBool, AtomicUsize, Relaxed};
use crate::valgrind;
use core::mem;
use core::ops::Range;

// include/uapi/asm-generic/mman-common.h and mman.h; the same on every
// architecture here.
const PROT_NONE: usize = 0;
const PROT_READ_WRITE: usize = 1 | 2;
const MAP_PRIVATE_ANONYMOUS: usize = 0x02 | 0x20;
const MAP_FIXED: usize = 0x10;
const MAP_NORESERVE: usize = 0x4000;
const MADV_DONTNEED: usize = 4;
const MADV_NOHUGEPAGE: usize = 15;
const MADV_GUARD_INSTALL: usize = 102; // since Linux 6.13
const MADV_GUARD_REMOVE: usize = 103;

/// How much of a guard, next to the stack, is marked in page tables, in bytes.
const MOST_MARKED: usize = 2 << 20;

/// The least stack for deferred functions after an overflow, in bytes.
pub(crate) const RESERVE: usize = 16 * 1024;

/// The signal stack holds the handler of an overflow.
pub(crate) const RESERVE_OPENS_ITSELF: bool = false;

/// A page.
pub(crate) const LEAST_GUARD: usize = 1;

/// Bytes of a page where nothing says: the smallest that Linux has.
const LEAST_PAGE: usize = 4096;

/// Bytes of a page.
static PAGE: AtomicUsize = AtomicUsize::new(LEAST_PAGE);

/// Reads the size of a page from the auxiliary vector: by the C library, or as `_start` has
/// noted it.
pub(crate) fn ask_page_size() {
    let page = libc::auxiliary(libc::AT_PAGESZ);
    let page = page.filter(|page| page.is_power_of_two() && *page >= LEAST_PAGE);
    PAGE.store(page.unwrap_or(LEAST_PAGE), Relaxed);
}

/// Bytes of a page.
pub(crate) fn page_size() -> usize {
    PAGE.load(Relaxed)
}

fn bits(access: Access) -> usize {
    match access {
        Access::None => PROT_NONE,
        Access::ReadWrite => PROT_READ_WRITE,
    }
}

/// Maps `len` bytes of zeros, which take memory only where they are touched.
pub(crate) fn map(len: usize, access: Access) -> Result<usize, Errno> {
    map_near(0, len, access)
}

/// Maps at an address if nothing is there yet, else at one of Linux's choice.
fn map_near(start: usize, len: usize, access: Access) -> Result<usize, Errno> {
    // SAFETY: without MAP_FIXED a mapping touches no other.
    unsafe { map_at(start, len, bits(access), 0) }
}

/// Maps `len` bytes of zeros.
///
/// # Safety
/// With [`MAP_FIXED`] in `also`, the range is the caller's, and what it holds is not needed.
unsafe fn map_at(start: usize, len: usize, bits: usize, also: usize) -> Result<usize, Errno> {
    const NO_FILE: i32 = -1;
    let flags = MAP_PRIVATE_ANONYMOUS | MAP_NORESERVE | also;
    // SAFETY: by this function's own contract, no other mapping is touched that is needed.
    unsafe { call(nr::MMAP, (start, len, bits, flags, NO_FILE, 0_usize)) }
}

/// Where stacks of Gs lie: in a range that all address spaces of 64-bit systems have (the smallest, riscv64's sv39, has
/// 256 GiB) and that nothing else asks for: SBCL's heap begins at 64 GiB, programs and their heaps lie above 170 GiB
/// or below 4, Go's heap at 768. 32 bits have no such room.
#[cfg(target_pointer_width = "64")]
const LOW: Range<usize> = 0x18_0000_0000..0x28_0000_0000; // from 96 to 160 GiB
#[cfg(not(target_pointer_width = "64"))]
const LOW: Range<usize> = 0..0;

/// Maps `len` bytes for Gs: in [`LOW`] if there is room.
fn map_low(len: usize) -> Result<usize, Errno> {
    /// Of `LOW`, the golden section, in largest pages: so often repeated, it comes to all parts.
    const STEP: usize = ((LOW.end - LOW.start) / 1000 * 618) & !0xffff;
    const TRIES: u32 = 16;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    static IS_FULL: AtomicBool = AtomicBool::new(false);

    // valgrind maps from the bottom up. Callgrind counts a callback as over where its G lies below its caller's stack.
    if LOW.is_empty() || valgrind::watches() {
        return self::map(len, Access::None);
    }
    // The first is as random as the address of the caller's stack, and tells no more than that.
    if NEXT.load(Relaxed) == 0 {
        let here = (&raw const len).addr();
        let _ = NEXT.compare_exchange(0, here.next_multiple_of(page_size()), Relaxed, Relaxed);
    }
    let map_next = || {
        let next = NEXT.fetch_add(len, Relaxed).checked_rem(LOW.end - LOW.start).unwrap_or(0);
        map_near(LOW.start + next, len, Access::None)
    };
    let mut map = map_next()?;
    if LOW.contains(&map) || IS_FULL.load(Relaxed) {
        return Ok(map);
    }
    // Something is there: an older G, or what the host has mapped.
    for _ in 0..TRIES {
        NEXT.fetch_add(STEP, Relaxed);
        let Ok(other) = map_next() else { return Ok(map) };
        // SAFETY: it is a mapping just made, and no other thread has seen it.
        unsafe { unmap(mem::replace(&mut map, other), len) };
        if LOW.contains(&map) {
            return Ok(map);
        }
    }
    IS_FULL.store(true, Relaxed);
    Ok(map)
}

/// Where Gs lie side by side, and where signal stacks do. Apart, because all of one kind are
/// unmapped in a row: a hole between two stacks splits a mapping.
static GS: Slab = Slab::new();
static SIGNAL_STACKS: Slab = Slab::new();

/// Maps a stack with its guards: `len` bytes that may be written, without `guards` (from, and to,
/// in bytes from the start). They begin with a guard.
///
/// If no guard splits a mapping, the stack lies beside others in one mapping. A G lies below the
/// stacks of threads. Linux maps from the top down, so a thread made later than a G would else have
/// its stack below it. The `longjmp` of programs that are compiled with `_FORTIFY_SOURCE` then takes a
/// jump from the G for one to a frame that is gone; and a collector, the G for the older part of the
/// thread's stack.
pub(crate) fn map_stack(side: Side, len: usize, guards: &[(usize, usize)]) -> Result<usize, Errno> {
    let len = len.next_multiple_of(page_size());
    let slab = match side {
        Side::G => &GS,
        Side::SignalStack => &SIGNAL_STACKS,
    };
    let map_room = |len| match side {
        Side::G => map_low(len),
        Side::SignalStack => self::map(len, Access::None),
    };
    let map_slab = |len| map_room(len).inspect(|start| refuse_huge_pages(*start, len)).ok();
    let beside = if splits_no_mapping() { slab.take(len, map_slab, unmap_unused) } else { None };
    let map = beside.map_or_else(|| map_room(len), Ok)?;
    let (_, lowest) = guards.first().copied().unwrap_or((0, 0));
    let open = if beside.is_some() { 0 } else { lowest };
    // SAFETY: all ranges are inside the mapping just made, which nothing uses yet.
    let made = unsafe {
        protect(map + open, len - open, Access::ReadWrite).and_then(|()| {
            let closed = guards.iter().filter(|(from, _)| *from >= open);
            closed.copied().try_for_each(|(from, to)| guard(map + from, to - from))
        })
    };
    if let Err(error) = made {
        // SAFETY: it is the mapping just made, and no other thread has seen it.
        unsafe { unmap(map, len) };
        return Err(error);
    }
    if beside.is_none() && side == Side::G {
        // The guard, too: to open a part of it then moves the border between two mappings, and makes no third one.
        // SAFETY: the mapping just made, which nothing uses yet.
        unsafe { take_small_pages(map, len) };
    }
    Ok(map)
}

/// For a new slab: all of it, so that what is opened there stays one mapping, takes small pages.
fn refuse_huge_pages(start: usize, len: usize) {
    // SAFETY: the mapping just made, which nothing uses.
    unsafe { take_small_pages(start, len) };
}

/// Unmaps a part of a slab in which there is no stack.
fn unmap_unused(start: usize, len: usize) {
    // SAFETY: `Slab` says that nothing uses it, and that no other thread knows of it.
    unsafe { unmap(start, len) };
}

/// Unmaps what is kept for stacks that are mapped later.
pub(crate) fn unmap_spare_room() {
    for (start, len) in [&GS, &SIGNAL_STACKS].into_iter().filter_map(Slab::end) {
        unmap_unused(start, len);
    }
}

/// Unmaps a range.
///
/// # Safety
/// The range is the caller's, and nothing refers to it any more.
pub(crate) unsafe fn unmap(start: usize, len: usize) {
    // SAFETY: the caller owns the range, so no other mapping is touched. The call fails only
    // for a range that is none.
    let _ = unsafe { call(nr::MUNMAP, (start, len)) };
}

/// Changes what a range may be used for.
///
/// # Safety
/// The range is the caller's, and nothing there is in use that it takes away.
pub(super) unsafe fn protect(start: usize, len: usize, access: Access) -> Result<(), Errno> {
    // SAFETY: the caller owns the range and uses it only as `access` allows.
    unsafe { call(nr::MPROTECT, (start, len, bits(access))) }.map(drop)
}

/// Whether [`MADV_GUARD_INSTALL`] does what it says.
static GUARDS: AtomicUsize = AtomicUsize::new(UNKNOWN);
const UNKNOWN: usize = 0;
const WORK: usize = 1;
const DO_NOT: usize = 2;

/// Makes whole pages inaccessible for good.
///
/// A guard that Linux keeps in its page tables leaves the mapping in one piece, of which a
/// process may have only so many (`vm.max_map_count`).
///
/// # Safety
/// The range is the caller's, and nothing there is in use.
unsafe fn guard(start: usize, len: usize) -> Result<(), Errno> {
    // What lies below that has no access: each page that is marked as a guard takes its entry of a page table.
    let below = len.saturating_sub(MOST_MARKED);
    if below != 0 {
        // SAFETY: the caller owns the range, and nothing there is in use that access would be lost to.
        unsafe { protect(start, below, Access::None)? };
    }
    let (start, len) = (start + below, len - below);
    let known = if spares_calls() { DO_NOT } else { GUARDS.load(Relaxed) };
    // SAFETY: the caller owns the range, and does not use it.
    let advised =
        known != DO_NOT && unsafe { call(nr::MADVISE, (start, len, MADV_GUARD_INSTALL)) }.is_ok();
    if advised && (known == WORK || is_closed(start)) {
        GUARDS.store(WORK, Relaxed);
        return Ok(());
    }
    if known == UNKNOWN {
        GUARDS.store(DO_NOT, Relaxed);
    }
    // Linux makes no guards in locked memory (mlock(2)): what is in the same mapping is locked, too.
    unmap_spare_room();
    // SAFETY: the caller owns the range, and nothing there is in use that access would be lost to.
    unsafe { protect(start, len, Access::None) }
}

/// Whether a guard takes no mapping of its own, as far as is known.
fn splits_no_mapping() -> bool {
    !spares_calls() && GUARDS.load(Relaxed) == WORK
}

/// Opens a part of a guard, all of which reads as zeros then.
///
/// # Safety
/// The range is whole pages of one mapping of the caller's, in which nothing is in use.
pub(crate) unsafe fn open(start: usize, len: usize) -> Result<(), Errno> {
    // SAFETY: the caller owns the range, and more access takes nothing away.
    unsafe { protect(start, len, Access::ReadWrite)? };
    if !splits_no_mapping() {
        return Ok(());
    }
    // SAFETY: the caller owns the range, and nothing there is in use.
    let removed = unsafe { call(nr::MADVISE, (start, len, MADV_GUARD_REMOVE)) };
    if removed.is_ok() {
        return Ok(());
    }
    // A sandbox that was put up since may refuse advice that it does not know.
    // SAFETY: the caller owns the range, and nothing there is in use.
    unsafe { map_at(start, len, PROT_READ_WRITE, MAP_FIXED) }.map(drop)
}

/// Closes it again, and gives its memory back.
///
/// # Safety
/// The range is whole pages of one mapping of the caller's, and what it holds is not needed.
pub(crate) unsafe fn close(start: usize, len: usize) {
    // SAFETY: nothing there is in use. If it cannot be closed, more of the stack can be used.
    unsafe {
        discard(start, len);
        let _ = guard(start, len);
    }
}

/// Whether Linux itself cannot write to the start of a range: qemu-user agrees to any advice, so
/// the answer to it is not enough.
fn is_closed(start: usize) -> bool {
    const CLOCK_MONOTONIC: usize = 1; // include/uapi/linux/time.h
    // SAFETY: Linux writes a timespec where nothing is in use, or fails.
    unsafe { call(nr::CLOCK_GETTIME, (CLOCK_MONOTONIC, start)) == Err(EFAULT) }
}

/// The reserve is closed already. Handlers of its faults run on the signal stack.
///
/// # Safety
/// None: it does nothing.
#[allow(clippy::unnecessary_wraps)] // the contract's
pub(crate) unsafe fn arm_reserve(_start: usize, _len: usize) -> Result<(), Errno> {
    Ok(())
}

/// Makes a range take ordinary pages only, where there are others: a huge one holds as much memory
/// as many Gs use.
///
/// # Safety
/// The range is the caller's.
pub(super) unsafe fn take_small_pages(start: usize, len: usize) {
    if spares_calls() {
        return;
    }
    // SAFETY: advice about a range of the caller's. Where it is refused there are no huge pages.
    let _ = unsafe { call(nr::MADVISE, (start, len, MADV_NOHUGEPAGE)) };
}

/// The lowest page of a range that takes memory. Linux looks at no page of anonymous memory that
/// nothing has touched, and finds it absent (`mincore_pte_range` in linux/mm/mincore.c); so it finds
/// one that is swapped out and nowhere else.
///
/// # Safety
/// The range is whole pages of one mapping.
pub(crate) unsafe fn lowest_touched(start: usize, len: usize) -> Option<usize> {
    /// Bytes of the answer for a part: this is on the stack, maybe of a handler.
    const AT_ONCE: usize = 64;
    let page = page_size();
    if spares_calls() {
        return None;
    }
    let mut at = start;
    while at < start + len {
        // An emulator may answer for each page of its host's, which are no smaller than that.
        let bytes = (start + len - at).min(AT_ONCE * LEAST_PAGE);
        let mut present = [0_u8; AT_ONCE];
        // SAFETY: the range is whole pages of a mapping; a byte is written for each page, of which
        // the range has at most `AT_ONCE`.
        unsafe { call(nr::MINCORE, (at, bytes, &mut present)) }.ok()?;
        if let Some(first) = present.iter().position(|bits| bits & 1 != 0) {
            return Some(at + first * page);
        }
        at += bytes;
    }
    None
}

/// Gives the memory of a range back; it reads as zeros afterwards.
///
/// # Safety
/// The range is the caller's, and what it holds is not needed.
pub(crate) unsafe fn discard(start: usize, len: usize) {
    // SAFETY: the caller needs nothing of what the range holds. Advice that is refused
    // changes nothing.
    let _ = unsafe { call(nr::MADVISE, (start, len, MADV_DONTNEED)) };
}

/// Whether [`MADV_DONTNEED`] does what it says.
static DISCARDS: AtomicUsize = AtomicUsize::new(UNKNOWN);

/// Has a range read as zeros. Linux then takes its pages away, those that are swapped out, too,
/// unless they are locked (madvise(2)); then they are written.
///
/// # Safety
/// The range is the caller's, may be written, and what it holds is not needed.
pub(crate) unsafe fn clear(start: usize, len: usize) {
    let first = start as *mut u8;
    let known = DISCARDS.load(Relaxed);
    if known == UNKNOWN {
        // SAFETY: the range is the caller's and may be written.
        unsafe { first.write_volatile(1) };
    }
    // SAFETY: the caller needs nothing of what the range holds.
    let advised =
        known != DO_NOT && unsafe { call(nr::MADVISE, (start, len, MADV_DONTNEED)) }.is_ok();
    if known == UNKNOWN && advised {
        // qemu-user agrees to any advice, so the answer to it is not enough.
        // SAFETY: the range is the caller's.
        let works = unsafe { first.read_volatile() } == 0;
        DISCARDS.store(if works { WORK } else { DO_NOT }, Relaxed);
    }
    if advised && DISCARDS.load(Relaxed) == WORK {
        return;
    }
    // SAFETY: the range is the caller's and may be written. Where it says what is touched, nothing is
    // swapped out, because the pages are locked.
    unsafe {
        let from = if known == WORK { lowest_touched(start, len) } else { None };
        let from = from.unwrap_or(start);
        core::ptr::write_bytes(from as *mut u8, 0, start + len - from);
    }
}
