// SPDX-License-Identifier: MIT OR Apache-2.0
//! `include/needm_host.h`: nothing but translation.
//!
//! # Safety
//! Pointers from C are what the header says they are.
#![allow(missing_docs)] // the header documents each

use core::ffi::{c_int, c_void};
use core::ptr;
use core::time::Duration;

use super::Errno;
use crate::call::Function;
use crate::os::program::{INVALID, Row};

fn code(refused: Errno) -> c_int {
    -refused.code()
}

#[unsafe(no_mangle)]
extern "C" fn needm_host_exit(status: c_int) -> ! {
    super::exit(status)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn needm_host_write(file: c_int, bytes: *const u8, len: usize) -> isize {
    // SAFETY: the header asks for `len` bytes there.
    let written = super::write(file, unsafe { core::slice::from_raw_parts(bytes, len) });
    #[allow(clippy::cast_possible_wrap)] // no more than `len`, which a slice could have
    written.map_or_else(|refused| code(refused) as isize, |count| count as isize)
}

#[unsafe(no_mangle)]
extern "C" fn needm_host_sleep(nanos: u64) {
    super::sleep(Duration::from_nanos(nanos));
}

/// A pointer that may go to another thread: C vouches for what it points to.
struct Passed(Function, *mut c_void);

// SAFETY: the header says that the function runs on another thread, with its argument.
unsafe impl Send for Passed {}

impl Passed {
    fn call(self) {
        // SAFETY: the function and the argument were given together, for this call.
        unsafe { (self.0)(self.1) }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn needm_host_spawn(
    out: *mut *const c_void,
    stack_size: usize,
    function: Option<Function>,
    arg: *mut c_void,
) -> c_int {
    let Some(function) = function else { return code(INVALID) };
    let passed = Passed(function, arg);
    match super::spawn(stack_size, move || passed.call()) {
        Ok(thread) if out.is_null() => drop(thread),
        // SAFETY: the header asks for room for a pointer there, or NULL.
        Ok(thread) => unsafe { out.write(ptr::from_ref(thread.into_row()).cast()) },
        Err(refused) => return code(refused),
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn needm_host_join(thread: *const c_void) {
    // SAFETY: C has it from `needm_host_spawn`, and joins it once; rows stay where they are.
    unsafe { &*thread.cast::<Row>() }.join();
}

#[unsafe(no_mangle)]
extern "C" fn needm_host_thread_area(align: *mut usize) -> usize {
    let Ok(area) = super::ThreadArea::find() else { return 0 };
    if !align.is_null() {
        // SAFETY: the header asks for room for a number there, or NULL.
        unsafe { align.write(area.layout().align()) };
    }
    area.layout().size()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn needm_host_lay_out(at: *mut c_void) -> *mut c_void {
    let Ok(area) = super::ThreadArea::find() else { return ptr::null_mut() };
    // SAFETY: the header asks for memory as large and aligned as `needm_host_thread_area`
    // says, for one thread.
    unsafe { area.lay_out(at.cast()) as *mut c_void }
}
