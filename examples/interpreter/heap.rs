//! Values, and the heap of pairs with its collector: stop the world, mark from the stacks of
//! all callbacks and from the roots, sweep. It has two generations: a pair that has survived a
//! collection is old, and most collections leave the old ones alone. What old pairs refer to is
//! found by the write barrier (`barrier.rs`).
//!
//! # Safety
//! A pair is reached by its address, whose memory is never freed. Its words are atomics, so threads that
//! use the same pair do no harm. What the collector frees is referred to by no stack, root or pair;
//! that a freed pair is not used is what the example shows.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{LazyLock, Mutex, MutexGuard};

use needm::Stopped;

use crate::barrier::{self, CELLS, cells};

/// A value in one word: a number, a symbol, a built-in function, nothing, or a pair.
///
/// The lowest bits say which. Of a pair it is the address, so that the collector recognises it on
/// a stack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value(usize);

/// What a value is.
pub(crate) enum Kind {
    Number(isize),
    /// Its number in the table of names.
    Symbol(usize),
    BuiltIn(usize),
    Nil,
    Pair(&'static Cell),
    /// Parameters and body; environment.
    Function(&'static Cell),
}

impl Value {
    pub(crate) const NIL: Self = Self(6);

    #[allow(clippy::cast_sign_loss)] // as bits
    pub(crate) const fn number(number: isize) -> Self {
        Self((number << 1) as usize | 1)
    }

    pub(crate) const fn symbol(index: usize) -> Self {
        Self(index << 3 | 2)
    }

    pub(crate) const fn built_in(index: usize) -> Self {
        Self(index << 3 | 4)
    }

    pub(crate) fn kind(self) -> Kind {
        #[allow(clippy::cast_possible_wrap)] // as bits
        match self.0 & 7 {
            2 => Kind::Symbol(self.0 >> 3),
            4 => Kind::BuiltIn(self.0 >> 3),
            6 => Kind::Nil,
            0 => {
                // SAFETY: a value with these bits was made by `pair`, from a cell.
                let cell: &'static Cell = unsafe { &*(self.0 as *const Cell) };
                let is_function = cell.is_function.load(Relaxed) != 0;
                if is_function { Kind::Function(cell) } else { Kind::Pair(cell) }
            }
            _ => Kind::Number(self.0 as isize >> 1),
        }
    }

    pub(crate) fn is_nil(self) -> bool {
        self == Self::NIL
    }

    /// A value that another thread, or the collector, finds.
    pub(crate) fn load(from: &AtomicUsize) -> Self {
        Self(from.load(Acquire))
    }

    pub(crate) fn store(self, to: &AtomicUsize) {
        to.store(self.0, Release);
    }
}

/// A pair, or a function of the language. Aligned so that addresses have the lowest bits clear.
#[repr(C, align(16))]
pub(crate) struct Cell {
    is_function: AtomicUsize,
    pub(crate) first: AtomicUsize,
    pub(crate) second: AtomicUsize,
}

impl Cell {
    pub(crate) fn first(&self) -> Value {
        Value::load(&self.first)
    }

    pub(crate) fn second(&self) -> Value {
        Value::load(&self.second)
    }
}

/// What has happened so far.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Counts {
    pub(crate) made: usize,
    pub(crate) freed: usize,
    pub(crate) collections: usize,
    /// Those of the collections that looked at all pairs.
    pub(crate) full: usize,
    /// Faults of the write barrier.
    pub(crate) faults: usize,
}

/// Never locked at a safepoint, so it is free in a stopped world.
struct Heap {
    free: Vec<usize>,
    in_use: Vec<bool>,
    old: Vec<bool>,
    marked: Vec<bool>,
    counts: Counts,
}

/// What globals, and threads that are being started, refer to.
pub(crate) static ROOTS: [AtomicUsize; 512] = [const { AtomicUsize::new(Value::NIL.0) }; 512];

static HEAP: LazyLock<Mutex<Heap>> = LazyLock::new(|| {
    Mutex::new(Heap {
        free: (0..CELLS).collect(),
        in_use: vec![false; CELLS],
        old: vec![false; CELLS],
        marked: vec![false; CELLS],
        counts: Counts::default(),
    })
});

fn heap() -> MutexGuard<'static, Heap> {
    HEAP.lock().expect("no thread panics with it")
}

/// The pair that contains an address.
fn index_of(address: usize) -> Option<usize> {
    let offset = address.checked_sub(cells().as_ptr() as usize)?;
    Some(offset / size_of::<Cell>()).filter(|index| *index < CELLS)
}

/// A new pair, or a function; `None` if all are in use.
///
/// Not inlined: the collector must find the address itself on the stack, not a base and an index
/// that the compiler has made of it.
#[inline(never)]
pub(crate) fn pair(first: Value, second: Value, is_function: bool) -> Option<Value> {
    let index = loop {
        let free = heap().free.pop();
        match free {
            Some(index) => break index,
            None if collect(true) == 0 => return None,
            None => {}
        }
    };
    let cell = &cells()[index];
    cell.is_function.store(usize::from(is_function), Relaxed);
    cell.first.store(first.0, Relaxed);
    cell.second.store(second.0, Relaxed);
    // Until the next safepoint, no collection sees it.
    let mut heap = heap();
    heap.in_use[index] = true;
    heap.counts.made += 1;
    Some(Value(std::ptr::from_ref(cell) as usize))
}

/// Frees the pairs that nothing refers to: how many are free then. `if_needed`: not if another
/// thread has just done so, and the old ones only if the young ones were few.
pub(crate) fn collect(if_needed: bool) -> usize {
    let world = needm::stop_the_world().expect("this thread has not stopped the world");
    let mut heap = heap();
    if if_needed && !heap.free.is_empty() {
        return heap.free.len();
    }
    barrier::open_all();
    if if_needed {
        heap.collect_young(&world);
    }
    if !if_needed || heap.free.len() < CELLS / 4 {
        // All are young then.
        heap.old.fill(false);
        heap.collect_young(&world);
        heap.counts.full += 1;
    }
    barrier::close_all();
    heap.free.len()
}

impl Heap {
    /// Frees the young pairs to which nothing refers. The others are old then.
    fn collect_young(&mut self, world: &Stopped) {
        let Self { free, in_use, old, marked, counts } = self;
        let mut found = Vec::new();
        // A word that is by chance an address keeps a pair too many, and does no harm.
        let mut mark = |word: usize, found: &mut Vec<usize>| {
            if let Some(index) = index_of(word)
                && in_use[index]
                && !old[index]
                && !std::mem::replace(&mut marked[index], true)
            {
                found.push(index);
            }
        };
        world.each_m::<()>(|_, live| {
            let words = live.step_by(size_of::<usize>());
            // SAFETY: the live part of a G, aligned to words, in a stopped world.
            words.for_each(|at| mark(unsafe { (at as *const usize).read() }, &mut found));
            ControlFlow::Continue(())
        });
        for root in &ROOTS {
            mark(root.load(Acquire), &mut found);
        }
        let written = |index: &usize| old[*index] && barrier::may_be_written(&cells()[*index]);
        found.extend((0..CELLS).filter(written));
        while let Some(index) = found.pop() {
            mark(cells()[index].first.load(Acquire), &mut found);
            mark(cells()[index].second.load(Acquire), &mut found);
        }
        for index in 0..CELLS {
            if !in_use[index] || old[index] {
                continue;
            }
            old[index] = std::mem::replace(&mut marked[index], false);
            if !old[index] {
                in_use[index] = false;
                // A value that was freed too early is found by what it has become.
                cells()[index].first.store(Value::symbol(0).0, Relaxed);
                cells()[index].second.store(Value::symbol(0).0, Relaxed);
                free.push(index);
                counts.freed += 1;
            }
        }
        counts.collections += 1;
    }
}

pub(crate) fn counts() -> Counts {
    Counts { faults: barrier::faults(), ..heap().counts }
}
