//! Mappings, and the size of a page.

use super::{EFAULT, Errno, call, libc};
use crate::arch::linux::nr;
use crate::os::terms::Access;
use crate::sync::{AtomicUsize, Relaxed};

// include/uapi/asm-generic/mman-common.h and mman.h; the same on every
// architecture here.
const PROT_NONE: usize = 0;
const PROT_READ_WRITE: usize = 1 | 2;
const MAP_PRIVATE_ANONYMOUS: usize = 0x02 | 0x20;
const MAP_NORESERVE: usize = 0x4000;
const MADV_DONTNEED: usize = 4;
const MADV_NOHUGEPAGE: usize = 15;
const MADV_GUARD_INSTALL: usize = 102; // since Linux 6.13

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
    const NO_FILE: i32 = -1;
    let flags = MAP_PRIVATE_ANONYMOUS | MAP_NORESERVE;
    // SAFETY: a mapping at an address of Linux's choice touches no other.
    unsafe { call(nr::MMAP, (0_usize, len, bits(access), flags, NO_FILE, 0_usize)) }
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
pub(crate) unsafe fn protect(start: usize, len: usize, access: Access) -> Result<(), Errno> {
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
pub(crate) unsafe fn guard(start: usize, len: usize) -> Result<(), Errno> {
    let known = GUARDS.load(Relaxed);
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
    // SAFETY: the caller owns the range, and nothing there is in use that access would be lost to.
    unsafe { protect(start, len, Access::None) }
}

/// Whether Linux itself cannot write to the start of a range: qemu-user agrees to any advice, so
/// the answer to it is not enough.
fn is_closed(start: usize) -> bool {
    const CLOCK_MONOTONIC: usize = 1; // include/uapi/linux/time.h
    // SAFETY: Linux writes a timespec where nothing is in use, or fails.
    unsafe { call(nr::CLOCK_GETTIME, (CLOCK_MONOTONIC, start)) == Err(EFAULT) }
}

/// Has a range take ordinary pages only, where there are others: a huge one holds as much memory
/// as many Gs use.
///
/// # Safety
/// The range is the caller's.
pub(crate) unsafe fn take_small_pages(start: usize, len: usize) {
    // SAFETY: advice about a range of the caller's. Where it is refused there are no huge pages.
    let _ = unsafe { call(nr::MADVISE, (start, len, MADV_NOHUGEPAGE)) };
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
