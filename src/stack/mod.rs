// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory of a G: a guard, the stack above it, a page that nothing may touch, the deferred
//! functions, and the records of nested callbacks.
//!
//! ```text
//!  map                                                                      map + len
//!   | guard | reserve          | stack ...        | fence | deferred  | records of nested |
//!   | none  | none, or opened  | read, write      | none  | functions | callbacks         |
//!           ^ reserve          ^ lo            hi ^                   ^ records
//! ```
//!
//! The guard is as large as the host asks for: C that no compiler has probed steps over a small
//! one with a single frame, into what is mapped below. The fence keeps a callback that writes
//! past the top of its stack from the deferred functions, which are pointers to code.
//!
//! Invariants, for every size of a page ([`Plan`]):
//! - All parts start on a page's boundary. An M whose callbacks defer nothing takes one page
//!   once it has run.
//! - The reserve is closed except while deferred functions run after an overflow.
//! - A stack pointer belongs to this G if and only if it lies in `[map, hi]`.
//!
//! # Safety
//! All that is read or written here lies in the one mapping that [`Stack::map`] has made. Its
//! stack and its deferred functions are used by one thread at a time, the one that the M is
//! bound to.
#![allow(unsafe_code)] // mappings and what lies in them

mod plan;

use crate::error::Error;
use crate::os::memory::{self, Side};
use crate::sync::{AtomicBool, AtomicUsize, Relaxed, SeqCst, compiler_fence};
use crate::tools;

pub use plan::MAX_DEFERRED;
use plan::{Above, Place, Plan, RESERVE, TAKEN_BACK};
pub(crate) use plan::{Deferred, NO_RECORD};

/// Bytes between the first frame of a callback and the fence. A function that takes its arguments
/// from the stack, as the C library's `syscall` does, reads all that it could have, also where a
/// callback ends in a jump to it with fewer.
const HEADROOM: usize = 128;

/// A G's memory. All zeros is none.
#[repr(C)]
pub(crate) struct Stack {
    map: AtomicUsize,
    pub(crate) lo: AtomicUsize,
    pub(crate) hi: AtomicUsize,
    /// The number that valgrind has given it.
    tool: AtomicUsize,
    /// Whether the reserve is open.
    opened: AtomicBool,
    /// Whether a thread has had it since it was mapped.
    written: AtomicBool,
}

/// `size` rounded up to pages, if an address space can hold a G of it above a guard of `guard`
/// bytes.
pub(crate) fn round(size: usize, guard: usize) -> Option<usize> {
    let page = memory::page_size();
    Plan::new(page, size, guard).map(|_| size.next_multiple_of(page))
}

impl Stack {
    /// Maps a stack of at least `size` usable bytes above a guard of at least `guard`.
    pub(crate) fn map(&self, size: usize, guard: usize) -> Result<(), Error> {
        let page = memory::page_size();
        let plan = Plan::new(page, size, guard).ok_or(Error::NoMemory)?;
        let guards = [(0, plan.lo), (plan.hi, plan.hi + page)];
        let map = memory::map_stack(Side::G, plan.len, &guards).map_err(|_| Error::NoMemory)?;
        // SAFETY: the upper end of the guard of the stack just made, which nothing uses yet.
        let armed = unsafe { memory::arm_reserve(map + plan.reserve, plan.lo - plan.reserve) };
        if armed.is_err() {
            // SAFETY: it is the mapping just made, and no other thread has seen it.
            unsafe { memory::unmap(map, plan.len) };
            return Err(Error::NoMemory);
        }
        self.lo.store(map + plan.lo, Relaxed);
        self.hi.store(map + plan.hi, Relaxed);
        self.opened.store(false, Relaxed);
        self.written.store(false, Relaxed);
        self.tool.store(tools::stack_mapped(map + plan.reserve, map + plan.hi), Relaxed);
        // Last, because `unmap` goes by it, also after a jump out of here.
        compiler_fence(SeqCst);
        self.map.store(map, Relaxed);
        Ok(())
    }

    /// Unmaps it.
    ///
    /// # Safety
    /// Nothing runs on it, and nothing will.
    pub(crate) unsafe fn unmap(&self) {
        let end = self.above().end;
        let map = self.map.swap(0, Relaxed);
        if map != 0 {
            tools::stack_unmapped(self.tool.load(Relaxed));
            // SAFETY: the range is the mapping that `map` made, and the caller says that
            // nothing runs there.
            unsafe { memory::unmap(map, end - map) };
        }
    }

    /// Tells valgrind that needm jumps from a handler to this stack, on which the thread was before
    /// the signal.
    pub(crate) fn tell_valgrind_switched_back(&self) {
        // valgrind ignores handlers' stacks, so this one is the current stack to it still, and it
        // would take the jump for a move of the stack pointer within the stack.
        tools::stack_unmapped(self.tool.load(Relaxed));
        self.tool.store(tools::stack_mapped(self.reserve(), self.hi()), Relaxed);
    }

    /// The start of the reserve, where the guard ends.
    fn reserve(&self) -> usize {
        self.lo() - RESERVE.next_multiple_of(memory::page_size())
    }

    /// The lowest usable address.
    pub(crate) fn lo(&self) -> usize {
        self.lo.load(Relaxed)
    }

    /// One past the highest usable address.
    pub(crate) fn hi(&self) -> usize {
        self.hi.load(Relaxed)
    }

    /// Where callbacks start: the highest stack pointer.
    pub(crate) fn top(&self) -> usize {
        self.hi() - HEADROOM
    }

    /// Where the parts above the stack are.
    fn above(&self) -> Above {
        let hi = self.hi();
        let nowhere = Above { deferred: hi, records: hi, end: hi };
        Above::new(memory::page_size(), self.lo(), hi).unwrap_or(nowhere)
    }

    /// The bounds of all of its memory, the guard included.
    pub(crate) fn mapping(&self) -> (usize, usize) {
        (self.map.load(Relaxed), self.above().end)
    }

    /// Where the records of nested callbacks are: from, and to.
    pub(crate) fn records(&self) -> (usize, usize) {
        let above = self.above();
        (above.records, above.end)
    }

    /// Whether a stack pointer is on this stack, its guard included.
    pub(crate) fn holds(&self, sp: usize) -> bool {
        let map = self.map.load(Relaxed);
        map != 0 && (map..=self.hi()).contains(&sp)
    }

    /// Whether an address is one that only a stack which ran out touches.
    pub(crate) fn guards(&self, address: usize) -> bool {
        let map = self.map.load(Relaxed);
        map != 0 && (map..self.lo()).contains(&address)
    }

    /// Opens the reserve, if it is not open.
    pub(crate) fn open_reserve(&self) -> Result<(), Error> {
        if self.opened.load(Relaxed) {
            return Ok(());
        }
        let (start, lo) = (self.reserve(), self.lo());
        // SAFETY: the reserve is part of this mapping, and nothing uses it yet.
        unsafe { memory::open(start, lo - start) }.map_err(|_| Error::NoMemory)?;
        self.opened.store(true, Relaxed);
        Ok(())
    }

    /// Whether the reserve is open.
    pub(crate) fn reserve_is_open(&self) -> bool {
        self.opened.load(Relaxed)
    }

    /// Closes the reserve, if it is open and the stack is in use from `sp` upwards only, above the
    /// reserve.
    pub(crate) fn close_reserve(&self, sp: usize) {
        if self.opened.load(Relaxed) && sp >= self.lo() {
            // SAFETY: the stack is in use from `sp` upwards, which is above the reserve.
            unsafe { self.close_opened_reserve() };
        }
    }

    /// Closes the reserve, which is open.
    ///
    /// # Safety
    /// Nothing runs on it, or below it.
    #[cold]
    #[inline(never)] // it is rare, and would enlarge the frames of its callers
    unsafe fn close_opened_reserve(&self) {
        self.opened.store(false, Relaxed);
        let (start, lo) = (self.reserve(), self.lo());
        // SAFETY: the reserve is part of this mapping, and the caller says that nothing is in
        // use there.
        unsafe {
            memory::close(start, lo - start);
            let _ = memory::arm_reserve(start, lo - start);
        }
    }

    /// Touches the uppermost `bytes`, so that a callback which uses no more meets no page
    /// fault. Nothing may be on it.
    pub(crate) fn prefault(&self, bytes: usize) {
        let hi = self.hi();
        let mut at = hi - bytes.min(hi - self.lo());
        while at < hi {
            let byte = at as *mut u8;
            // SAFETY: between `lo` and `hi`, and this thread has the stack to itself.
            unsafe { byte.write_volatile(byte.read_volatile()) };
            at = (at + 1).next_multiple_of(memory::page_size());
        }
    }

    /// Bytes from the lowest page that was ever touched to the top, since its memory was given up
    /// last; 0 if that cannot be told.
    pub(crate) fn touched(&self) -> usize {
        let (lo, hi) = (self.lo(), self.hi());
        if lo == hi {
            return 0;
        }
        // SAFETY: the stack is whole pages inside this mapping.
        let lowest = unsafe { memory::lowest_touched(lo, hi - lo) };
        lowest.map_or(0, |lowest| hi - lowest)
    }

    /// Notes that a thread gets it.
    pub(crate) fn note_written(&self) {
        self.written.store(true, Relaxed);
    }

    /// Whether a thread has had it.
    pub(crate) fn is_written(&self) -> bool {
        self.written.load(Relaxed)
    }

    /// Has all of it read as zeros. Nothing may be on it.
    pub(crate) fn scrub(&self) {
        let hi = self.hi();
        let (lo, above) = (self.lo(), self.above());
        // SAFETY: both ranges are inside this mapping, of which nothing is in use; the page between
        // them may not be touched.
        unsafe {
            memory::clear(lo, hi - lo);
            memory::clear(above.deferred, above.end - above.deferred);
        }
    }

    /// Whether it ends where `other` begins.
    pub(crate) fn is_below(&self, other: &Self) -> bool {
        self.above().end == other.map.load(Relaxed)
    }

    /// Gives up its pages to the system, and those of all up to `highest`, each of which ends where
    /// the next begins. The system brings new ones when they are touched. Nothing may be on them.
    pub(crate) fn discard_to(&self, highest: &Self) {
        let (start, end) = (self.lo(), highest.above().end);
        // SAFETY: from the one's stack to the other's end there are only these, and nothing is in
        // use there. Guards in between stay.
        unsafe { memory::discard(start, end - start) };
    }

    /// The place of deferred function number `index` of this G, if there are so many.
    fn deferred_at(&self, index: usize) -> Option<*mut Place> {
        // `Above::new`, of which only this is needed, did not overflow when the stack was mapped.
        let deferred = self.hi() + memory::page_size();
        (index < MAX_DEFERRED).then(|| (deferred + index * size_of::<Place>()) as *mut Place)
    }

    /// Keeps a deferred function. `record`: with which it can be taken back, or [`NO_RECORD`].
    pub(crate) fn keep_deferred(
        &self,
        index: usize,
        deferred: Deferred,
        record: usize,
    ) -> Result<(), Error> {
        let place = self.deferred_at(index).ok_or(Error::NoMemory)?;
        // SAFETY: the place is above the fence and below the records, and only this G's thread writes there.
        unsafe { place.write(Place { deferred, record: AtomicUsize::new(record) }) };
        Ok(())
    }

    /// The deferred function that was kept with this number, unless it was taken back.
    ///
    /// # Safety
    /// One was, on this G.
    pub(crate) unsafe fn deferred(&self, index: usize) -> Option<Deferred> {
        // SAFETY: `keep_deferred` wrote it.
        let place = unsafe { self.deferred_at(index)?.as_ref()? };
        (place.record.load(Relaxed) != TAKEN_BACK).then_some(place.deferred)
    }

    /// Takes back the deferred function that was kept with this number, if that was with `record`. One step,
    /// because a handler may do the same.
    ///
    /// # Safety
    /// One was kept with this number, on this G.
    #[cfg(feature = "capi")]
    pub(crate) unsafe fn take_back_deferred(&self, index: usize, record: usize) -> bool {
        // SAFETY: `keep_deferred` wrote it.
        let place = self.deferred_at(index).and_then(|place| unsafe { place.as_ref() });
        let taken = |place: &Place| {
            place.record.compare_exchange(record, TAKEN_BACK, Relaxed, Relaxed).is_ok()
        };
        ![NO_RECORD, TAKEN_BACK].contains(&record) && place.is_some_and(taken)
    }

    /// Closes the reserve.
    pub(crate) fn reset(&self) {
        self.close_reserve(self.hi());
    }
}
