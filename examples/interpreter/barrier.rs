//! The pairs, and their write barrier. Between two collections the pages that have the pairs are
//! closed to writes. The first write to one is a fault, in a callback; the hook `fault` notes the
//! page, opens it, and has the write done again. So a collection that only looks for young pairs
//! knows which old ones may refer to them: those on pages that were written.
//!
//! # Safety
//! The pairs are on whole pages, on which nothing else is and which are never freed. All of their
//! words are atomics, for which 0 is a value.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::ffi::c_void;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use needm::{Fault, FaultAnswer, Hooks, M, Refused};

use crate::heap::Cell;

/// Pairs that there are.
pub(crate) const CELLS: usize = 1 << 14;

/// The largest page of a system.
const LARGEST_PAGE: usize = 1 << 16;

#[repr(align(65536))]
struct Cells([Cell; CELLS]);

const _: () = assert!(align_of::<Cells>() == LARGEST_PAGE);

/// Whether each page was written since the last collection. There are fewer of larger ones.
static WRITTEN: [AtomicBool; size_of::<Cells>() / 4096] =
    [const { AtomicBool::new(false) }; size_of::<Cells>() / 4096];

/// Faults of the barrier.
static FAULTS: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn cells() -> &'static [Cell; CELLS] {
    static PAIRS: OnceLock<&Cells> = OnceLock::new();
    let pairs = PAIRS.get_or_init(|| {
        // SAFETY: the size is not 0.
        let memory = unsafe { alloc_zeroed(Layout::new::<Cells>()) };
        if memory.is_null() {
            handle_alloc_error(Layout::new::<Cells>());
        }
        #[allow(clippy::cast_ptr_alignment)] // it was asked for
        // SAFETY: it has the size and the alignment, and is full of zeros. It is never freed.
        unsafe {
            &*memory.cast::<Cells>()
        }
    });
    &pairs.0
}

/// Where they begin.
fn start() -> usize {
    cells().as_ptr().addr()
}

fn page_size() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    // SAFETY: it only answers.
    let size = || unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    *SIZE.get_or_init(|| usize::try_from(size()).expect("a size"))
}

/// The page that has an address, counted from the first one; `None` for other memory.
fn page_of(address: usize) -> Option<usize> {
    let offset = address.checked_sub(start())?;
    (offset < size_of::<Cells>()).then(|| offset / page_size())
}

/// Opens pages to writes, or closes them: from one of them, so many bytes.
fn protect(page: usize, bytes: usize, access: libc::c_int) {
    let first = cells().as_ptr().cast::<u8>().cast_mut();
    let start = first.wrapping_add(page * page_size());
    // SAFETY: these are whole pages of the pairs. A write to one that is closed is a fault, which
    // the hook below resumes; reads go on.
    let refused = unsafe { libc::mprotect(start.cast(), bytes, access) };
    assert_eq!(refused, 0, "mprotect is refused");
}

/// As a collection begins, which writes pairs itself.
pub(crate) fn open_all() {
    protect(0, size_of::<Cells>(), libc::PROT_READ | libc::PROT_WRITE);
}

/// As a collection ends: nothing was written since.
pub(crate) fn close_all() {
    for page in &WRITTEN {
        page.store(false, Relaxed);
    }
    protect(0, size_of::<Cells>(), libc::PROT_READ);
}

/// Whether a pair may have been written since the last collection. In a stopped world.
pub(crate) fn may_be_written(cell: &Cell) -> bool {
    page_of(std::ptr::from_ref(cell).addr()).is_some_and(|page| WRITTEN[page].load(Relaxed))
}

pub(crate) fn faults() -> usize {
    FAULTS.load(Relaxed)
}

/// What needm asks about faults of callbacks.
pub(crate) struct Barrier;

impl Barrier {
    /// Makes the pairs, and asks the system for what the hook needs: in a handler it may do neither.
    pub(crate) fn prepare() -> &'static Self {
        cells();
        page_size();
        &Self
    }
}

impl Hooks for Barrier {
    type Local = ();

    fn m_new(&self, _: &M) -> Result<Option<&'static ()>, Refused> {
        Ok(None)
    }

    // It runs in the handler of the fault: it takes no lock and allocates nothing. The world is not
    // stopped meanwhile, because the callback is not at a safepoint.
    unsafe fn fault(
        &self,
        _: &M,
        _: Option<&'static ()>,
        fault: &Fault,
        _: *mut c_void,
    ) -> FaultAnswer {
        let Some(page) = page_of(fault.addr) else { return FaultAnswer::End };
        FAULTS.fetch_add(1, Relaxed);
        WRITTEN[page].store(true, Relaxed);
        protect(page, page_size(), libc::PROT_READ | libc::PROT_WRITE);
        FaultAnswer::Resume
    }
}
