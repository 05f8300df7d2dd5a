//! What `src/sync.rs` is under loom: atomics that loom watches.
//!
//! A word has the size and the bytes of the real one, and zeros are valid for it: so statics,
//! tables and stacks are what they are in needm. Its value during an execution is kept beside
//! it (`words.rs`), found by its address, and is the bytes' value at first.
//!
//! loom treats `SeqCst` accesses as `AcqRel` ones, but it has `SeqCst` fences. A store and a
//! read-modify-write are given one after it, a load none, as on x86.
//!
//! Where one thread stores what another reads, modifies and writes, loom does not know that
//! nothing comes between the other's two halves, and lets a third read the overwritten value.
//! So stores are swaps here: then the order of writes is that of the execution.
#![allow(unsafe_code)] // words, by their addresses

extern crate std;

pub(crate) mod mappings;
pub(crate) mod words;

use core::cell::{Cell, UnsafeCell};
use core::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, SeqCst};
use words::Word;

/// A fence. There is no other thread for one that is alone.
pub(crate) fn fence(ordering: Ordering) {
    if !words::is_alone() {
        loom::sync::atomic::fence(ordering);
    }
}

/// loom's threads have no handlers, so a compiler's order is the program's.
pub(crate) fn compiler_fence(_: Ordering) {}

std::thread_local! {
    /// The number of the planted bug. A fork goes on with its parent's.
    static PLANTED: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Plants bug number `bug` for the explorations of this thread.
pub(crate) fn plant(bug: u32) {
    PLANTED.set(Some(bug));
}

/// Whether bug number `bug` is planted: the copy of the sources asks where a marker was.
#[allow(dead_code)] // only in the copy of the sources
pub(crate) fn planted(bug: u32) -> bool {
    PLANTED.get() == Some(bug)
}

/// `ordering`, or none at all if bug number `bug` is planted.
#[allow(dead_code)] // only in the copy of the sources
pub(crate) fn unless_planted(bug: u32, ordering: Ordering) -> Ordering {
    if planted(bug) { Relaxed } else { ordering }
}

/// Runs an access that writes with the strongest ordering that loom has for it. A word that only
/// one thread uses orders nothing.
fn write<R>(word: &Word, ordering: Ordering, access: impl FnOnce(Ordering) -> R) -> R {
    if ordering != SeqCst {
        return access(ordering);
    }
    let result = access(AcqRel);
    if word.is_watched() {
        fence(SeqCst);
    }
    result
}

/// What loom takes a load's ordering for.
fn reading(ordering: Ordering) -> Ordering {
    if ordering == SeqCst { Acquire } else { ordering }
}

/// What a swap has in place of a store's ordering.
fn swapping(ordering: Ordering) -> Ordering {
    if ordering == Acquire { AcqRel } else { ordering }
}

macro_rules! atomics {
    ($($name:ident $(<$of:ident>)?: $value:ty, $from:expr, $into:expr;)*) => {$(
        #[repr(transparent)]
        pub(crate) struct $name $(<$of>)? {
            first: UnsafeCell<$value>,
        }

        // SAFETY: the bytes are read when an execution first meets the word. Nothing writes
        // them then: all of loom's threads run on one, and what writes to memory past the
        // atomics (a robust list) is that one.
        unsafe impl $(<$of>)? Sync for $name $(<$of>)? {}

        // SAFETY: it is used as an address only, and an address belongs to no thread.
        unsafe impl $(<$of>)? Send for $name $(<$of>)? {}

        #[allow(dead_code)]
        impl $(<$of>)? $name $(<$of>)? {
            pub(crate) const fn new(first: $value) -> Self {
                Self { first: UnsafeCell::new(first) }
            }

            fn word(&self) -> &'static Word {
                let address = (&raw const *self).addr();
                // SAFETY: nothing writes the bytes meanwhile, as above.
                words::at(address, size_of::<$value>(), || ($into)(unsafe { *self.first.get() }))
            }

            pub(crate) fn load(&self, ordering: Ordering) -> $value {
                ($from)(self.word().read(|value| value, |word| word.load(reading(ordering))))
            }

            pub(crate) fn store(&self, value: $value, ordering: Ordering) {
                self.swap(value, swapping(ordering));
            }

            pub(crate) fn swap(&self, value: $value, ordering: Ordering) -> $value {
                let value = ($into)(value);
                ($from)(write(self.word(), ordering, |ordering| {
                    self.word().write(|_| value, |word| word.swap(value, ordering))
                }))
            }

            pub(crate) fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                ordering: Ordering,
                failed: Ordering,
            ) -> Result<$value, $value> {
                let (from, to) = (($into)(from), ($into)(to));
                let result = write(self.word(), ordering, |ordering| {
                    self.word().compare_exchange(from, to, ordering, reading(failed))
                });
                result.map($from).map_err($from)
            }

            pub(crate) fn compare_exchange_weak(
                &self,
                from: $value,
                to: $value,
                ordering: Ordering,
                failed: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(from, to, ordering, failed)
            }

            /// A planted bug: a compare-and-swap in two steps.
            pub(crate) fn compare_exchange_or_torn(
                &self,
                torn: bool,
                from: $value,
                to: $value,
                ordering: Ordering,
                failed: Ordering,
            ) -> Result<$value, $value> {
                if !torn {
                    return self.compare_exchange(from, to, ordering, failed);
                }
                let now = self.load(failed);
                if now != from {
                    return Err(now);
                }
                self.store(to, ordering);
                Ok(now)
            }

            pub(crate) fn fetch_update(
                &self,
                ordering: Ordering,
                failed: Ordering,
                mut change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                let mut now = self.load(failed);
                while let Some(next) = change(now) {
                    match self.compare_exchange(now, next, ordering, failed) {
                        Ok(before) => return Ok(before),
                        Err(other) => now = other,
                    }
                }
                Err(now)
            }
        }
    )*};
}

macro_rules! numbers {
    ($($name:ident: $value:ty;)*) => {
        atomics! { $($name: $value, |word: u64| word as $value, |value: $value| value as u64;)* }
        $(#[allow(dead_code)]
        impl $name {
            pub(crate) fn fetch_add(&self, value: $value, ordering: Ordering) -> $value {
                let value = value as u64;
                write(self.word(), ordering, |ordering| {
                    self.word().write(
                        |before| before.wrapping_add(value),
                        |word| word.fetch_add(value, ordering),
                    )
                }) as $value
            }

            pub(crate) fn fetch_sub(&self, value: $value, ordering: Ordering) -> $value {
                let value = value as u64;
                write(self.word(), ordering, |ordering| {
                    self.word().write(
                        |before| before.wrapping_sub(value),
                        |word| word.fetch_sub(value, ordering),
                    )
                }) as $value
            }

            pub(crate) fn fetch_or(&self, value: $value, ordering: Ordering) -> $value {
                let value = value as u64;
                write(self.word(), ordering, |ordering| {
                    self.word().write(|before| before | value, |word| word.fetch_or(value, ordering))
                }) as $value
            }

            pub(crate) fn fetch_and(&self, value: $value, ordering: Ordering) -> $value {
                let value = value as u64;
                write(self.word(), ordering, |ordering| {
                    self.word()
                        .write(|before| before & value, |word| word.fetch_and(value, ordering))
                }) as $value
            }
        })*
    };
}

numbers! { AtomicU32: u32; AtomicU64: u64; AtomicUsize: usize; }
atomics! {
    AtomicBool: bool, |word| word != 0, u64::from;
    AtomicPtr<T>: *mut T,
        |word: u64| core::ptr::with_exposed_provenance_mut::<T>(word as usize),
        |value: *mut T| value.expose_provenance() as u64;
}
