// SPDX-License-Identifier: MIT OR Apache-2.0
//! AddressSanitizer: sanitizer/common_interface_defs.h, "Fiber annotation interface", and
//! sanitizer/asan_interface.h.
//!
//! Both halves of a change of stacks are told on the new stack: nothing instrumented runs
//! between the change and them.
//!
//! # Safety
//! The functions are called as the two headers say, with bounds of stacks that are mapped.
#![allow(unsafe_code)] // the sanitizer's functions

use core::ffi::c_void;
use core::ops::Range;
use core::ptr;

use crate::os::fault::without_handlers;
use crate::sync::{AtomicPtr, AtomicUsize, Relaxed};
use crate::tools::Order;

unsafe extern "C" {
    fn __sanitizer_start_switch_fiber(save: *mut *mut c_void, bottom: *const c_void, size: usize);
    fn __sanitizer_finish_switch_fiber(
        fake: *mut c_void,
        bottom_before: *mut *const c_void,
        size_before: *mut usize,
    );
    fn __asan_unpoison_memory_region(start: *const c_void, size: usize);
}

/// The stack that was current before a segment.
#[repr(C)]
pub(crate) struct Around {
    /// Its fake stack.
    fake: AtomicPtr<c_void>,
    bottom: AtomicUsize,
    /// Bytes; 0 while nothing was told, or C that the segment called is on it.
    size: AtomicUsize,
    /// The G's fake stack while it is not the current one.
    own_fake: AtomicPtr<c_void>,
}

impl Around {
    pub(crate) fn clear(&self) {
        self.size.store(0, Relaxed);
        self.own_fake.store(ptr::null_mut(), Relaxed);
    }
}

/// A G needs no name.
#[repr(C)]
pub(crate) struct Fiber([AtomicUsize; 0]);

/// Tells of a switch to a stack that has this fake stack. Returns the fake stack and the bounds of
/// the stack before.
fn switch(bottom: usize, size: usize, fake: *mut c_void) -> (*mut c_void, usize, usize) {
    let (mut left, mut before, mut bytes) = (ptr::null_mut(), ptr::null(), 0);
    // The two are one step: a handler's callback must not switch in between.
    // SAFETY: the bounds are those of the stack that this function runs on, and what is
    // not null can be written to.
    without_handlers(|| unsafe {
        __sanitizer_start_switch_fiber(&raw mut left, bottom as *const c_void, size);
        __sanitizer_finish_switch_fiber(fake, &raw mut before, &raw mut bytes);
    });
    (left, before as usize, bytes)
}

/// As [`switch`], for good: the fake stack that is current is destroyed.
fn leave(bottom: usize, size: usize, fake: *mut c_void) {
    // SAFETY: the bounds are those of the stack that this function runs on. The fake stack goes
    // with its callback, which is over: no frame on it runs again.
    without_handlers(|| unsafe {
        __sanitizer_start_switch_fiber(ptr::null_mut(), bottom as *const c_void, size);
        __sanitizer_finish_switch_fiber(fake, ptr::null_mut(), ptr::null_mut());
    });
}

/// Destroys the fake stack of a G, which is not the current one.
fn destroy(stack: &Range<usize>, fake: *mut c_void) {
    if !fake.is_null() {
        let (here, bottom, size) = switch(stack.start, stack.len(), fake);
        leave(bottom, size, here);
    }
}

/// See `none.rs`, as for all that follows.
pub(crate) fn entered(stack: Range<usize>, _: &Fiber, around: &Around, _nested: bool) {
    let (fake, bottom, size) = switch(stack.start, stack.len(), ptr::null_mut());
    around.fake.store(fake, Relaxed);
    around.bottom.store(bottom, Relaxed);
    around.size.store(size, Relaxed);
}

pub(crate) fn exited(
    stack: Range<usize>,
    _: &Fiber,
    (around, from_g0): (&Around, &Around),
    _nested: bool,
    unwound: bool,
) {
    // On the system stack, the fake stack of the innermost segment is with the one that was
    // entered from there.
    let out = from_g0.size.load(Relaxed) == 0;
    let (size, fake) = (around.size.swap(0, Relaxed), around.fake.load(Relaxed));
    if !out {
        leave(around.bottom.load(Relaxed), size, fake);
    } else {
        let outer = if size == 0 { ptr::null_mut() } else { fake };
        destroy(&stack, from_g0.own_fake.swap(outer, Relaxed));
    }
    if unwound {
        let (lo, end) = (stack.start, stack.end);
        // SAFETY: that part of the G is mapped, and nothing uses it.
        unsafe { __asan_unpoison_memory_region(lo as *const c_void, end - lo) };
    }
}

pub(crate) fn out(around: &Around) {
    let size = around.size.swap(0, Relaxed);
    if size != 0 {
        let (own, ..) = switch(around.bottom.load(Relaxed), size, around.fake.load(Relaxed));
        around.own_fake.store(own, Relaxed);
    }
}

pub(crate) fn back(stack: Range<usize>, around: &Around, _own: &Around) {
    let own = around.own_fake.swap(ptr::null_mut(), Relaxed);
    let (fake, bottom, size) = switch(stack.start, stack.len(), own);
    around.fake.store(fake, Relaxed);
    around.bottom.store(bottom, Relaxed);
    around.size.store(size, Relaxed);
}

pub(crate) fn stack_gone(stack: Range<usize>, _: &Fiber) {
    let (lo, hi) = (stack.start, stack.end);
    // SAFETY: still mapped, and nothing uses it.
    unsafe { __asan_unpoison_memory_region(lo as *const c_void, hi - lo) };
}

pub(crate) fn acquire(_: Order) {}
pub(crate) fn release(_: Order) {}
