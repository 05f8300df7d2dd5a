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
    use crate::call;
    use crate::callback::inside::inside;
    use crate::callback::raising;
    use crate::reconcile;
    use crate::sync::Relaxed;

    pub(in crate::api) type Payload = Box<dyn Any + Send>;
    pub(in crate::api) type Caught<R> = Result<R, Payload>;

    /// The payload of a Rust panic in a deferred function, on its way to the callback's end
    /// as a panic of needm's own, whose value is this one's address.
    struct Carried {
        payload: Payload,
        /// The callback's, in a frame that waits for its end. Callbacks of fibers end in any order.
        info: *const call::PanicInfo,
        below: Cell<*mut Carried>,
    }

    std::thread_local! {
        /// The uppermost one on its way. A word without a destructor, so that it is there for
        /// destructors' callbacks; and changed by one store, so that a handler's callback in
        /// between finds it whole, and leaves it as it was.
        static TOP: Cell<*mut Carried> = const { Cell::new(ptr::null_mut()) };
    }

    /// Takes the uppermost one off that is `wanted`.
    fn take_off(wanted: impl Fn(&Carried) -> bool) -> Option<Box<Carried>> {
        let mut above = None::<&Carried>;
        loop {
            let at = above.map_or_else(|| TOP.get(), |above| above.below.get());
            // SAFETY: it came from a box, and is this thread's until it is off the list.
            let carried = unsafe { at.as_ref()? };
            if wanted(carried) {
                match above {
                    Some(above) => above.below.set(carried.below.get()),
                    None => TOP.set(carried.below.get()),
                }
                // SAFETY: it came from a box, and has just been taken off the list: nothing else refers to it.
                return Some(unsafe { Box::from_raw(at) });
            }
            above = Some(carried);
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

    /// What the caller of the innermost callback waits with.
    fn info_of_this_callback() -> *const call::PanicInfo {
        let innermost = inside(|tls| reconcile::current_segment(tls).map(|(_, segment)| segment));
        // SAFETY: the call is in a frame that waits for this callback.
        innermost.map_or(ptr::null(), |segment| unsafe { (*segment.call.load(Relaxed)).info })
    }

    /// Goes on as a panic of needm's, which replaces the one there is.
    pub(in crate::api) fn replace(payload: Payload) -> ! {
        let info = info_of_this_callback();
        let carried =
            Box::into_raw(Box::new(Carried { payload, info, below: Cell::new(TOP.get()) }));
        TOP.set(carried);
        raising::panic(carried.cast())
    }

    /// The callback with this info is over: drops what is on its way there.
    pub(in crate::api) fn forget(info: &call::PanicInfo) {
        while take_off(|carried| ptr::eq(carried.info, info)).is_some() {}
    }

    /// The same, but returns what has come there.
    pub(in crate::api) fn take(info: &call::PanicInfo) -> Option<CallbackError> {
        let came = take_off(|carried| is_value(carried, info.value) && ptr::eq(carried.info, info));
        forget(info);
        came.map(|carried| into_error(carried.payload))
    }

    /// The Rust panic that is on its way as a panic of needm's with this value, if it is one.
    pub(in crate::api) fn take_out(value: *mut c_void) -> Option<PanicInfo> {
        let carried = take_off(|carried| is_value(carried, value))?;
        Some(PanicInfo::Panicked(PanicPayload::new(carried.payload)))
    }

    fn is_value(carried: &Carried, value: *mut c_void) -> bool {
        ptr::eq(carried, value.cast::<Carried>())
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
    use crate::call;

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
    pub(in crate::api) fn forget(_: &call::PanicInfo) {}

    pub(in crate::api) fn take(_: &call::PanicInfo) -> Option<CallbackError> {
        None
    }

    pub(in crate::api) fn take_out(_value: *mut c_void) -> Option<PanicInfo> {
        None
    }

    pub(in crate::api) fn end_process(_caught: Caught<()>) {}
}
