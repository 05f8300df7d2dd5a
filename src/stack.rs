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

use core::ffi::c_void;

use crate::error::Error;
use crate::os::memory::{self, Access};
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Relaxed};
use crate::tools;

/// The least stack that deferred functions have after the stack has run out, in bytes.
const RESERVE: usize = 16 * 1024;

/// Bytes between the first frame of a callback and the fence. A function that takes its arguments
/// from the stack, as the C library's `syscall` does, reads all that it could have, also where a
/// callback ends in a jump to it with fewer.
const HEADROOM: usize = 128;

/// Bytes for deferred functions, touched only if so many are deferred.
const DEFERRED: usize = 16 * 1024;

/// A size that no address space holds: a program has 47 bits of addresses on 64 bits
/// (linux/Documentation/arch/x86/x86_64/mm.rst), and no object is larger than half of the
/// addresses on 32 bits.
const LARGEST: usize = if usize::BITS > 47 { 1 << 47 } else { isize::MAX as usize };

/// Where the parts of a G's memory are, in bytes from its start; all on a page's boundary.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// The end of the guard, which is never opened, and the start of the reserve.
    reserve: usize,
    /// The lowest of the stack.
    lo: usize,
    /// One past the highest of the stack, and the start of the fence.
    hi: usize,
    /// The end of all; [`Above`] says what is between `hi` and here.
    len: usize,
}

impl Plan {
    /// For a stack of at least `size` bytes above a guard of at least `guard`, in pages of
    /// `page`; `None` if no address space holds it.
    fn new(page: usize, size: usize, guard: usize) -> Option<Self> {
        let up = |bytes: usize| bytes.checked_next_multiple_of(page);
        let reserve = up(guard.max(1))?;
        let lo = reserve.checked_add(up(RESERVE)?)?;
        let hi = lo.checked_add(up(size.max(1))?)?;
        let len = Above::new(page, lo, hi)?.end;
        (len <= LARGEST).then_some(Self { reserve, lo, hi, len })
    }
}

/// Where the parts above a stack are.
struct Above {
    /// The end of the fence, and the deferred functions.
    deferred: usize,
    /// The records of nested callbacks.
    records: usize,
    end: usize,
}

impl Above {
    /// Beside a stack from `lo` to `hi`.
    fn new(page: usize, lo: usize, hi: usize) -> Option<Self> {
        let deferred = hi.checked_add(page)?;
        let records = deferred.checked_add(DEFERRED.next_multiple_of(page))?;
        // Half the size of the stack is enough: a nested callback takes about twice as much of
        // the stack as its record is long.
        let size = hi.checked_sub(lo)?;
        let end = records.checked_add((size / 2).checked_next_multiple_of(page)?)?;
        Some(Self { deferred, records, end })
    }
}

/// A deferred function: needm's own copy, because the callback's frame is
/// gone when it runs on a plain return.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Deferred {
    pub(crate) function: unsafe extern "C" fn(*mut c_void),
    pub(crate) arg: *mut c_void,
}

/// Deferred functions that may be pending on a G at once. The same for every size of a page.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// let nothing = |_: &needm::Deferred| ();
/// let refused = needm::callback(|cx| (0..=needm::MAX_DEFERRED).map(|_| cx.defer(&nothing)).last())?;
/// assert_eq!(refused, Some(Err(needm::Error::NoMemory)));
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub const MAX_DEFERRED: usize = DEFERRED / size_of::<Deferred>();

/// A G's memory. All zeros is none.
#[repr(C)]
pub(crate) struct Stack {
    map: AtomicUsize,
    lo: AtomicUsize,
    hi: AtomicUsize,
    /// The number that valgrind has given it.
    tool: AtomicUsize,
    /// Deferred functions that are pending, of all segments.
    deferred: AtomicU32,
    /// Whether the reserve is open.
    opened: AtomicBool,
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
        let map = memory::map(plan.len, Access::None).map_err(|_| Error::NoMemory)?;
        let (lo, used) = (map + plan.lo, plan.len - plan.lo);
        // SAFETY: both ranges are inside the mapping just made, which nothing uses yet.
        let made = unsafe {
            memory::protect(lo, used, Access::ReadWrite)
                .and_then(|()| memory::guard(map + plan.hi, page))
        };
        if made.is_err() {
            // SAFETY: it is the mapping just made, and no other thread has seen it.
            unsafe { memory::unmap(map, plan.len) };
            return Err(Error::NoMemory);
        }
        // SAFETY: `lo` and `used` are the part of the mapping just made from the stack up.
        unsafe { memory::take_small_pages(lo, used) };
        self.map.store(map, Relaxed);
        self.lo.store(map + plan.lo, Relaxed);
        self.hi.store(map + plan.hi, Relaxed);
        self.opened.store(false, Relaxed);
        self.deferred.store(0, Relaxed);
        self.tool.store(tools::stack_mapped(map + plan.reserve, map + plan.hi), Relaxed);
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

    /// Opens the reserve.
    pub(crate) fn open_reserve(&self) -> Result<(), Error> {
        let (start, lo) = (self.reserve(), self.lo());
        // SAFETY: the reserve is part of this mapping, and nothing uses it yet.
        unsafe { memory::protect(start, lo - start, Access::ReadWrite) }
            .map_err(|_| Error::NoMemory)?;
        self.opened.store(true, Relaxed);
        Ok(())
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
            memory::discard(start, lo - start);
            let _ = memory::protect(start, lo - start, Access::None);
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

    /// Gives its pages up to the system, which brings new ones when they are touched.
    /// Nothing may be on it.
    pub(crate) fn discard(&self) {
        let (start, end) = (self.lo(), self.above().end);
        // SAFETY: inside this mapping, of which nothing is in use.
        unsafe { memory::discard(start, end - start) };
    }

    /// Where deferred function number `index` is kept.
    fn deferred_at(&self, index: u32) -> *mut Deferred {
        (self.above().deferred + index as usize * size_of::<Deferred>()) as *mut Deferred
    }

    /// Keeps a deferred function.
    pub(crate) fn push_deferred(&self, deferred: Deferred) -> Result<(), Error> {
        let count = self.deferred.load(Relaxed);
        if count as usize >= MAX_DEFERRED {
            return Err(Error::NoMemory);
        }
        // SAFETY: the place is above the fence and below the records, because `count`
        // is below MAX_DEFERRED; only this G's thread writes there. A handler
        // that defers in between puts back the count it found.
        unsafe { self.deferred_at(count).write(deferred) };
        self.deferred.store(count + 1, Relaxed);
        Ok(())
    }

    /// Takes the one that was kept last.
    pub(crate) fn pop_deferred(&self) -> Option<Deferred> {
        let last = self.deferred.load(Relaxed).checked_sub(1)?;
        self.deferred.store(last, Relaxed);
        // SAFETY: `push_deferred` wrote it, for the count was above it.
        Some(unsafe { self.deferred_at(last).read() })
    }

    /// Forgets the `count` that were kept last.
    pub(crate) fn drop_deferred(&self, count: usize) {
        let before = self.deferred.load(Relaxed);
        let count = u32::try_from(count).unwrap_or(before);
        self.deferred.store(before.saturating_sub(count), Relaxed);
    }

    /// Forgets all that is deferred, and closes the reserve.
    pub(crate) fn reset(&self) {
        self.deferred.store(0, Relaxed);
        self.close_reserve(self.hi());
    }
}

#[cfg(test)]
mod tests {
    use super::{Above, DEFERRED, Deferred, LARGEST, MAX_DEFERRED, Plan, RESERVE};

    const PAGES: [usize; 3] = [4096, 16 * 1024, 64 * 1024];
    const SIZES: [usize; 7] = [0, 1, 512, 4096, 64 * 1024, 256 * 1024 + 1, 1 << 30];
    const GUARDS: [usize; 4] = [0, 1, 4096, 1 << 20];

    fn plan(page: usize, size: usize, guard: usize) -> Plan {
        Plan::new(page, size, guard).expect("an address space holds it")
    }

    fn above(page: usize, plan: &Plan) -> Above {
        Above::new(page, plan.lo, plan.hi).expect("an address space holds it")
    }

    fn each(check: impl Fn(usize, usize, usize, Plan)) {
        for page in PAGES {
            for size in SIZES {
                for guard in GUARDS {
                    check(page, size, guard, plan(page, size, guard));
                }
            }
        }
    }

    #[test]
    fn all_parts_start_on_a_page_and_in_their_order() {
        each(|page, size, guard, plan| {
            let Above { deferred, records, end } = above(page, &plan);
            let edges = [0, plan.reserve, plan.lo, plan.hi, deferred, records, end];
            assert!(edges.iter().all(|edge| edge % page == 0), "{page} {size} {guard} {plan:?}");
            assert!(edges.is_sorted_by(|a, b| a < b), "{page} {size} {guard} {plan:?}");
            assert_eq!(end, plan.len);
        });
    }

    #[test]
    fn every_part_holds_what_it_is_for() {
        each(|page, size, guard, plan| {
            assert!(plan.reserve >= guard.max(page), "{page} {size} {guard} {plan:?}");
            assert!(plan.lo - plan.reserve >= RESERVE, "{page} {size} {plan:?}");
            assert!(plan.hi - plan.lo >= size, "{page} {size} {plan:?}");
            let above = above(page, &plan);
            assert_eq!(above.deferred - plan.hi, page, "the fence: {page} {size} {plan:?}");
            let deferred = above.records - above.deferred;
            assert!(deferred >= MAX_DEFERRED * size_of::<Deferred>(), "{page} {size} {plan:?}");
            assert!(above.end - above.records >= size / 2, "{page} {size} {plan:?}");
        });
    }

    #[test]
    fn a_mapped_stack_finds_its_parts_by_addresses() {
        each(|page, _, _, plan| {
            let (map, parts) = (1 << 20, above(page, &plan));
            let there = Above::new(page, map + plan.lo, map + plan.hi).expect("it is the same");
            assert_eq!(there.deferred, map + parts.deferred);
            assert_eq!((there.records, there.end), (map + parts.records, map + plan.len));
        });
    }

    #[test]
    fn small_pages_are_laid_out_without_waste() {
        let plan = plan(4096, 64 * 1024, 4096);
        assert_eq!(plan.lo, 5 * 4096);
        assert_eq!(plan.hi, 21 * 4096);
        assert_eq!(above(4096, &plan).records, 22 * 4096 + DEFERRED);
        assert_eq!(plan.len, 22 * 4096 + DEFERRED + 32 * 1024);
    }

    #[test]
    fn what_no_address_space_holds_is_refused() {
        for page in PAGES {
            for large in [usize::MAX, usize::MAX - page, LARGEST, LARGEST - page] {
                assert!(Plan::new(page, large, 0).is_none(), "{page} {large:#x}");
                assert!(Plan::new(page, 0, large).is_none(), "{page} {large:#x}");
            }
        }
    }
}
