// SPDX-License-Identifier: MIT OR Apache-2.0
//! What C starts needm with.
//!
//! # Safety
//! Pointers from C are null, or what the header says they are.
#![allow(unsafe_code)] // what C gives is taken at its word

use core::ffi::{c_int, c_void};
use core::mem::{MaybeUninit, offset_of};
use core::ptr;

use crate::error::Error;
use crate::m::M;
use crate::settings::{FaultHook, Hooks, Settings, ThreadStart};

const BIND_THREAD: u32 = 0;
const BIND_CALL: u32 = 1;
const NO_SIGNALS: u32 = 1;
const UNRECOVERED_ABORTS: u32 = 2;
const LEAVE_FP_CONTROL: u32 = 4;
const UNBLOCK_FAULTS: u32 = 8;
const NO_PROBES: u32 = 16;
const CATCH_ABORT: u32 = 32;
const SCRUB_STACKS: u32 = 64;

type MNew = unsafe extern "C" fn(*mut c_void, *const M) -> c_int;
type OnM = unsafe extern "C" fn(*mut c_void, *const M);

/// `needm_hooks`.
#[repr(C)]
#[derive(Clone, Copy)]
struct CHooks {
    size: usize,
    user: *mut c_void,
    m_new: Option<MNew>,
    m_free: Option<OnM>,
    minit: Option<OnM>,
    unminit: Option<OnM>,
    thread_start: Option<ThreadStart>,
    fault: Option<FaultHook>,
}

/// `needm_config`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CConfig {
    size: usize,
    seed_ms: u32,
    max_ms: u32,
    stack_size: usize,
    signal_stack_size: usize,
    binding: u32,
    flags: u32,
    wait_ns: i64,
    hooks: *const CHooks,
    guard_size: usize,
    interrupt_signal: i32,
}

/// A struct that has grown since the first version of the interface.
///
/// # Safety
/// All zeros is a valid value.
unsafe trait Versioned: Copy {
    /// Where the members of the first version end.
    const FIRST: usize;
}

// SAFETY: integers, and a pointer that may be null.
unsafe impl Versioned for CConfig {
    const FIRST: usize = offset_of!(Self, guard_size);
}

// SAFETY: integers, a pointer that may be null, and optional functions.
unsafe impl Versioned for CHooks {
    const FIRST: usize = offset_of!(Self, fault);
}

/// A copy of a struct whose first member is its size as C knows it. Smaller than in the first
/// version is refused; what a smaller one lacks is zero. Of a larger one the rest must be zero.
///
/// # Safety
/// It is as long as its size says.
unsafe fn versioned<T: Versioned>(given: *const T) -> Result<T, Error> {
    // SAFETY: at least the size is there, and as many bytes as it says. All zeros is a `T`.
    unsafe {
        let size = given.cast::<usize>().read();
        if size < T::FIRST {
            return Err(Error::Invalid);
        }
        let bytes = given.cast::<u8>();
        for index in size_of::<T>()..size {
            if bytes.add(index).read() != 0 {
                return Err(Error::Invalid);
            }
        }
        let mut whole = MaybeUninit::<T>::zeroed();
        // Where a later member is, the first version may have had padding: on arm, `needm_config`.
        let is_first = size <= T::FIRST.next_multiple_of(align_of::<T>());
        let known = if is_first { T::FIRST } else { size.min(size_of::<T>()) };
        ptr::copy_nonoverlapping(bytes, whole.as_mut_ptr().cast(), known);
        Ok(whole.assume_init())
    }
}

/// The settings of a configuration, or the defaults.
///
/// # Safety
/// It is null, or as the header says.
pub(super) unsafe fn settings(config: *const CConfig) -> Result<Settings, Error> {
    if config.is_null() {
        return Ok(Settings::DEFAULT);
    }
    // SAFETY: it is not null, so it is as long as its size says, by this function's own contract.
    let config = unsafe { versioned(config)? };
    if config.binding != BIND_THREAD && config.binding != BIND_CALL {
        return Err(Error::Invalid);
    }
    const KNOWN: u32 = NO_SIGNALS
        | UNRECOVERED_ABORTS
        | LEAVE_FP_CONTROL
        | UNBLOCK_FAULTS
        | NO_PROBES
        | CATCH_ABORT
        | SCRUB_STACKS;
    if config.flags & !KNOWN != 0 {
        return Err(Error::Invalid);
    }
    let hooks = if config.hooks.is_null() {
        Hooks::NONE
    } else {
        // SAFETY: it is not null, so C gives a struct that is as long as its size says.
        let hooks = unsafe { versioned(config.hooks)? };
        Hooks {
            user: hooks.user,
            kind: None,
            m_new: hooks.m_new,
            m_free: hooks.m_free,
            minit: hooks.minit,
            unminit: hooks.unminit,
            thread_start: hooks.thread_start,
            fault: hooks.fault,
        }
    };
    Ok(Settings {
        seed_ms: config.seed_ms,
        max_ms: config.max_ms,
        stack_size: config.stack_size,
        guard_size: config.guard_size,
        signal_stack_size: config.signal_stack_size,
        binds_calls: config.binding == BIND_CALL,
        handles_signals: config.flags & NO_SIGNALS == 0,
        unrecovered_aborts: config.flags & UNRECOVERED_ABORTS != 0,
        interrupt: config.interrupt_signal,
        leaves_fp_control: config.flags & LEAVE_FP_CONTROL != 0,
        unblocks_faults: config.flags & UNBLOCK_FAULTS != 0,
        spares_calls: config.flags & NO_PROBES != 0,
        scrubs_stacks: config.flags & SCRUB_STACKS != 0,
        catches_aborts: config.flags & CATCH_ABORT != 0,
        wait_ns: limit(config.wait_ns)?,
        hooks,
        ..Settings::DEFAULT
    })
}

/// A time as C gives it, in nanoseconds.
pub(super) fn limit(wait_ns: i64) -> Result<u64, Error> {
    u64::try_from(wait_ns).map_err(|_| Error::Invalid)
}
