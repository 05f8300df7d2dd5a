// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads without a C library, by clone(2): a guarded stack, a copy of
//! the thread-local storage, and a row that says whether the thread lives.
//!
//! ```text
//!  map                                                          map + len
//!   | guard | stack ...                 | what it runs | TLS | to the page |
//! ```
//!
//! Linux clears a row's `tid` when its thread has exited, in any way
//! (`CLONE_CHILD_CLEARTID`), and only after that may the row be used again. A thread that
//! returns unmaps its own stack with its last instructions. The stack of a thread that exits
//! by the raw system call is used again, by the next thread of the row.
//!
//! # Safety
//! A row's stack belongs to the thread that has set the row to [`TAKEN`], then to the thread
//! that was made on it, then, when `tid` is 0, to whichever thread sets it to [`TAKEN`]
//! again.

use core::ptr;

use super::image::Image;
use super::memory::{self, page_size};
#[cfg(feature = "freestanding")]
use super::wait;
use super::{ENOMEM, Errno, checked, low, signal};
use crate::arch::linux::{needm_clone, needm_unmap_and_exit};
use crate::arch::needm_sp;
use crate::os::terms::{Access, needm_thread_exit};
use crate::sync::{AtomicPtr, AtomicU32, AtomicUsize, Relaxed, SeqCst};

// A row's `state`:
/// No thread has it.
const FREE: u32 = 0;
/// A thread that makes another one has it to itself.
const TAKEN: u32 = 1;
/// It is not joined: any thread may take it once its own thread has exited.
const DETACHED: u32 = 2;
/// Its maker calls [`Row::join`] or [`Row::leave_alone`], once.
#[cfg(feature = "freestanding")]
const JOINABLE: u32 = 3;

/// What a stack is aligned to, on every architecture here.
const ALIGN: usize = 16;

/// A thread, or what is left of one.
pub(crate) struct Row {
    state: AtomicU32,
    /// Its thread ID while it lives.
    tid: AtomicU32,
    /// The mapping, 0 without one.
    map: AtomicUsize,
    len: AtomicUsize,
}

/// Rows of a block.
const ROWS: usize = 64;

/// Rows that never move, and the block of the next ones. All zeros is a block.
struct Block {
    rows: [Row; ROWS],
    next: AtomicPtr<Block>,
}

impl Block {
    /// The block after this one, if it was ever needed.
    fn next(&self) -> Option<&'static Self> {
        // SAFETY: it is null, or a block that `append` has mapped, which stays.
        unsafe { self.next.load(SeqCst).as_ref() }
    }

    /// A block after this one.
    fn append(&self) -> Result<(), Errno> {
        let start = memory::map(size_of::<Self>(), Access::ReadWrite)?;
        let fresh = start as *mut Self;
        if self.next.compare_exchange(ptr::null_mut(), fresh, SeqCst, SeqCst).is_err() {
            // SAFETY: no other thread has seen this mapping.
            unsafe { memory::unmap(start, size_of::<Self>()) };
        }
        Ok(())
    }
}

/// The first rows; more are mapped when they are needed.
static FIRST: Block = Block {
    rows: [const {
        Row {
            state: AtomicU32::new(FREE),
            tid: AtomicU32::new(0),
            map: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
        }
    }; ROWS],
    next: AtomicPtr::new(ptr::null_mut()),
};

fn blocks() -> impl Iterator<Item = &'static Block> {
    core::iter::successors(Some(&FIRST), |block| block.next())
}

fn rows() -> impl Iterator<Item = &'static Row> {
    blocks().flat_map(|block| block.rows.iter())
}

/// What a new thread finds at the top of its stack.
struct Born<F> {
    row: &'static Row,
    run: F,
}

/// Runs `run` on a new thread that is not joined.
///
/// # Errors
/// As for [`spawn`].
pub(super) fn spawn_alone<F: FnOnce()>(stack_size: usize, run: F) -> Result<(), Errno> {
    spawn(stack_size, DETACHED, run).map(drop)
}

/// Runs `run` on a new thread. Returns its row, for which the caller calls [`Row::join`] or
/// [`Row::leave_alone`], and its thread ID.
///
/// # Errors
/// As for [`spawn`].
#[cfg(feature = "freestanding")]
pub(crate) fn spawn_joinable<F: FnOnce()>(
    stack_size: usize,
    run: F,
) -> Result<(&'static Row, u32), Errno> {
    spawn(stack_size, JOINABLE, run)
}

/// Runs `run` on a new thread with at least `stack_size` bytes of stack, and this thread's signal
/// mask. Returns its row, which is then in `state`, and its thread ID.
///
/// # Errors
/// `ENOEXEC` of a program whose headers do not say what a thread needs, or the system's.
fn spawn<F: FnOnce()>(stack_size: usize, state: u32, run: F) -> Result<(&'static Row, u32), Errno> {
    let image = Image::find()?;
    let page = page_size();
    let born_size = size_of::<Born<F>>() + align_of::<Born<F>>().max(ALIGN);
    let above = image.bytes() + image.align() + born_size;
    let len = stack_size.checked_add(above + 2 * page - 1).ok_or(ENOMEM)? & !(page - 1);
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
        needm_clone(top, tid.cast(), pointer, thread_main::<F>, born.cast())
    };
    match checked(made).map(low) {
        Ok(tid) => {
            row.state.store(state, SeqCst);
            Ok((row, tid))
        }
        Err(refused) => {
            // SAFETY: it was written above, and there is no thread that could have read it.
            drop(unsafe { born.read() });
            row.unmap();
            row.state.store(FREE, SeqCst);
            Err(refused)
        }
    }
}

/// Takes a row without a live thread: a free one, that of an exited thread, or a new one.
fn take() -> Result<&'static Row, Errno> {
    loop {
        for row in rows() {
            let state = row.state.load(SeqCst);
            if state != FREE && (state != DETACHED || row.tid.load(SeqCst) != 0)
                || row.state.compare_exchange(state, TAKEN, SeqCst, SeqCst).is_err()
            {
                continue;
            }
            // Another thread may have taken the row in between, and started a thread that lives.
            if row.tid.load(SeqCst) == 0 {
                return Ok(row);
            }
            row.state.store(state, SeqCst);
        }
        blocks().last().unwrap_or(&FIRST).append()?;
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
        let guard = page_size();
        // SAFETY: inside the mapping just made, which nothing uses yet.
        let opened = unsafe { memory::protect(start + guard, len - guard, Access::ReadWrite) };
        if let Err(refused) = opened {
            // SAFETY: it is the mapping just made, and no other thread has seen it.
            unsafe { memory::unmap(start, len) };
            return Err(refused);
        }
        self.len.store(len, Relaxed);
        self.map.store(start, SeqCst);
        Ok(start)
    }

    /// Unmaps the stack, if there still is one. Its thread has exited, or was never made.
    fn unmap(&self) {
        let start = self.map.swap(0, SeqCst);
        if start != 0 {
            // SAFETY: it was mapped with this size, and its thread has exited or was never made.
            unsafe { memory::unmap(start, self.len.load(Relaxed)) };
        }
    }

    /// Waits until its thread has exited, and frees all that it had.
    #[cfg(feature = "freestanding")]
    pub(crate) fn join(&self) {
        loop {
            match self.tid.load(SeqCst) {
                0 => break,
                tid => wait::wait_for_clear(&self.tid, tid),
            }
        }
        self.unmap();
        self.state.store(FREE, SeqCst);
    }

    /// It will not be joined.
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
    needm_thread_exit();
    let start = row.map.swap(0, SeqCst);
    // SAFETY: the mapping is this thread's own stack, which nothing refers to: the row
    // no longer does, and `run` has ended.
    unsafe { needm_unmap_and_exit(start, row.len.load(Relaxed)) }
}

/// In a forked child: no thread exists but this one.
pub(crate) fn fork_child() {
    let here = needm_sp();
    for row in rows().filter(|row| !row.holds(here)) {
        row.tid.store(0, SeqCst);
        if row.state.load(SeqCst) == TAKEN {
            row.state.store(DETACHED, SeqCst);
        }
    }
}
