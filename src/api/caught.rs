//! Rust panics at the boundary: with `std` they are caught and carried over; without, a
//! panic ends the program or thread as its panic handler says.

#[cfg(feature = "std")]
pub(super) use carried::*;
#[cfg(not(feature = "std"))]
pub(super) use none::*;

#[cfg(feature = "std")]
mod carried {
    use core::any::Any;
    use core::cell::RefCell;
    use core::ffi::c_void;
    use std::boxed::Box;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::vec::Vec;

    use crate::api::CallbackError;
    use crate::unwind;

    pub(in crate::api) type Payload = Box<dyn Any + Send>;
    pub(in crate::api) type Caught<R> = Result<R, Payload>;

    std::thread_local! {
        /// Payloads of Rust panics in deferred functions, on their way to the
        /// callback's end as panics of the kernel's own, whose value is the token.
        static ON_THE_WAY: RefCell<Vec<(Box<u8>, Payload)>> = const { RefCell::new(Vec::new()) };
    }

    pub(in crate::api) fn catch<R>(f: impl FnOnce() -> R) -> Caught<R> {
        // What the closure borrowed is the caller's to look at after an error.
        catch_unwind(AssertUnwindSafe(f))
    }

    pub(in crate::api) fn into_error(payload: Payload) -> CallbackError {
        CallbackError::Panicked(payload)
    }

    pub(in crate::api) fn resume<R>(caught: Caught<R>) -> R {
        caught.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Goes on as a panic of the kernel's, which replaces the one there is.
    pub(in crate::api) fn replace(payload: Payload) -> ! {
        let mut token = Box::new(0_u8);
        let value: *mut u8 = &raw mut *token;
        ON_THE_WAY.with_borrow_mut(|payloads| payloads.push((token, payload)));
        unwind::panic(value.cast())
    }

    pub(in crate::api) fn mark() -> usize {
        ON_THE_WAY.with_borrow(Vec::len)
    }

    pub(in crate::api) fn forget(mark: usize) {
        let dropped = ON_THE_WAY.with_borrow_mut(|payloads| payloads.split_off(mark));
        drop(dropped);
    }

    pub(in crate::api) fn take(mark: usize, value: *mut c_void) -> Option<CallbackError> {
        let all = ON_THE_WAY.with_borrow_mut(|payloads| payloads.split_off(mark));
        let found =
            all.into_iter().find(|(token, _)| core::ptr::eq(&raw const **token, value.cast()));
        found.map(|(_, payload)| CallbackError::Panicked(payload))
    }

    pub(in crate::api) fn end_process(caught: Caught<()>) {
        if let Err(payload) = caught {
            let message = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<std::string::String>().map(|text| &**text))
                .unwrap_or("no message");
            crate::throw::throw(format_args!("needm: a spawned thread panicked: {message}"));
        }
    }
}

#[cfg(not(feature = "std"))]
mod none {
    use core::convert::Infallible;
    use core::ffi::c_void;

    use crate::api::CallbackError;

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

    pub(in crate::api) fn mark() -> usize {
        0
    }

    pub(in crate::api) fn forget(_mark: usize) {}

    pub(in crate::api) fn take(_mark: usize, _value: *mut c_void) -> Option<CallbackError> {
        None
    }

    pub(in crate::api) fn end_process(_caught: Caught<()>) {}
}
