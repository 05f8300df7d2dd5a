//! Mappings.

use super::{Errno, call};
use crate::arch::linux::nr;

// include/uapi/asm-generic/mman-common.h and mman.h; the same on every
// architecture here.
const PROT_NONE: usize = 0;
const PROT_READ_WRITE: usize = 1 | 2;
const MAP_PRIVATE_ANONYMOUS: usize = 0x02 | 0x20;
const MAP_NORESERVE: usize = 0x4000;
const MADV_DONTNEED: usize = 4;

/// What a range of a mapping may be used for.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    None,
    ReadWrite,
}

impl Access {
    fn bits(self) -> usize {
        match self {
            Self::None => PROT_NONE,
            Self::ReadWrite => PROT_READ_WRITE,
        }
    }
}

/// Maps `len` bytes of zeros, which take memory only where they are touched.
pub(crate) fn map(len: usize, access: Access) -> Result<usize, Errno> {
    const NO_FILE: i32 = -1;
    let flags = MAP_PRIVATE_ANONYMOUS | MAP_NORESERVE;
    // SAFETY: a mapping at an address of the kernel's choice touches no other.
    unsafe { call(nr::MMAP, (0_usize, len, access.bits(), flags, NO_FILE, 0_usize)) }
}

/// Unmaps a range.
///
/// # Safety
/// The range is the caller's, and nothing refers to it any more.
pub(crate) unsafe fn unmap(start: usize, len: usize) {
    // SAFETY: passed on. It fails only for a range that is none.
    let _ = unsafe { call(nr::MUNMAP, (start, len)) };
}

/// Changes what a range may be used for.
///
/// # Safety
/// The range is the caller's, and nothing there is in use that it takes away.
pub(crate) unsafe fn protect(start: usize, len: usize, access: Access) -> Result<(), Errno> {
    // SAFETY: passed on.
    unsafe { call(nr::MPROTECT, (start, len, access.bits())) }.map(drop)
}

/// Gives the memory of a range back; it reads as zeros afterwards.
///
/// # Safety
/// The range is the caller's, and what it holds is not needed.
pub(crate) unsafe fn discard(start: usize, len: usize) {
    // SAFETY: passed on. Advice that is refused changes nothing.
    let _ = unsafe { call(nr::MADVISE, (start, len, MADV_DONTNEED)) };
}
