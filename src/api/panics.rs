// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rust panics at the boundary: with `std` they are caught and carried over; without, a
//! panic ends the program or thread as its panic handler says.
//!
//! # Safety
//! A payload on its way is in a box that only the list of its thread refers to. What takes it off
//! the list owns it.

#[cfg(feature = "std")]
pub(super) use carried::*;
#[cfg(not(feature = "std"))]
pub(super) use none::*;

#[cfg(feature = "std")]
#[allow(unsafe_code)] // a list of boxes
mod carried {
    use core::any::Any;
    use core::cell::Cell;
    use core::ffi::c_void;
    use core::ptr;
    use std::boxed::Box;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use crate::api::error::{CallbackError, PanicInfo, PanicPayload};
    use crate::callback::raising;

    pub(in crate::api) type Payload = Box<dyn Any + Send>;
    pub(in crate::api) type Caught<R> = Result<R, Payload>;

    /// The payload of a Rust panic in a deferred function, on its way to the callback's end
    /// as a panic of needm's own, whose value is this one's address.
    pub(in crate::api) struct Carried {
        payload: Payload,
        below: *mut Carried,
    }

    /// The uppermost when a callback began: what is above it then is its own.
    pub(in crate::api) type Mark = *const Carried;

    std::thread_local! {
        /// The uppermost one on its way. A word without a destructor, so that it is there for
        /// destructors' callbacks; and changed by one store, so that a handler's callback in
        /// between finds it whole, and leaves it as it was.
        static TOP: Cell<*mut Carried> = const { Cell::new(ptr::null_mut()) };
    }

    /// Takes the uppermost one off, unless that is `mark`.
    fn pop(mark: Mark) -> Option<Box<Carried>> {
        let top = TOP.get();
        if top.is_null() || ptr::eq(top, mark) {
            return None;
        }
        // SAFETY: it came from a box, and is this thread's until it is off the list.
        unsafe {
            TOP.set((*top).below);
            Some(Box::from_raw(top))
        }
    }

    pub(in crate::api) fn catch<R>(f: impl FnOnce() -> R) -> Caught<R> {
        // What the closure borrowed is the caller's to look at after an error.
        catch_unwind(AssertUnwindSafe(f))
    }

    pub(in crate::api) fn into_error(payload: Payload) -> CallbackError {
        CallbackError::Panicked(PanicPayload::new(payload))
    }

    pub(in crate::api) fn resume<R>(caught: Caught<R>) -> R {
        caught.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Goes on as a panic of needm's, which replaces the one there is.
    pub(in crate::api) fn replace(payload: Payload) -> ! {
        let carried = Box::into_raw(Box::new(Carried { payload, below: TOP.get() }));
        TOP.set(carried);
        raising::panic(carried.cast())
    }

    pub(in crate::api) fn mark() -> Mark {
        TOP.get()
    }

    pub(in crate::api) fn forget(mark: Mark) {
        while pop(mark).is_some() {}
    }

    pub(in crate::api) fn take(mark: Mark, value: *mut c_void) -> Option<CallbackError> {
        let mut found = None;
        while let Some(carried) = pop(mark) {
            if ptr::eq(&raw const *carried, value.cast()) {
                found = Some(into_error(carried.payload));
            }
        }
        found
    }

    /// The Rust panic that is on its way as a panic of needm's with this value, if it is one:
    /// then it is the uppermost, since it was raised last.
    pub(in crate::api) fn take_out(value: *mut c_void) -> Option<PanicInfo> {
        let uppermost = !value.is_null() && ptr::eq(TOP.get(), value.cast());
        let carried = if uppermost { pop(ptr::null()) } else { None };
        carried.map(|carried| PanicInfo::Panicked(PanicPayload::new(carried.payload)))
    }

    pub(in crate::api) fn end_process(caught: Caught<()>) {
        if let Err(payload) = caught {
            let message = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<std::string::String>().map(|text| &**text))
                .unwrap_or("no message");
            crate::fatal::throw(format_args!("needm: a spawned thread panicked: {message}"));
        }
    }
}

#[cfg(not(feature = "std"))]
mod none {
    use core::convert::Infallible;
    use core::ffi::c_void;

    use crate::api::error::{CallbackError, PanicInfo};

    pub(in crate::api) type Caught<R> = Result<R, Infallible>;

    #[allow(clippy::unnecessary_wraps)] // one form with and without std
    pub(in crate::api) fn catch<R>(f: impl FnOnce() -> R) -> Caught<R> {
        Ok(f())
    }

    pub(in crate::api) fn into_error(never: Infallible) -> CallbackError {
        match never {}
    }

    pub(in crate::api) fn resume<R>(caught: Caught<R>) -> R {
        match caught {
            Ok(result) => result,
            Err(never) => match never {},
        }
    }

    pub(in crate::api) fn replace(never: Infallible) -> ! {
        match never {}
    }

    /// Nothing is carried.
    #[derive(Clone, Copy)]
    pub(in crate::api) struct Mark;

    pub(in crate::api) fn mark() -> Mark {
        Mark
    }

    pub(in crate::api) fn forget(_: Mark) {}

    pub(in crate::api) fn take(_: Mark, _value: *mut c_void) -> Option<CallbackError> {
        None
    }

    pub(in crate::api) fn take_out(_value: *mut c_void) -> Option<PanicInfo> {
        None
    }

    pub(in crate::api) fn end_process(_caught: Caught<()>) {}
}
