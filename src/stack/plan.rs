// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the parts of a G's memory are.

use core::ffi::c_void;

use crate::os::memory;
use crate::sync::AtomicUsize;

/// The least stack that deferred functions have after the stack has run out, in bytes.
pub(super) const RESERVE: usize = memory::RESERVE;

/// Bytes for deferred functions, touched only if so many are deferred.
pub(super) const DEFERRED: usize = 24 * 1024;

/// A size that no address space holds: a program has 47 bits of addresses on 64 bits
/// (linux/Documentation/arch/x86/x86_64/mm.rst), and no object is larger than half of the
/// addresses on 32 bits.
const LARGEST: usize = if usize::BITS > 47 { 1 << 47 } else { isize::MAX as usize };

/// Where the parts of a G's memory are, in bytes from its start; all on a page's boundary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// The end of the guard, which is never opened, and the start of the reserve.
    pub(super) reserve: usize,
    /// The lowest of the stack.
    pub(super) lo: usize,
    /// One past the highest of the stack, and the start of the fence.
    pub(super) hi: usize,
    /// The end of all; [`Above`] says what is between `hi` and here.
    pub(super) len: usize,
}

impl Plan {
    /// For a stack of at least `size` bytes above a guard of at least `guard`, in pages of
    /// `page`; `None` if no address space holds it.
    pub(super) fn new(page: usize, size: usize, guard: usize) -> Option<Self> {
        let up = |bytes: usize| bytes.checked_next_multiple_of(page);
        let reserve = up(guard.max(memory::LEAST_GUARD))?;
        let lo = reserve.checked_add(up(RESERVE)?)?;
        let hi = lo.checked_add(up(size.max(1))?)?;
        let len = Above::new(page, lo, hi)?.end;
        (len <= LARGEST).then_some(Self { reserve, lo, hi, len })
    }
}

/// Where the parts above a stack are.
pub(super) struct Above {
    /// The end of the fence, and the deferred functions.
    pub(super) deferred: usize,
    /// The records of nested callbacks.
    pub(super) records: usize,
    pub(super) end: usize,
}

impl Above {
    /// Beside a stack from `lo` to `hi`.
    pub(super) fn new(page: usize, lo: usize, hi: usize) -> Option<Self> {
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

/// The place of one.
#[repr(C)]
pub(super) struct Place {
    pub(super) deferred: Deferred,
    /// The host's record that it was deferred with, by which it can be taken back, or [`NO_RECORD`], or
    /// [`TAKEN_BACK`].
    pub(super) record: AtomicUsize,
}

/// It cannot be taken back.
pub(crate) const NO_RECORD: usize = 0;

/// It was. No record is at this address.
pub(super) const TAKEN_BACK: usize = 1;

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
pub const MAX_DEFERRED: usize = DEFERRED / size_of::<Place>();

#[cfg(test)]
mod tests {
    use super::{Above, DEFERRED, LARGEST, MAX_DEFERRED, Place, Plan, RESERVE};

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
            assert!(deferred >= MAX_DEFERRED * size_of::<Place>(), "{page} {size} {plan:?}");
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
