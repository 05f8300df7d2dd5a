//! What `src/sync.rs` is for the shipped sources: atomics that loom watches.
//!
//! The sources have theirs in statics; loom's cannot be made in one. So these are made at
//! their first use in each execution, and found by the address of the static. That must
//! be on the model's first thread, before it makes others ([`fresh`] says how).
//!
//! loom takes SeqCst accesses for AcqRel ones, but knows fences. A store and a
//! read-modify-write are given one after it, a load none, as on x86.
//!
//! Where one thread stores what another reads, modifies and writes, loom does not know that
//! nothing comes between the other's two halves, and lets a third read what was overwritten.
//! So stores are swaps here: then the order of writes is that of the execution.

use core::cell::{Cell, RefCell};
use std::any::Any;
use std::collections::HashMap;
use std::rc::Rc;

pub(crate) use loom::sync::atomic::Ordering::{self, Acquire, Relaxed, SeqCst};
#[allow(unused_imports)]
pub(crate) use loom::sync::atomic::Ordering::{AcqRel, Release};

thread_local! {
    /// loom's threads all run on the test's own.
    static THINGS: RefCell<HashMap<usize, Rc<dyn Any>>> = RefCell::default();
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Says whether the others begin after this, or have ended: then no fence is missed.
pub(crate) fn alone(now: bool) {
    ALONE.set(now);
}

/// Begins an execution with all things as at first.
pub(crate) fn fresh() {
    alone(false);
    THINGS.take();
}

/// Whether there is one in this execution.
pub(crate) fn is_known(address: usize) -> bool {
    THINGS.with_borrow(|things| things.contains_key(&address))
}

/// The thing that stands for what is at an address.
pub(crate) fn thing<T: 'static>(address: usize, make: impl FnOnce() -> T) -> Rc<T> {
    let known = THINGS.with_borrow(|things| things.get(&address).cloned());
    let thing = known.unwrap_or_else(|| {
        let made: Rc<dyn Any> = Rc::new(make());
        THINGS.with_borrow_mut(|things| things.insert(address, Rc::clone(&made)));
        made
    });
    thing.downcast().expect("one type at an address")
}

pub(crate) fn fence(ordering: Ordering) {
    if !ALONE.get() {
        loom::sync::atomic::fence(ordering);
    }
}

pub(crate) fn compiler_fence(_: Ordering) {}

/// Runs an access that writes with the strongest ordering that loom has for it.
fn write<R>(ordering: Ordering, weaker: Ordering, access: impl FnOnce(Ordering) -> R) -> R {
    if ordering != SeqCst {
        return access(ordering);
    }
    let result = access(weaker);
    fence(SeqCst);
    result
}

/// What loom takes a load's ordering for.
fn reading(ordering: Ordering) -> Ordering {
    if ordering == SeqCst { Acquire } else { ordering }
}

macro_rules! atomics {
    ($($name:ident: $value:ty;)*) => {$(
        pub(crate) struct $name {
            /// In a cell: a robust list leads through such words, and is memory.
            first: core::cell::UnsafeCell<$value>,
        }

        // SAFETY: read only where an execution first meets it.
        unsafe impl Sync for $name {}

        #[allow(dead_code)]
        impl $name {
            pub(crate) const fn new(first: $value) -> Self {
                Self { first: core::cell::UnsafeCell::new(first) }
            }

            fn real(&self) -> Rc<loom::sync::atomic::$name> {
                // SAFETY: nobody writes it meanwhile: all of loom's threads run on one.
                let first = unsafe { *self.first.get() };
                thing(&raw const *self as usize, || loom::sync::atomic::$name::new(first))
            }

            pub(crate) fn load(&self, ordering: Ordering) -> $value {
                self.real().load(reading(ordering))
            }

            pub(crate) fn store(&self, value: $value, ordering: Ordering) {
                write(ordering, AcqRel, |ordering| self.real().swap(value, ordering));
            }

            pub(crate) fn swap(&self, value: $value, ordering: Ordering) -> $value {
                write(ordering, AcqRel, |ordering| self.real().swap(value, ordering))
            }

            pub(crate) fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                ordering: Ordering,
                failed: Ordering,
            ) -> Result<$value, $value> {
                let failed = reading(failed);
                let access = |ordering| self.real().compare_exchange(from, to, ordering, failed);
                write(ordering, AcqRel, access)
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
        atomics! { $($name: $value;)* }
        $(#[allow(dead_code)]
        impl $name {
            pub(crate) fn fetch_add(&self, value: $value, ordering: Ordering) -> $value {
                write(ordering, AcqRel, |ordering| self.real().fetch_add(value, ordering))
            }

            pub(crate) fn fetch_sub(&self, value: $value, ordering: Ordering) -> $value {
                write(ordering, AcqRel, |ordering| self.real().fetch_sub(value, ordering))
            }

            pub(crate) fn fetch_or(&self, value: $value, ordering: Ordering) -> $value {
                write(ordering, AcqRel, |ordering| self.real().fetch_or(value, ordering))
            }

            pub(crate) fn fetch_and(&self, value: $value, ordering: Ordering) -> $value {
                write(ordering, AcqRel, |ordering| self.real().fetch_and(value, ordering))
            }
        })*
    };
}

atomics! { AtomicBool: bool; }
numbers! { AtomicU32: u32; AtomicU64: u64; AtomicUsize: usize; }

/// A pointer, as an address: loom's has no constant constructor that takes any.
pub(crate) struct AtomicPtr<T> {
    first: *mut T,
}

// SAFETY: only ever read; what is pointed to is static.
unsafe impl<T> Sync for AtomicPtr<T> {}

impl<T: 'static> AtomicPtr<T> {
    pub(crate) const fn new(first: *mut T) -> Self {
        Self { first }
    }

    fn real(&self) -> Rc<loom::sync::atomic::AtomicPtr<T>> {
        let first = self.first;
        thing(&raw const *self as usize, || loom::sync::atomic::AtomicPtr::new(first))
    }

    pub(crate) fn load(&self, ordering: Ordering) -> *mut T {
        self.real().load(reading(ordering))
    }

    pub(crate) fn store(&self, value: *mut T, ordering: Ordering) {
        write(ordering, AcqRel, |ordering| self.real().swap(value, ordering));
    }

    pub(crate) fn swap(&self, value: *mut T, ordering: Ordering) -> *mut T {
        write(ordering, AcqRel, |ordering| self.real().swap(value, ordering))
    }

    pub(crate) fn compare_exchange(
        &self,
        from: *mut T,
        to: *mut T,
        ordering: Ordering,
        failed: Ordering,
    ) -> Result<*mut T, *mut T> {
        let failed = reading(failed);
        write(ordering, AcqRel, |ordering| self.real().compare_exchange(from, to, ordering, failed))
    }
}
