// SPDX-License-Identifier: MIT OR Apache-2.0
//! The personality of routines with a landing pad, where unwind tables are DWARF's (Itanium C++
//! ABI: Exception Handling, 1.6 "Exception Handler Framework" and 2.5 "Itanium ABI personality").
//!
//! C++ exceptions, `pthread_exit` and cancellation unwind the stack by libgcc's or LLVM's unwinder.
//! Of each frame it asks the routine's personality. This one has no handler. In the second phase
//! it has the unwinder go on at the routine's landing pad, which undoes what the routine has done,
//! and then resumes the unwinding.
//!
//! # Safety
//! The unwinder calls the personality, with a context of its own, for a frame of a routine that
//! says `LANDS_BY` a table of `SITES` (`elf.h`).
#![allow(unsafe_code)] // the unwinder's functions and tables

use super::room::LANDING_REGISTERS;
use core::ffi::{CStr, c_char, c_int, c_void};

crate::arch::upcalls! {
    "needm_personality" => personality,
}

crate::arch::weak_table!(
    "needm_unwinder":
    "_Unwind_GetIP",
    "_Unwind_GetLanguageSpecificData",
    "_Unwind_SetGR",
    "_Unwind_SetIP",
    "_Unwind_Resume",
);

/// The names of that table.
const NAMES: [&CStr; 5] = [
    c"_Unwind_GetIP",
    c"_Unwind_GetLanguageSpecificData",
    c"_Unwind_SetGR",
    c"_Unwind_SetIP",
    c"_Unwind_Resume",
];

unsafe extern "C" {
    safe static needm_unwinder: [usize; NAMES.len()];
    /// The system's room: a function of an unwinder that the C library itself has loaded, or 0.
    fn needm_loaded_unwinder(name: *const c_char) -> usize;
    /// Runs `work(arg)` inside needm.
    fn needm_inside(work: extern "C" fn(*mut c_void), arg: *mut c_void);
}

/// `_UA_CLEANUP_PHASE`: the second phase.
const CLEANUP_PHASE: c_int = 2;
/// `_URC_INSTALL_CONTEXT`: go on at the landing pad.
const INSTALL_CONTEXT: c_int = 7;
/// `_URC_CONTINUE_UNWIND`: nothing to do here.
const CONTINUE_UNWIND: c_int = 8;

type Get = unsafe extern "C" fn(context: usize) -> usize;
type SetRegister = unsafe extern "C" fn(context: usize, number: c_int, value: usize);
type SetIp = unsafe extern "C" fn(context: usize, value: usize);

extern "C" fn personality(
    _version: c_int,
    actions: c_int,
    _class: u64,
    exception: usize,
    context: usize,
) -> c_int {
    if actions & CLEANUP_PHASE == 0 {
        return CONTINUE_UNWIND;
    }
    let mut functions = needm_unwinder;
    if functions.contains(&0) {
        // SAFETY: `look_up` takes the address of such a table, and this one waits here.
        unsafe { needm_inside(look_up, (&raw mut functions).cast()) };
    }
    if functions.contains(&0) {
        return CONTINUE_UNWIND;
    }
    let [get_ip, get_sites, set_register, set_ip, resume] = functions;
    // SAFETY: the functions have the types of the ABI (1.5 "Context Management"), and the context
    // is the one that the unwinder gave.
    unsafe {
        let get_ip = core::mem::transmute::<usize, Get>(get_ip);
        let get_sites = core::mem::transmute::<usize, Get>(get_sites);
        let Some(pad) = super::landing_pad(get_sites(context) as *const i32, get_ip(context))
        else {
            return CONTINUE_UNWIND;
        };
        let set_register = core::mem::transmute::<usize, SetRegister>(set_register);
        let set_ip = core::mem::transmute::<usize, SetIp>(set_ip);
        set_register(context, LANDING_REGISTERS[0], exception);
        set_register(context, LANDING_REGISTERS[1], resume);
        set_ip(context, pad);
    }
    INSTALL_CONTEXT
}

/// Fills in a table of functions that has gaps. Inside needm: this may run on the G, after C that the callback has
/// called, and an interrupt that ended it in the middle would leave the loader's lock locked.
extern "C" fn look_up(functions: *mut c_void) {
    // SAFETY: `personality` passes the address of its table, and waits.
    let functions = unsafe { &mut *functions.cast::<[usize; NAMES.len()]>() };
    for (function, name) in functions.iter_mut().zip(NAMES).filter(|(known, _)| **known == 0) {
        // SAFETY: the name is a C string.
        *function = unsafe { needm_loaded_unwinder(name.as_ptr()) };
    }
}
