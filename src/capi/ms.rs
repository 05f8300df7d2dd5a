// SPDX-License-Identifier: MIT OR Apache-2.0
//! What C asks of an M, or of all.
//!
//! # Safety
//! C gives null, or an M that needm gave it; a row of the table does not move.
#![allow(unsafe_code)] // what C gives is taken at its word

use core::ffi::{c_int, c_void};
use core::ptr;

use crate::arch;
use crate::callback::inside::inside;
use crate::callback::interrupt;
use crate::error::Error;
use crate::m::M;
use crate::pool;
use crate::world;

/// What `needm_each_inside` calls: an M, and the caller's own.
type Visit = unsafe extern "C" fn(*const M, *mut c_void) -> c_int;

arch::public! {
unsafe extern "C" fn needm_m_id(m: *const M) -> u64 {
    // SAFETY: C gives null, or an M that needm gave it; a row of the table does not move.
    unsafe { m.as_ref() }.map_or(0, M::id)
}
}

arch::public! {
unsafe extern "C" fn needm_m_local(m: *const M) -> *mut c_void {
    // SAFETY: C gives null, or an M that needm gave it; a row of the table does not move.
    unsafe { m.as_ref() }.map_or(ptr::null_mut(), M::local)
}
}

arch::public! {
unsafe extern "C" fn needm_m_set_local(m: *const M, local: *mut c_void) {
    // SAFETY: C gives null, or an M that needm gave it; a row of the table does not move.
    if let Some(m) = unsafe { m.as_ref() } {
        m.set_local(local);
    }
}
}

arch::public! {
unsafe extern "C" fn needm_g_bounds(
    m: *const M,
    lo: *mut *mut c_void,
    hi: *mut *mut c_void,
) -> c_int {
    // SAFETY: C gives null, or an M that needm gave it; a row of the table does not move.
    let Some(m) = (unsafe { m.as_ref() }) else { return Error::Invalid.code() };
    let (low, high) = m.g_bounds();
    for (out, bound) in [(lo, low), (hi, high)] {
        if !out.is_null() {
            // SAFETY: it is not null, so C gives room for a pointer there.
            unsafe { out.write(bound as *mut c_void) };
        }
    }
    0
}
}

arch::public! {
unsafe extern "C" fn needm_m_thread(m: *const M) -> u64 {
    // SAFETY: C gives null, or an M that needm gave it; a row of the table does not move.
    unsafe { m.as_ref() }.map_or(0, pool::thread_id)
}
}

arch::public! {
unsafe extern "C" fn needm_m_stack_used(m: *const M) -> usize {
    // SAFETY: C gives null, or an M that needm gave it; a row of the table does not move.
    unsafe { m.as_ref() }.map_or(0, M::stack_used)
}
}

arch::public! {
unsafe extern "C" fn needm_g0_sp(m: *const M, sp: *mut *mut c_void) -> c_int {
    // SAFETY: C gives null, or an M that needm gave it; a row of the table does not move.
    let m = unsafe { m.as_ref() };
    let Some(left) = m.and_then(world::g0sp_of) else { return Error::Invalid.code() };
    if !sp.is_null() {
        // SAFETY: it is not null, so C gives room for a pointer there.
        unsafe { sp.write(left as *mut c_void) };
    }
    0
}
}

arch::public! {
unsafe extern "C" fn needm_each_inside(visit: Option<Visit>, arg: *mut c_void) -> c_int {
    let Some(visit) = visit else { return Error::Invalid.code() };
    // SAFETY: C gives the function for such calls, with the argument that goes with it.
    let visited = world::each_inside(ptr::from_ref, |m| unsafe { visit(m, arg) });
    visited.unwrap_or_else(Error::code)
}
}

arch::public! {
unsafe extern "C" fn needm_interrupt(m: *const M, value: *mut c_void) -> c_int {
    // SAFETY: C gives null, or an M that needm gave it; a row of the table does not move.
    let Some(m) = (unsafe { m.as_ref() }) else { return Error::Invalid.code() };
    inside(|_| interrupt::ask(m, value)).map_or_else(Error::code, |()| 0)
}
}
