//! The heap: cells of one size, marked from the words on the stacks of callbacks, and swept.
//!
//! It is conservative: every word of a stack that is an address inside a used cell keeps
//! that cell. Inside cells it knows which words are pointers.
//!
//! # Safety
//! A cell is written by the callback that has just allocated it, before any other thread
//! knows of it; after that only a collector writes to it, when it sweeps the cell. A
//! collector runs in a stopped world, in which no callback reads or writes a cell.

use std::cell::UnsafeCell;
use std::ops::{ControlFlow, Range};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The number of cells.
const CELLS: usize = 1 << 13;

/// Part of the check word of a used cell.
const LIVE: u64 = 0x6c69_7665_6c69_7665;

/// An object.
#[repr(C)]
pub(crate) struct Object {
    /// Others, or null.
    pub(crate) kids: [*mut Object; 2],
    pub(crate) value: u64,
    check: u64,
}

impl Object {
    fn right_check(&self) -> u64 {
        let [left, right] = self.kids.map(|kid| kid as u64);
        LIVE ^ self.value ^ left ^ right.rotate_left(17)
    }

    /// Whether it is as it was allocated, and was not freed.
    pub(crate) fn is_whole(&self) -> bool {
        self.check == self.right_check()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Used,
    Marked,
}

struct Inner {
    states: Vec<State>,
    free: Vec<usize>,
    counts: Counts,
}

/// What has happened so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) allocated: u64,
    pub(crate) freed: u64,
    pub(crate) collections: u64,
    /// The most cells that a collection has kept.
    pub(crate) most_kept: u64,
}

pub(crate) struct Heap {
    cells: Box<[UnsafeCell<Object>]>,
    /// Never locked where a callback may be stopped, so it is free in a stopped world.
    inner: Mutex<Inner>,
}

// SAFETY: cells are `UnsafeCell`s, and the module's rules say which thread may write to one:
// the allocating one first, then a collector, in a stopped world. All else is in the mutex.
unsafe impl Sync for Heap {}
// SAFETY: the pointers in cells lead to cells of the same heap, and no thread owns a cell.
unsafe impl Send for Heap {}

impl Heap {
    pub(crate) fn new() -> Self {
        let empty = || Object { kids: [std::ptr::null_mut(); 2], value: 0, check: 0 };
        let cells = (0..CELLS).map(|_| UnsafeCell::new(empty())).collect();
        let inner = Inner {
            states: vec![State::Free; CELLS],
            free: (0..CELLS).collect(),
            counts: Counts::default(),
        };
        Self { cells, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("no thread panics with it")
    }

    /// A new object, if there is a free cell. Only the returned pointer, on the stack of a
    /// callback, keeps it.
    ///
    /// Not inlined, because the optimizer would keep a base and an index instead of the
    /// pointer, in which a collector cannot recognise an object.
    #[inline(never)]
    pub(crate) fn allocate(&self, kids: [*mut Object; 2], value: u64) -> Option<*mut Object> {
        let mut inner = self.inner();
        let index = inner.free.pop()?;
        inner.states[index] = State::Used;
        inner.counts.allocated += 1;
        let object = self.cells[index].get();
        let mut fresh = Object { kids, value, check: 0 };
        fresh.check = fresh.right_check();
        // SAFETY: the index came off the free list, under the lock, so no other thread has the
        // cell; a pointer into it that is left over is not used.
        unsafe { object.write(fresh) };
        Some(object)
    }

    /// The cell that contains an address.
    fn index_of(&self, address: usize) -> Option<usize> {
        let offset = address.checked_sub(self.cells.as_ptr() as usize)?;
        let index = offset / size_of::<Object>();
        (index < CELLS).then_some(index)
    }

    /// Frees what no callback can reach: how long the world was stopped.
    pub(crate) fn collect(&self) -> Result<Duration, needm::Error> {
        let start = Instant::now();
        let world = needm::stop_the_world()?;
        let mut inner = self.inner();
        let mut found = Vec::new();
        world.each_m::<()>(|_, live| {
            self.mark_words(live, &mut inner, &mut found);
            ControlFlow::Continue(())
        });
        while let Some(index) = found.pop() {
            // SAFETY: the cell is marked, so it was initialised, and in a stopped world no
            // callback writes to it.
            let kids = unsafe { (*self.cells[index].get()).kids };
            for kid in kids {
                self.mark(kid as usize, &mut inner, &mut found);
            }
        }
        self.sweep(&mut inner);
        drop(inner);
        drop(world);
        Ok(start.elapsed())
    }

    fn mark_words(&self, live: Range<usize>, inner: &mut Inner, found: &mut Vec<usize>) {
        let first = live.start.next_multiple_of(size_of::<usize>());
        for at in (first..live.end).step_by(size_of::<usize>()) {
            if at + size_of::<usize>() > live.end {
                break;
            }
            // SAFETY: `each_m` gave this range as the used part of a stack, which is mapped, and
            // nothing runs on it while the world is stopped. Any bits are a `usize`.
            let word = unsafe { (at as *const usize).read_volatile() };
            self.mark(word, inner, found);
        }
    }

    fn mark(&self, address: usize, inner: &mut Inner, found: &mut Vec<usize>) {
        let Some(index) = self.index_of(address) else { return };
        if inner.states[index] == State::Used {
            inner.states[index] = State::Marked;
            found.push(index);
        }
    }

    fn sweep(&self, inner: &mut Inner) {
        let mut kept = 0;
        for index in 0..CELLS {
            match inner.states[index] {
                State::Free => {}
                State::Marked => {
                    inner.states[index] = State::Used;
                    kept += 1;
                }
                State::Used => {
                    inner.states[index] = State::Free;
                    inner.free.push(index);
                    inner.counts.freed += 1;
                    // SAFETY: no stack and no marked cell refers to it, and the world is stopped.
                    // If a callback did refer to it, its check would fail.
                    unsafe { (*self.cells[index].get()).check = 0 };
                }
            }
        }
        inner.counts.collections += 1;
        inner.counts.most_kept = inner.counts.most_kept.max(kept);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.inner().counts
    }

    /// Used cells.
    pub(crate) fn used(&self) -> usize {
        CELLS - self.inner().free.len()
    }

    /// Whether it is worth collecting.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.inner().free.len() < CELLS / 4
    }
}
