// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads of a program without a C library, and what a thread needs that the program makes
//! by itself.

use core::alloc::Layout;
use core::mem;

use crate::os::program::{self, Errno, Row, spawn_joinable};

/// A thread that [`spawn`] has made. If this is dropped, the thread runs on, and leaves nothing
/// when it returns. If it exits by the raw system call, the next thread gets its stack.
pub struct Thread {
    row: &'static Row,
    id: u32,
}

impl Thread {
    /// The system's number for it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits until it has exited.
    pub fn join(self) {
        self.into_row().join();
    }

    pub(super) fn into_row(self) -> &'static Row {
        let row = self.row;
        mem::forget(self);
        row
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.row.leave_alone();
    }
}

/// Runs `run` on a new thread, with at least `stack_size` bytes of stack and a guard below.
/// To needm it is a foreign thread like any other. (`needm::spawn` makes threads that are in a
/// callback from birth.)
///
/// # Errors
/// The system's; `ENOEXEC` (8) if the program is not linked as `linker/README.md` says.
pub fn spawn<F: FnOnce() + Send + 'static>(stack_size: usize, run: F) -> Result<Thread, Errno> {
    spawn_joinable(stack_size, run).map(|(row, id)| Thread { row, id })
}

/// The thread-local storage of a thread that a host makes by itself, with `clone`. Each
/// thread that calls in needs its own.
#[derive(Clone, Copy)]
pub struct ThreadArea(program::ThreadArea);

impl ThreadArea {
    /// This program's.
    ///
    /// # Errors
    /// `ENOEXEC` (8): the program headers do not describe any.
    pub fn find() -> Result<Self, Errno> {
        program::ThreadArea::find().map(Self)
    }

    /// What memory it takes.
    #[must_use]
    pub fn layout(&self) -> Layout {
        // Neither number is large, and the alignment is a power of two.
        Layout::from_size_align(self.0.bytes(), self.0.align()).unwrap_or(Layout::new::<usize>())
    }

    /// Lays it out at `at`, and returns the thread pointer, for `clone` with `CLONE_SETTLS` (on
    /// i386 as the base in a `user_desc`).
    ///
    /// # Safety
    /// 1. [`layout`](Self::layout) at `at` is the caller's.
    /// 2. It stays until the one thread that uses it has exited.
    pub unsafe fn lay_out(&self, at: *mut u8) -> usize {
        // SAFETY: the caller gives memory of this layout, for one thread.
        unsafe { self.0.copy_to(at) }
    }
}
