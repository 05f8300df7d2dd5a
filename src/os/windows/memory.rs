// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mappings, and the size of a page.
//!
//! A mapping is one reservation. Its pages take commit charge, a limit of the system's, from when
//! they are first made accessible: a whole G's stack, not only what is touched.

use core::mem::MaybeUninit;

use super::Refused;
use super::sys::{
    GetCurrentProcess, GetSystemInfo, K32QueryWorkingSetEx, MEM_COMMIT, MEM_RELEASE, MEM_RESERVE,
    MEM_RESET, PAGE_GUARD, PAGE_NOACCESS, PAGE_READWRITE, PageInfo, SystemInfo, VirtualAlloc,
    VirtualFree, VirtualProtect,
};
use crate::layout;
use crate::os::terms::{Access, Side};
use crate::sync::{AtomicUsize, Relaxed};

/// The least stack for deferred functions after an overflow, and as much for handlers of another
/// overflow then (`fault::rearm`), in bytes.
pub(crate) const RESERVE: usize = layout::m::GUARANTEED;

/// Windows does so, for the handler.
pub(crate) const RESERVE_OPENS_ITSELF: bool = true;

/// Two pages. One of them is Windows's own, at the lower end of what it takes for the stack
/// (`teb.h`). Below it is another, so that this is not the start of the reservation, which Windows
/// would release with a thread that is terminated inside a callback.
pub(crate) const LEAST_GUARD: usize = 2 * LEAST_PAGE;

/// Bytes of a page where nothing says: the smallest that Windows has.
const LEAST_PAGE: usize = 4096;

/// Bytes of a page.
static PAGE: AtomicUsize = AtomicUsize::new(LEAST_PAGE);

/// Asks Windows for the size of a page.
pub(crate) fn ask_page_size() {
    let mut info = MaybeUninit::<SystemInfo>::zeroed();
    // SAFETY: Windows fills in its struct, of which zeros are a value.
    let info = unsafe {
        GetSystemInfo(info.as_mut_ptr());
        info.assume_init()
    };
    let page = usize::try_from(info.page_size).unwrap_or(LEAST_PAGE);
    PAGE.store(if page.is_power_of_two() { page.max(LEAST_PAGE) } else { LEAST_PAGE }, Relaxed);
}

/// Bytes of a page.
pub(crate) fn page_size() -> usize {
    PAGE.load(Relaxed)
}

/// Maps `len` bytes of zeros.
pub(crate) fn map(len: usize, access: Access) -> Result<usize, Refused> {
    let (kind, protect) = match access {
        Access::None => (MEM_RESERVE, PAGE_NOACCESS),
        Access::ReadWrite => (MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE),
    };
    // SAFETY: a mapping at an address of Windows's choice touches no other.
    match super::last_error::keeping(|| unsafe { VirtualAlloc(0, len, kind, protect) }) {
        0 => Err(Refused),
        start => Ok(start),
    }
}

/// Maps a stack with its guards. The first of them is only reserved. What walks stacks here goes by
/// the bounds in the thread's environment block, not by which address is higher.
pub(crate) fn map_stack(_: Side, len: usize, guards: &[(usize, usize)]) -> Result<usize, Refused> {
    let map = map(len, Access::None)?;
    let open = guards.first().map_or(0, |(_, lowest)| *lowest);
    // SAFETY: all ranges are inside the mapping just made, which nothing uses yet.
    let made = unsafe {
        protect(map + open, len - open, Access::ReadWrite).and_then(|()| {
            let closed = guards.iter().skip(1);
            closed.copied().try_for_each(|(from, to)| guard(map + from, to - from))
        })
    };
    if made.is_err() {
        // SAFETY: it is the mapping just made, and no other thread has seen it.
        unsafe { unmap(map, len) };
    }
    made.map(|()| map)
}

/// No room is kept.
pub(crate) fn unmap_spare_room() {}

/// Opens a part of a guard.
///
/// # Safety
/// The range is the caller's, and nothing uses it.
pub(crate) unsafe fn open(start: usize, len: usize) -> Result<(), Refused> {
    // SAFETY: the caller owns the range; more access takes nothing away.
    unsafe { protect(start, len, Access::ReadWrite) }
}

/// Closes it again.
///
/// # Safety
/// The range is the caller's, and what it holds is not needed.
pub(crate) unsafe fn close(start: usize, len: usize) {
    // SAFETY: nothing there is needed. If it cannot be closed, more of the stack can be used.
    unsafe {
        discard(start, len);
        let _ = protect(start, len, Access::None);
    }
}

/// Unmaps a mapping.
///
/// # Safety
/// It is a whole mapping of the caller's, and nothing refers to it any more.
pub(crate) unsafe fn unmap(start: usize, _len: usize) {
    // SAFETY: the caller owns the mapping. With a length of 0 all of it is released.
    super::last_error::keeping(|| unsafe { VirtualFree(start, 0, MEM_RELEASE) });
}

/// Changes what a range may be used for. A range that was reserved only is committed, unless it
/// stays without access.
///
/// # Safety
/// The range is the caller's, and nothing there is in use that it takes away.
unsafe fn protect(start: usize, len: usize, access: Access) -> Result<(), Refused> {
    match access {
        // SAFETY: the caller owns the range, and nothing there is in use.
        Access::None => unsafe { set_protection(start, len, PAGE_NOACCESS) },
        // SAFETY: the caller owns the range; more access takes nothing away.
        Access::ReadWrite => unsafe { commit(start, len, PAGE_READWRITE) },
    }
}

/// Makes whole pages inaccessible for good. They have been committed.
///
/// # Safety
/// The range is the caller's, and nothing there is in use.
unsafe fn guard(start: usize, len: usize) -> Result<(), Refused> {
    // SAFETY: the caller owns the range, and nothing there is in use.
    unsafe { set_protection(start, len, PAGE_NOACCESS) }
}

/// Makes the reserve below a stack the pages that Windows keeps for handlers of its overflow: at
/// the first access the guard goes from all of them, and the handler runs there
/// (Microsoft, `SetThreadStackGuarantee`).
///
/// # Safety
/// The range is the caller's, and nothing uses it.
pub(crate) unsafe fn arm_reserve(start: usize, len: usize) -> Result<(), Refused> {
    // SAFETY: the caller owns the range, and nothing there is in use.
    unsafe { commit(start, len, PAGE_READWRITE | PAGE_GUARD) }
}

/// The lowest page of a range that takes memory: the working set has only pages that were touched
/// (Microsoft, "Working Set"). One that Windows has taken out of it since counts as untouched.
///
/// # Safety
/// The range is whole pages of one mapping.
pub(crate) unsafe fn lowest_touched(start: usize, len: usize) -> Option<usize> {
    /// Pages that are asked for at once: this is on the stack.
    const AT_ONCE: usize = 32;
    /// The bit `Valid` of what Windows says of a page (psapi.h).
    const VALID: usize = 1;
    let page = page_size();
    let mut at = start;
    while at < start + len {
        let mut pages = [PageInfo { address: 0, attributes: 0 }; AT_ONCE];
        let count = ((start + len - at) / page).min(AT_ONCE);
        for (number, info) in pages[..count].iter_mut().enumerate() {
            info.address = at + number * page;
        }
        #[allow(clippy::cast_possible_truncation)] // some hundred bytes
        let bytes = (count * size_of::<PageInfo>()) as u32;
        let (process, info) = (GetCurrentProcess(), pages.as_mut_ptr());
        // SAFETY: Windows writes to each of so many bytes of structs what it knows of that page.
        let known =
            super::last_error::keeping(|| unsafe { K32QueryWorkingSetEx(process, info, bytes) });
        if known == 0 {
            return None;
        }
        if let Some(info) = pages[..count].iter().find(|info| info.attributes & VALID != 0) {
            return Some(info.address);
        }
        at += count * page;
    }
    None
}

/// Makes a range read as zeros.
///
/// # Safety
/// The range is the caller's and may be written, and what it holds is not needed.
pub(crate) unsafe fn clear(start: usize, len: usize) {
    // SAFETY: the range may be written, and nothing there is needed, by this function's own contract.
    unsafe { core::ptr::with_exposed_provenance_mut::<u8>(start).write_bytes(0, len) };
}

/// Says that what a range holds is not needed: Windows need not keep it when it wants the memory.
///
/// # Safety
/// The range is the caller's, and what it holds is not needed.
pub(crate) unsafe fn discard(start: usize, len: usize) {
    // SAFETY: the caller needs nothing of what the range holds. Where it is refused, nothing
    // changes. The protection is ignored with MEM_RESET, but has to be one.
    super::last_error::keeping(|| unsafe { VirtualAlloc(start, len, MEM_RESET, PAGE_NOACCESS) });
}

/// Commits a range, of which parts may be committed, with this protection.
///
/// # Safety
/// The range is the caller's, and nothing there is in use that the protection takes away.
unsafe fn commit(start: usize, len: usize, protection: u32) -> Result<(), Refused> {
    // SAFETY: the caller owns the range; committed pages keep what they hold.
    let committed =
        super::last_error::keeping(|| unsafe { VirtualAlloc(start, len, MEM_COMMIT, protection) });
    if committed == 0 {
        return Err(Refused);
    }
    // SAFETY: the caller owns the range. It had another protection if it was committed before.
    unsafe { set_protection(start, len, protection) }
}

/// # Safety
/// The range is the caller's, committed, and nothing there is in use that the protection takes
/// away.
unsafe fn set_protection(start: usize, len: usize, protection: u32) -> Result<(), Refused> {
    let mut old = 0;
    // SAFETY: the caller owns the range; Windows writes the protection of before.
    let done = super::last_error::keeping(|| unsafe {
        VirtualProtect(start, len, protection, &raw mut old)
    });
    if done == 0 { Err(Refused) } else { Ok(()) }
}
