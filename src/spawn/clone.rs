//! Threads without a C library, by the system's own `clone`: a guarded stack, a copy of
//! the thread-local storage, and a row of a table that says whether the thread lives.
//!
//! ```text
//!  map                                                          map + len
//!   | guard | stack ...                 | what it runs | TLS | to the page |
//! ```
//!
//! The system clears a row's `tid` when its thread has ended, in any way
//! (`CLONE_CHILD_CLEARTID`), and only after that is the row somebody else's. A thread
//! that returns unmaps its own stack with its last instructions; that of one which
//! leaves by the raw exit system call is used again, by who takes the row next.
#![allow(unsafe_code)] // stacks are raw memory

use core::ptr;

use crate::arch;
use crate::arch::linux::PAGE;
use crate::os::image::Image;
use crate::os::memory::{self, Access};
use crate::os::{self, Errno, signal, thread as system};
use crate::sync::{AtomicU32, AtomicUsize, Relaxed, SeqCst};
use crate::table::{Rows, Table};
use crate::thread;
use crate::tls::Tls;

// `state`:
/// Nobody's.
const FREE: u32 = 0;
/// One thread makes it, or takes it apart.
const TAKEN: u32 = 1;
/// Whoever wants it may have it once its thread has ended.
const DETACHED: u32 = 2;
/// Its maker lets it go.
#[cfg(feature = "freestanding")]
const JOINABLE: u32 = 3;

/// What a stack is aligned to, on every architecture here.
const ALIGN: usize = 16;

/// A thread, or what is left of one.
pub(crate) struct Row {
    state: AtomicU32,
    /// Its number while it lives.
    tid: AtomicU32,
    /// The mapping, 0 without one.
    map: AtomicUsize,
    len: AtomicUsize,
}

// SAFETY: all fields are atomics, for which zero is valid.
unsafe impl Rows for Row {}

static ROWS: Table<Row> = Table::new();

/// What a new thread finds at the top of its stack.
struct Born<F> {
    row: &'static Row,
    run: F,
}

/// Who lets a row go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nobody: it goes by itself.
    Nobody,
    /// Who made the thread: [`Row::join`] or [`Row::leave_alone`], once.
    #[cfg(feature = "freestanding")]
    Maker,
}

impl Owner {
    fn state(self) -> u32 {
        match self {
            Self::Nobody => DETACHED,
            #[cfg(feature = "freestanding")]
            Self::Maker => JOINABLE,
        }
    }
}

/// Runs `run` on a new thread with at least `stack_size` bytes of stack, whose signals
/// are blocked as this one's are. Its row, and its number.
///
/// # Errors
/// `ENOEXEC` of a program whose headers do not say what a thread needs, or the system's.
pub(crate) fn spawn<F: FnOnce()>(
    stack_size: usize,
    owner: Owner,
    run: F,
) -> Result<(&'static Row, u32), Errno> {
    let image = Image::find().map_err(|_| os::ENOEXEC)?;
    let born_size = size_of::<Born<F>>() + align_of::<Born<F>>().max(ALIGN);
    let above = image.bytes() + image.align() + born_size;
    let len = stack_size.checked_add(above + 2 * PAGE - 1).ok_or(os::ENOMEM)? & !(PAGE - 1);
    let row = take()?;
    let start = row.stack(len).inspect_err(|_| row.state.store(FREE, SeqCst))?;
    let area = (start + len - image.bytes()) & !(image.align() - 1);
    let born = (area - size_of::<Born<F>>()) & !(align_of::<Born<F>>() - 1);
    let top = born & !(ALIGN - 1);
    let born = born as *mut Born<F>;
    // SAFETY: everything lies in the mapping, by the sizes above, which is this
    // thread's alone; the new one gets it.
    let made = unsafe {
        let pointer = image.copy_to(area as *mut u8);
        born.write(Born { row, run });
        let tid = ptr::from_ref(&row.tid).cast_mut();
        arch::linux::needm_clone(top, tid.cast(), pointer, thread_main::<F>, born.cast())
    };
    match system::thread_made(made) {
        Ok(tid) => {
            row.state.store(owner.state(), SeqCst);
            Ok((row, tid))
        }
        Err(refused) => {
            // SAFETY: it is there, and no thread has taken it.
            drop(unsafe { born.read() });
            row.unmap();
            row.state.store(FREE, SeqCst);
            Err(refused)
        }
    }
}

/// A row that is nobody's: a free one, that of a thread which has ended, or a new one.
fn take() -> Result<&'static Row, Errno> {
    for row in ROWS.iter() {
        let state = row.state.load(SeqCst);
        if state != FREE && (state != DETACHED || row.tid.load(SeqCst) != 0)
            || row.state.compare_exchange(state, TAKEN, SeqCst, SeqCst).is_err()
        {
            continue;
        }
        // Another thread may have come and gone in between, and left one that lives.
        if row.tid.load(SeqCst) == 0 {
            return Ok(row);
        }
        row.state.store(state, SeqCst);
    }
    loop {
        let index = ROWS.add().map_err(|_| os::ENOMEM)?;
        let row = ROWS.get(index).ok_or(os::ENOMEM)?;
        // Who looked through the rows just now may have been first.
        if row.state.compare_exchange(FREE, TAKEN, SeqCst, SeqCst).is_ok() {
            return Ok(row);
        }
    }
}

impl Row {
    /// A mapping of `len` bytes with its guard: what is there, if it fits, or a new one.
    fn stack(&self, len: usize) -> Result<usize, Errno> {
        let there = self.map.load(Relaxed);
        if there != 0 && self.len.load(Relaxed) == len {
            return Ok(there);
        }
        self.unmap();
        let start = memory::map(len, Access::None)?;
        // SAFETY: this mapping is a moment old.
        let opened = unsafe { memory::protect(start + PAGE, len - PAGE, Access::ReadWrite) };
        if let Err(refused) = opened {
            // SAFETY: as above.
            unsafe { memory::unmap(start, len) };
            return Err(refused);
        }
        self.len.store(len, Relaxed);
        self.map.store(start, SeqCst);
        Ok(start)
    }

    /// Unmaps the stack, if there still is one. Its thread has ended, or was never made.
    fn unmap(&self) {
        let start = self.map.swap(0, SeqCst);
        if start != 0 {
            // SAFETY: mapped with this size, and nobody is on it.
            unsafe { memory::unmap(start, self.len.load(Relaxed)) };
        }
    }

    /// Waits until its thread has ended, and leaves nothing of it.
    #[cfg(feature = "freestanding")]
    pub(crate) fn join(&self) {
        loop {
            match self.tid.load(SeqCst) {
                0 => break,
                tid => system::wait_for_clear(&self.tid, tid),
            }
        }
        self.unmap();
        self.state.store(FREE, SeqCst);
    }

    /// Nobody will join it.
    #[cfg(feature = "freestanding")]
    pub(crate) fn leave_alone(&self) {
        self.state.store(DETACHED, SeqCst);
    }

    fn holds(&self, address: usize) -> bool {
        let start = self.map.load(Relaxed);
        start != 0 && address.wrapping_sub(start) < self.len.load(Relaxed)
    }
}

unsafe extern "C" fn thread_main<F: FnOnce()>(born: *mut core::ffi::c_void) -> ! {
    // SAFETY: `spawn` has put it there for this thread.
    let Born { row, run } = unsafe { born.cast::<Born<F>>().read() };
    run();
    // A handler from here on would have no stack to run on.
    signal::block_all();
    thread::exit_current(Tls::current());
    let start = row.map.swap(0, SeqCst);
    // SAFETY: the mapping is this thread's own stack, which nothing refers to: the row
    // no longer does, and `run` has ended.
    unsafe { arch::linux::needm_unmap_and_exit(start, row.len.load(Relaxed)) }
}

/// In a forked child: no thread exists but this one.
pub(crate) fn fork_child() {
    let here = arch::needm_sp();
    for row in ROWS.iter().filter(|row| !row.holds(here)) {
        row.tid.store(0, SeqCst);
        if row.state.load(SeqCst) == TAKEN {
            row.state.store(DETACHED, SeqCst);
        }
    }
}
