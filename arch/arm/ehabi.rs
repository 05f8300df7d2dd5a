// SPDX-License-Identifier: MIT OR Apache-2.0
//! The personality of routines with a landing pad (Exception Handling ABI for the Arm Architecture,
//! 7 "Language-independent unwinding" and 9.2 "The generic model"); `arch/dwarf.rs` says what it is
//! for.
//!
//! Here a personality unwinds its frame itself, by a function that GCC's and LLVM's unwinders both
//! have. Tables of unwinding refer to the unwinder in every program, so it is linked where it is
//! needed.
//!
//! # Safety
//! The unwinder calls the personality, with a context of its own, for a frame of a routine that
//! says `LANDS_BY_EHABI` (`elf.h`).
#![allow(unsafe_code)] // the unwinder's functions and tables

use core::ffi::c_int;

crate::arch::upcalls! {
    "needm_personality" => personality,
}

crate::arch::weak_table!(
    "needm_unwinder":
    "_Unwind_VRS_Get",
    "_Unwind_VRS_Set",
    "__gnu_unwind_frame",
    "_Unwind_Resume",
);

/// A register: of which class, which one, in which form, and the place of its value.
type Register = unsafe extern "C" fn(usize, c_int, u32, c_int, *mut u32) -> c_int;
type UnwindFrame = unsafe extern "C" fn(block: *const u32, context: usize) -> c_int;

/// The table above, in its order.
#[repr(C)]
struct Unwinder {
    get: Option<Register>,
    set: Option<Register>,
    unwind_frame: Option<UnwindFrame>,
    resume: usize,
}

unsafe extern "C" {
    safe static needm_unwinder: Unwinder;
}

/// `_UVRSC_CORE`, `_UVRSD_UINT32`: a core register, as a number.
const CORE: (c_int, c_int) = (0, 0);
/// The bits of a state that say what to do, and `_US_UNWIND_FRAME_STARTING`: the second phase.
const ACTION: c_int = 3;
const STARTING: c_int = 1;
/// `_URC_INSTALL_CONTEXT`, `_URC_CONTINUE_UNWIND`, `_URC_FAILURE`.
const INSTALL_CONTEXT: c_int = 7;
const CONTINUE_UNWIND: c_int = 8;
const FAILURE: c_int = 9;
/// Where `pr_cache.ehtp` is in an unwind control block, in words: 7.2 "Data structures".
const TABLE: usize = 19;
/// The program counter.
const PC: u32 = 15;

extern "C" fn personality(state: c_int, block: *const u32, context: usize) -> c_int {
    let Unwinder { get: Some(get), set: Some(set), unwind_frame: Some(unwind_frame), resume } =
        &needm_unwinder
    else {
        return FAILURE;
    };
    // SAFETY: the unwinder gives its control block, in which the entry of this routine is noted: a
    // word for the personality, one whose first byte is how many more there are of instructions to
    // unwind, and the table behind them. The functions have the types of the ABI.
    unsafe {
        if state & ACTION == STARTING && *resume != 0 {
            let mut pc = 0;
            get(context, CORE.0, PC, CORE.1, &raw mut pc);
            let instructions = (block.add(TABLE).read() as *const u32).add(1);
            let sites = instructions.add(1 + (instructions.read() >> 24) as usize);
            // Its lowest bit says whether the code is Thumb's, which it is not.
            if let Some(pad) = super::super::landing_pad(sites.cast(), pc as usize & !1) {
                for (number, value) in [(0, block as usize), (1, *resume), (PC, pad)] {
                    let mut value = value as u32;
                    set(context, CORE.0, number, CORE.1, &raw mut value);
                }
                return INSTALL_CONTEXT;
            }
        }
        if unwind_frame(block, context) == 0 { CONTINUE_UNWIND } else { FAILURE }
    }
}
