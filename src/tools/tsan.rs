// SPDX-License-Identifier: MIT OR Apache-2.0
//! ThreadSanitizer: sanitizer/tsan_interface.h, "Fiber switching API" and
//! `__tsan_acquire`, `__tsan_release`.
//!
//! A G is a fiber. The extra list orders a thread that binds an M after the one that unbound
//! it; the tool does not see that, so it is told.
//!
//! The tool has no way to end a thread, or to jump, out of a fiber: under it callbacks
//! must not be left by `pthread_exit` or `longjmp`.
//!
//! # Safety
//! The functions are called as the header says. Addresses are only names to them.
#![allow(unsafe_code)] // the sanitizer's functions

use core::ffi::{c_uint, c_void};
use core::ops::Range;
use core::ptr;

use crate::os::fault::without_handlers;
use crate::sync::{AtomicPtr, Relaxed};
use crate::tools::Order;

unsafe extern "C" {
    fn __tsan_get_current_fiber() -> *mut c_void;
    fn __tsan_create_fiber(flags: c_uint) -> *mut c_void;
    fn __tsan_destroy_fiber(fiber: *mut c_void);
    fn __tsan_switch_to_fiber(fiber: *mut c_void, flags: c_uint);
    fn __tsan_acquire(address: *mut c_void);
    fn __tsan_release(address: *mut c_void);
}

#[repr(C)]
/// What a segment runs in, and what it was entered from.
pub(crate) struct Around {
    /// Null while nothing was told, or C that the segment called is in it.
    before: AtomicPtr<c_void>,
    own: AtomicPtr<c_void>,
    /// A segment is a multiple of four words.
    _pad: [AtomicPtr<c_void>; 2],
}

impl Around {
    pub(crate) fn clear(&self) {
        self.before.store(ptr::null_mut(), Relaxed);
        self.own.store(ptr::null_mut(), Relaxed);
    }
}

/// The outermost segment's fiber, once there is one.
#[repr(C)]
pub(crate) struct Fiber(AtomicPtr<c_void>);

/// Goes to a fiber; the one of before.
fn switch(to: *mut c_void) -> *mut c_void {
    // A handler must not switch in between.
    // SAFETY: fibers are destroyed by `destroy` alone, when nothing runs in them.
    without_handlers(|| unsafe {
        let before = __tsan_get_current_fiber();
        if before != to {
            __tsan_switch_to_fiber(to, 0);
        }
        before
    })
}

/// A fiber in which no code runs.
fn create() -> *mut c_void {
    // SAFETY: no more than asking for one.
    unsafe { __tsan_create_fiber(0) }
}

fn destroy(fiber: *mut c_void) {
    if !fiber.is_null() {
        // SAFETY: `create` made it, and no code runs in it any more.
        unsafe { __tsan_destroy_fiber(fiber) };
    }
}

/// See `none.rs`, as for all that follows.
pub(crate) fn entered(_: Range<usize>, fiber: &Fiber, around: &Around, nested: bool) {
    let own = if nested {
        create()
    } else {
        if fiber.0.load(Relaxed).is_null() {
            fiber.0.store(create(), Relaxed);
        }
        fiber.0.load(Relaxed)
    };
    around.own.store(own, Relaxed);
    around.before.store(switch(own), Relaxed);
    // SAFETY: the tool only takes the address for a name.
    unsafe { __tsan_acquire(ptr::from_ref(fiber).cast_mut().cast()) };
}

pub(crate) fn exited(
    _: Range<usize>,
    fiber: &Fiber,
    (around, _): (&Around, &Around),
    nested: bool,
    unwound: bool,
) {
    // SAFETY: the tool only takes the address for a name.
    unsafe { __tsan_release(ptr::from_ref(fiber).cast_mut().cast()) };
    let before = around.before.swap(ptr::null_mut(), Relaxed);
    if !before.is_null() {
        switch(before);
    }
    let own = around.own.swap(ptr::null_mut(), Relaxed);
    if nested {
        destroy(own);
    } else if unwound {
        // Functions that were unwound are still called in the fiber.
        destroy(fiber.0.swap(ptr::null_mut(), Relaxed));
    }
}

pub(crate) fn out(around: &Around) {
    let before = around.before.swap(ptr::null_mut(), Relaxed);
    if !before.is_null() {
        switch(before);
    }
}

pub(crate) fn back(_: Range<usize>, around: &Around, own: &Around) {
    let before = switch(own.own.load(Relaxed));
    around.before.store(before, Relaxed);
}

pub(crate) fn stack_gone(_: Range<usize>, fiber: &Fiber) {
    destroy(fiber.0.swap(ptr::null_mut(), Relaxed));
}

/// A name for an order.
fn name(of: Order) -> *mut c_void {
    static NAMES: [u64; 2] = [0; 2]; // the tool keeps names eight bytes apart
    (&raw const NAMES[of as usize]).cast_mut().cast()
}

pub(crate) fn acquire(of: Order) {
    // SAFETY: the tool only takes the address for a name.
    unsafe { __tsan_acquire(name(of)) };
}

pub(crate) fn release(of: Order) {
    // SAFETY: the tool only takes the address for a name.
    unsafe { __tsan_release(name(of)) };
}
