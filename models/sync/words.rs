//! The values of all words during one execution.
//!
//! loom watches a word, which costs it much, if two threads use it at once and one of them
//! writes. Which words those are is found by trying: an execution that meets a new one says so
//! ([`discovered`]), and the exploration is begun again with that one watched, until it finds
//! none. What the others hold is what their one thread, or a thread that was alone, has stored.

use super::mappings::{self, Place, Which};
use core::cell::{Cell, OnceCell, RefCell};
use core::hash::{BuildHasherDefault, Hasher};
use core::sync::atomic::Ordering;
use loom::sync::atomic::AtomicU64;
use std::boxed::Box;
use std::collections::{BTreeSet, HashMap};
use std::vec::Vec;

/// A word's place, which is the same in every execution, and its bytes.
pub(crate) type Key = (Place, usize);

/// A word's value.
pub(crate) struct Word {
    key: Key,
    value: Cell<u64>,
    /// The threads that have read or written it, while there were several: a bit each.
    users: Cell<u32>,
    /// Whether one of them has written.
    written: Cell<bool>,
    watched: OnceCell<AtomicU64>,
}

#[derive(Default)]
struct ByAddress(u64);

impl Hasher for ByAddress {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("addresses are words");
    }
    fn write_usize(&mut self, address: usize) {
        self.0 = (address as u64 >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type Words = HashMap<usize, Box<Word>, BuildHasherDefault<ByAddress>>;

std::thread_local! {
    /// loom's threads all run on the exploration's own.
    static WORDS: RefCell<Words> = RefCell::default();
    /// Those of which it is known that they are to be watched.
    static SHARED: RefCell<BTreeSet<Key>> = const { RefCell::new(BTreeSet::new()) };
    static FOUND: RefCell<BTreeSet<Key>> = const { RefCell::new(BTreeSet::new()) };
    static ALONE: Cell<bool> = const { Cell::new(true) };
}

loom::thread_local! {
    static NUMBER: Cell<usize> = Cell::new(0);
}

/// The number of this thread of the model.
pub(crate) fn thread() -> usize {
    NUMBER.with(Cell::get)
}

/// Says which thread of the model this one is.
pub(crate) fn become_thread(number: usize) {
    NUMBER.with(|own| own.set(number));
}

/// Begins an execution, with every word as at first.
pub(crate) fn fresh() {
    ALONE.set(true);
    WORDS.with_borrow_mut(HashMap::clear);
    mappings::fresh();
}

/// Whether the only thread of the model is this one.
pub(crate) fn is_alone() -> bool {
    ALONE.get()
}

/// All others have ended.
pub(crate) fn alone_again() {
    ALONE.set(true);
}

/// Others begin now. What is known to be shared is watched from here on.
pub(crate) fn others_begin() {
    let statics = SHARED.with_borrow(|keys| {
        keys.iter().filter(|(place, _)| place.is_static()).copied().collect::<Vec<_>>()
    });
    statics.into_iter().for_each(watch_at_first);
    mappings::each(mapped);
    ALONE.set(false);
}

/// A mapping is there: what is known to be shared in it is watched.
pub(crate) fn mapped(start: usize, which: Which) {
    let keys = SHARED.with_borrow(|keys| {
        keys.iter().filter(|(place, _)| place.is_in(which)).copied().collect::<Vec<_>>()
    });
    for key in keys {
        watch(key.0.address(start), key);
    }
}

fn watch_at_first(key: Key) {
    watch(key.0.address(0), key);
}

fn watch(address: usize, (_, size): Key) {
    // SAFETY: a word was there in an earlier execution, with so many bytes; statics stay, and this
    // mapping, which is told by its length and its turn, holds the same again.
    let first = || unsafe {
        match size {
            1 => u64::from(*(address as *const u8)),
            4 => u64::from(*(address as *const u32)),
            _ => *(address as *const u64),
        }
    };
    at(address, size, first).watch();
}

/// What an exploration is begun with.
pub(crate) fn known(keys: &[Key]) {
    SHARED.with_borrow_mut(|shared| shared.extend(keys));
}

/// What it has found to be shared since.
pub(crate) fn discovered() -> Vec<Key> {
    FOUND.with_borrow(|found| found.iter().copied().collect())
}

/// The word at an address, with this value at first.
pub(crate) fn at(address: usize, size: usize, first: impl FnOnce() -> u64) -> &'static Word {
    let place = mappings::place(address);
    WORDS.with_borrow_mut(|words| {
        let word = words.entry(address).or_insert_with(|| {
            Box::new(Word {
                key: (place, size),
                value: Cell::new(first()),
                users: Cell::new(0),
                written: Cell::new(false),
                watched: OnceCell::new(),
            })
        });
        assert!(word.key.1 == size, "two kinds of words at one address");
        // SAFETY: it is boxed, and dropped when the next execution begins, of which this is not
        // a part: references to it are on the stacks of this execution's threads.
        unsafe { &*core::ptr::from_ref::<Word>(word) }
    })
}

impl Word {
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.get().is_some()
    }

    fn watch(&self) {
        if !self.is_watched() {
            let _ = self.watched.set(AtomicU64::new(self.value.get()));
        }
    }

    /// loom's word, if it has one. If two threads turn out to use one that has none, it is too
    /// late for this exploration, which is begun again.
    fn as_watched(&self, writes: bool) -> Option<&AtomicU64> {
        if self.watched.get().is_none() && !is_alone() {
            self.users.set(self.users.get() | 1 << thread());
            self.written.set(self.written.get() | writes);
            if self.written.get() && !self.users.get().is_power_of_two() {
                FOUND.with_borrow_mut(|found| found.insert(self.key));
            }
        }
        self.watched.get()
    }

    pub(crate) fn read(
        &self,
        plain: impl FnOnce(u64) -> u64,
        watched: impl FnOnce(&AtomicU64) -> u64,
    ) -> u64 {
        match self.as_watched(false) {
            None => plain(self.value.get()),
            Some(word) => watched(word),
        }
    }

    pub(crate) fn write(
        &self,
        plain: impl FnOnce(u64) -> u64,
        watched: impl FnOnce(&AtomicU64) -> u64,
    ) -> u64 {
        match self.as_watched(true) {
            None => {
                let before = self.value.get();
                self.value.set(plain(before));
                before
            }
            Some(word) => watched(word),
        }
    }

    pub(crate) fn compare_exchange(
        &self,
        from: u64,
        to: u64,
        ordering: Ordering,
        failed: Ordering,
    ) -> Result<u64, u64> {
        match self.as_watched(true) {
            Some(word) => word.compare_exchange(from, to, ordering, failed),
            None if self.value.get() == from => Ok(self.value.replace(to)),
            None => Err(self.value.get()),
        }
    }
}
