// SPDX-License-Identifier: MIT OR Apache-2.0
//! The C interface, `include/needm.h`: nothing but translation.
//!
//! # Safety
//! Pointers from C are null, or what the header says they are.
#![allow(unsafe_code)] // what C gives is taken at its word
#![allow(missing_docs)] // include/needm.h documents each
#![allow(clippy::missing_safety_doc)] // likewise

mod config;
mod ms;

use core::ffi::{c_char, c_int, c_uint, c_void};
use core::ptr;

use config::{CConfig, limit, settings};

use crate::arch;
use crate::attach;
use crate::call::{Function, PanicInfo};
use crate::callback::inside::inside;
use crate::callback::take_back::{Kept, take_back};
use crate::callback::{ccall, defer, panic, raising, stacks};
use crate::error::Error;
use crate::lifecycle;
use crate::m::M;
use crate::part::Entered;
use crate::reconcile;
use crate::spawn;
use crate::stats;
use crate::world;

/// What `needm_each_m` calls: an M, the lowest address in use, one past the highest,
/// and the caller's own.
type Visit = unsafe extern "C" fn(*const M, *mut c_void, *mut c_void, *mut c_void) -> c_int;

/// `needm_stats`.
#[repr(C)]
#[derive(Clone, Copy)]
struct CStats {
    size: usize,
    counts: [u64; 10],
}

/// `needm_defer`: where the function is kept, and room for what needm may want to keep in it one day.
#[repr(C)]
struct CDefer {
    kept: Kept,
    unused: [usize; 2],
}

fn code(result: Result<(), Error>) -> c_int {
    result.map_or_else(Error::code, |()| 0)
}

arch::public! {
unsafe extern "C" fn needm_start(config: *const CConfig) -> c_int {
    // SAFETY: C gives null, or a struct that is as long as its size says.
    let settings = unsafe { settings(config) };
    code(inside(|_| settings.and_then(lifecycle::start)))
}
}

arch::public! {
extern "C" fn needm_stop() -> c_int {
    code(inside(|_| lifecycle::stop()))
}
}

arch::public! {
extern "C" fn needm_stop_within(wait_ns: i64) -> c_int {
    code(inside(|_| limit(wait_ns).and_then(lifecycle::stop_within)))
}
}

arch::c_entry! {
    fn needm_callback(
        function: Option<Function>,
        frame: *mut c_void,
        framesize: usize,
        info: *mut c_void
    ) -> c_int = arch::needm_entry
}

arch::public! {
unsafe extern "C" fn needm_ccall(function: Option<Function>, arg: *mut c_void) -> c_int {
    code(function.ok_or(Error::Invalid).and_then(|function| ccall::ccall(function, arg, ccall::From::Anywhere)))
}
}

arch::public! {
unsafe extern "C" fn needm_enter_stack(
    lo: *mut c_void,
    hi: *mut c_void,
    old: *mut Entered,
) -> c_int {
    if old.is_null() {
        return Error::Invalid.code();
    }
    // SAFETY: it is not null, so C gives room for a `needm_stack` there.
    let keep = |entered| unsafe { old.write(entered) };
    code(inside(|_| stacks::enter_stack(lo as usize, hi as usize)).map(keep))
}
}

arch::public! {
unsafe extern "C" fn needm_leave_stack(old: *const Entered) -> c_int {
    // SAFETY: C gives null, or what `needm_enter_stack` has filled in.
    let old = unsafe { old.as_ref() };
    code(old.ok_or(Error::Invalid).and_then(|old| inside(|_| stacks::leave_stack(old))))
}
}

arch::public! {
extern "C" fn needm_attach() -> c_int {
    code(inside(|_| attach::attach_ready()))
}
}

arch::public! {
extern "C" fn needm_prefault(bytes: usize) -> c_int {
    code(inside(|_| attach::prefault(bytes)))
}
}

arch::public! {
extern "C" fn needm_detach() -> c_int {
    code(inside(|_| attach::detach()))
}
}

arch::public! {
unsafe extern "C" fn needm_spawn(function: Option<Function>, arg: *mut c_void) -> c_int {
    let main = |function| spawn::Main { function, arg, tags: 0, over: None };
    code(inside(|_| function.map(main).ok_or(Error::Invalid).and_then(spawn::spawn)))
}
}

arch::public! {
unsafe extern "C" fn needm_defer_push(
    defer: *mut CDefer,
    function: Option<Function>,
    arg: *mut c_void,
) -> c_int {
    if defer.is_null() {
        return Error::Invalid.code();
    }
    let kept = |function| {
        inside(|_| {
            let kept = defer::defer(function, arg, defer.addr()).map(Kept::at)?;
            // SAFETY: the caller's record.
            unsafe { defer.write(CDefer { kept, unused: [0; 2] }) };
            Ok(())
        })
    };
    code(function.ok_or(Error::Invalid).and_then(kept))
}
}

arch::public! {
unsafe extern "C" fn needm_defer_pop(defer: *mut CDefer) -> c_int {
    // SAFETY: null, or the caller's record.
    let Some(&CDefer { kept, .. }) = (unsafe { defer.as_ref() }) else {
        return Error::Invalid.code();
    };
    code(inside(|_| take_back(defer.addr(), kept)))
}
}

arch::public! {
extern "C" fn needm_panic(value: *mut c_void) -> ! {
    raising::panic(value)
}
}

arch::public! {
unsafe extern "C" fn needm_recover(info: *mut PanicInfo) -> c_int {
    if !PanicInfo::is_valid(info) {
        return 0;
    }
    inside(|_| {
        let Some(panic) = panic::recover() else { return 0 };
        panic.fill(info);
        1
    })
}
}

arch::public! {
extern "C" fn needm_self() -> *const M {
    inside(|_| reconcile::current_m()).map_or(ptr::null(), ptr::from_ref)
}
}

arch::public! {
extern "C" fn needm_stop_the_world() -> c_int {
    code(inside(|_| world::stop(None).map(drop)))
}
}

arch::public! {
extern "C" fn needm_stop_the_world_within(wait_ns: i64) -> c_int {
    code(inside(|_| limit(wait_ns).and_then(|limit| world::stop(Some(limit)).map(drop))))
}
}

arch::public! {
extern "C" fn needm_start_the_world() -> c_int {
    code(inside(|_| world::start()))
}
}

arch::public! {
extern "C" fn needm_safepoint() {
    world::safepoint();
}
}

arch::public! {
unsafe extern "C" fn needm_each_m(visit: Option<Visit>, arg: *mut c_void) -> c_int {
    let Some(visit) = visit else { return Error::Invalid.code() };
    let visit = |m: &M, sp, hi| {
        // SAFETY: C gives the function for such calls, with the argument that goes with it.
        unsafe { visit(m, sp as *mut c_void, hi as *mut c_void, arg) }
    };
    let visited = inside(|_| world::each_m(visit));
    visited.unwrap_or_else(Error::code)
}
}

arch::public! {
extern "C" fn needm_atfork_child() {
    inside(|_| lifecycle::fork_child());
}
}

arch::public! {
unsafe extern "C" fn needm_get_stats(out: *mut CStats) {
    if out.is_null() {
        return;
    }
    let stats = stats::stats();
    let full = CStats {
        size: 0,
        counts: [
            stats.ms_total,
            stats.ms_idle,
            stats.ms_bound,
            stats.ms_reclaimed,
            stats.waits,
            stats.timeouts,
            stats.panics,
            stats.faults,
            stats.overflows,
            stats.interrupts,
        ],
    };
    // SAFETY: as many bytes as its size says are the caller's; the size itself is
    // left as it is.
    unsafe {
        let size = (*out).size.min(size_of::<CStats>());
        let from = size_of::<usize>().min(size);
        let source = (&raw const full).cast::<u8>();
        ptr::copy_nonoverlapping(source.add(from), out.cast::<u8>().add(from), size - from);
    }
}
}

arch::public! {
extern "C" fn needm_strerror(error: c_int) -> *const c_char {
    let meaning = match error {
        0 => c"no error",
        _ => Error::from_code(error).map_or(c"unknown error", Error::meaning),
    };
    meaning.as_ptr()
}
}

arch::public! {
extern "C" fn needm_error_name(error: c_int) -> *const c_char {
    let name = match error {
        0 => c"0",
        _ => Error::from_code(error).map_or(c"unknown error", Error::name),
    };
    name.as_ptr()
}
}

arch::public! {
extern "C" fn needm_depth() -> c_uint {
    inside(|_| reconcile::depth())
}
}

arch::public! {
extern "C" fn needm_stack_left() -> usize {
    inside(|_| reconcile::stack_left())
}
}

/// A part of the version, as Cargo has it in decimal.
const fn part(text: &str) -> u32 {
    let (digits, mut at, mut value) = (text.as_bytes(), 0, 0);
    while at < digits.len() {
        value = value * 10 + (digits[at] - b'0') as u32;
        at += 1;
    }
    value
}

/// As `NEEDM_VERSION` is made.
const VERSION: u32 = part(env!("CARGO_PKG_VERSION_MAJOR")) * 1_000_000
    + part(env!("CARGO_PKG_VERSION_MINOR")) * 1000
    + part(env!("CARGO_PKG_VERSION_PATCH"));

arch::public! {
extern "C" fn needm_version() -> u32 {
    VERSION
}
}
