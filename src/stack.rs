//! The memory of a G: its stack, guarded, and the deferred functions.
//!
//! ```text
//!  map                                                               map + len
//!   | guard | reserve          | stack ...              | deferred | ... | records of nested |
//!   | none  | none, or opened  | read, write            | functions      | callbacks         |
//!           ^ limit            ^ lo                  hi ^
//! ```
//!
//! Invariants:
//! - `hi` is not on a page's boundary: the deepest page of the stack and the
//!   first deferred functions share one, so an M that has run takes one page.
//! - The reserve is closed except while deferred functions run after an overflow.
//! - A stack pointer belongs to this G if and only if it lies in `[map, hi]`.
#![allow(unsafe_code)] // mappings and what lies in them

use core::ffi::c_void;

use crate::arch::linux::PAGE;
use crate::error::Error;
use crate::os::memory::{self, Access};
use crate::sync::{AtomicBool, AtomicUsize, Relaxed};
use crate::tools;

/// Below everything: never opened.
const GUARD: usize = PAGE;

/// What deferred functions have to run on when the stack has run out.
pub(crate) const RESERVE: usize = 4 * PAGE;

/// Room for deferred functions on the page that the stack's top is on.
const DEFERRED_ON_TOP: usize = PAGE / 4;

/// And on pages of their own, which are touched only by who defers that much.
const DEFERRED_MORE: usize = 4 * PAGE;

/// Room for the records of nested callbacks beside a stack of `size` bytes: each callback takes
/// more of the stack than twice its record, or little more.
const fn records_beside(size: usize) -> usize {
    (size / 2).next_multiple_of(PAGE)
}

/// More than an address space holds: 47 bits of it are a program's on the widest
/// architecture here, and half of what a word counts where that is less.
const LARGEST: usize = if usize::BITS > 47 { 1 << 47 } else { isize::MAX as usize };

/// A deferred function: the kernel's own copy, because the callback's frame is
/// gone when it runs on a plain return.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Deferred {
    pub(crate) function: unsafe extern "C" fn(*mut c_void),
    pub(crate) arg: *mut c_void,
}

/// Deferred functions that may be pending on a G at once.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// let nothing = |_: &needm::Deferred| ();
/// let refused = needm::callback(|cx| (0..=needm::MAX_DEFERRED).map(|_| cx.defer(&nothing)).last())?;
/// assert_eq!(refused, Some(Err(needm::Error::NoMemory)));
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub const MAX_DEFERRED: usize = (DEFERRED_ON_TOP + DEFERRED_MORE) / size_of::<Deferred>();

/// A G's memory. All zeros is none.
#[repr(C)]
pub(crate) struct Stack {
    map: AtomicUsize,
    len: AtomicUsize,
    opened: AtomicBool,
    /// What a checking tool calls it.
    tool: AtomicUsize,
    /// Deferred functions that are pending, of all segments.
    deferred: AtomicUsize,
}

/// `size` rounded up to pages, if an address space can hold a G of it.
pub(crate) fn round(size: usize) -> Option<usize> {
    let rounded = size.checked_add(PAGE - 1)? & !(PAGE - 1);
    let whole = rounded.checked_add(GUARD + RESERVE + PAGE + DEFERRED_MORE)?;
    let whole = whole.checked_add(records_beside(rounded))?;
    (whole <= LARGEST).then_some(rounded)
}

impl Stack {
    /// Maps a stack of at least `size` usable bytes, a multiple of pages.
    pub(crate) fn map(&self, size: usize) -> Result<(), Error> {
        let len = GUARD + RESERVE + size + PAGE + DEFERRED_MORE;
        let whole = len + records_beside(size);
        let map = memory::map(whole, Access::None).map_err(|_| Error::NoMemory)?;
        let usable = map + GUARD + RESERVE;
        // SAFETY: the range is inside the mapping just made.
        if unsafe { memory::protect(usable, map + whole - usable, Access::ReadWrite) }.is_err() {
            // SAFETY: nobody has seen it.
            unsafe { memory::unmap(map, whole) };
            return Err(Error::NoMemory);
        }
        self.map.store(map, Relaxed);
        self.len.store(len, Relaxed);
        self.opened.store(false, Relaxed);
        self.deferred.store(0, Relaxed);
        self.tool.store(tools::stack_mapped(map + GUARD, self.hi()), Relaxed);
        Ok(())
    }

    /// Unmaps it.
    ///
    /// # Safety
    /// Nothing runs on it, and nothing will.
    pub(crate) unsafe fn unmap(&self) {
        let (_, end) = self.records();
        let (map, _) = (self.map.swap(0, Relaxed), self.len.swap(0, Relaxed));
        if map != 0 {
            tools::stack_unmapped(self.tool.load(Relaxed));
            // SAFETY: the range is the mapping that `map` made.
            unsafe { memory::unmap(map, end - map) };
        }
    }

    /// The kernel goes to this stack from a handler, back to where it was before.
    pub(crate) fn tell_valgrind_switched_back(&self) {
        // valgrind still has it for the current one, since it does not look at handlers'
        // stacks, and would take the way there for one on the stack.
        tools::stack_unmapped(self.tool.load(Relaxed));
        self.tool.store(tools::stack_mapped(self.lo() - RESERVE, self.hi()), Relaxed);
    }

    /// The lowest usable address.
    pub(crate) fn lo(&self) -> usize {
        self.map.load(Relaxed) + GUARD + RESERVE
    }

    /// One past the highest usable address.
    pub(crate) fn hi(&self) -> usize {
        let end = self.map.load(Relaxed) + self.len.load(Relaxed);
        end.saturating_sub(DEFERRED_MORE + DEFERRED_ON_TOP)
    }

    /// Where the records of nested callbacks are: from, and to.
    pub(crate) fn records(&self) -> (usize, usize) {
        let (map, len) = (self.map.load(Relaxed), self.len.load(Relaxed));
        let size = len.saturating_sub(GUARD + RESERVE + PAGE + DEFERRED_MORE);
        (map + len, map + len + records_beside(size))
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
        let start = self.lo() - RESERVE;
        // SAFETY: the reserve is part of this mapping, and used by nobody yet.
        unsafe { memory::protect(start, RESERVE, Access::ReadWrite) }
            .map_err(|_| Error::NoMemory)?;
        self.opened.store(true, Relaxed);
        Ok(())
    }

    /// Closes the reserve again, if it is open and nothing at `sp` or above
    /// stands on it.
    pub(crate) fn close_reserve(&self, sp: usize) {
        if self.opened.load(Relaxed) && sp >= self.lo() {
            self.opened.store(false, Relaxed);
            let start = self.lo() - RESERVE;
            // SAFETY: whatever ran on the reserve has ended: the caller is back
            // at `sp`, above it.
            unsafe {
                memory::discard(start, RESERVE);
                let _ = memory::protect(start, RESERVE, Access::None);
            }
        }
    }

    /// Touches the uppermost `bytes`, so that a callback which uses no more meets no page
    /// fault. Nothing may be on it.
    pub(crate) fn prefault(&self, bytes: usize) {
        let hi = self.hi();
        let mut at = hi - bytes.min(hi - self.lo());
        while at < hi {
            let byte = at as *mut u8;
            // SAFETY: on the stack, which this thread has to itself.
            unsafe { byte.write_volatile(byte.read_volatile()) };
            at = (at + 1).next_multiple_of(PAGE);
        }
    }

    /// Gives its pages up to the system, which brings new ones when they are touched.
    /// Nothing may be on it.
    pub(crate) fn discard(&self) {
        let (start, (_, end)) = (self.lo(), self.records());
        // SAFETY: inside this mapping, of which nobody uses anything.
        unsafe { memory::discard(start, end - start) };
    }

    /// Where deferred function number `index` is kept.
    fn deferred_at(&self, index: usize) -> *mut Deferred {
        (self.hi() + index * size_of::<Deferred>()) as *mut Deferred
    }

    /// Keeps a deferred function.
    pub(crate) fn push_deferred(&self, deferred: Deferred) -> Result<(), Error> {
        let count = self.deferred.load(Relaxed);
        if count >= MAX_DEFERRED {
            return Err(Error::NoMemory);
        }
        // SAFETY: the place is above `hi`, within the mapping, because `count`
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
        self.deferred.store(self.deferred.load(Relaxed).saturating_sub(count), Relaxed);
    }

    /// As new: nothing deferred, the reserve closed.
    pub(crate) fn reset(&self) {
        self.deferred.store(0, Relaxed);
        self.close_reserve(self.hi());
    }
}
