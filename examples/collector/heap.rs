//! The heap: cells of one size, marked from what callbacks' stacks hold, and swept.
//!
//! It is conservative: every word of a stack that is an address inside a cell in use
//! keeps that cell, whatever the word is. What cells hold is known exactly.

use std::cell::UnsafeCell;
use std::ops::{ControlFlow, Range};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Cells that there are.
const CELLS: usize = 1 << 13;

/// What a cell in use is recognised by, together with what is in it.
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

    /// Whether it is what was allocated, and has not been freed since.
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
    /// The most cells that a collection has left in use.
    pub(crate) most_kept: u64,
}

pub(crate) struct Heap {
    cells: Box<[UnsafeCell<Object>]>,
    /// Held for a moment, and never where a callback may be stopped: whoever has stopped
    /// the world finds it free.
    inner: Mutex<Inner>,
}

// SAFETY: a cell is its allocator's until that has linked or dropped it, then its readers'
// and, in a stopped world, the collector's; all else is behind the lock.
unsafe impl Sync for Heap {}
// SAFETY: the pointers in cells lead to cells of the same heap.
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
        self.inner.lock().expect("nobody panics with it")
    }

    /// A new object, if there is a free cell. Nothing keeps it but the pointer that is
    /// returned, on a callback's stack.
    ///
    /// Not inlined: the optimizer would see that it is a base and an index, and keep those
    /// two instead, in which no collector can recognise an object.
    #[inline(never)]
    pub(crate) fn allocate(&self, kids: [*mut Object; 2], value: u64) -> Option<*mut Object> {
        let mut inner = self.inner();
        let index = inner.free.pop()?;
        inner.states[index] = State::Used;
        inner.counts.allocated += 1;
        let object = self.cells[index].get();
        let mut fresh = Object { kids, value, check: 0 };
        fresh.check = fresh.right_check();
        // SAFETY: the cell was free, and is this caller's now.
        unsafe { object.write(fresh) };
        Some(object)
    }

    /// The cell that an address is in.
    fn index_of(&self, address: usize) -> Option<usize> {
        let offset = address.checked_sub(self.cells.as_ptr() as usize)?;
        let index = offset / size_of::<Object>();
        (index < CELLS).then_some(index)
    }

    /// Frees what no callback can reach; how long the world stood still.
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
            // SAFETY: it is in use, and the world is stopped: nobody writes to it.
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
            // SAFETY: a word of a stack that does not run: the world is stopped.
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
                    // SAFETY: nobody has a pointer to it. Whoever had would see.
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

    /// Cells in use now.
    pub(crate) fn used(&self) -> usize {
        CELLS - self.inner().free.len()
    }

    /// Whether it is worth collecting.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.inner().free.len() < CELLS / 4
    }
}
