// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's functions.
//!
//! # Safety
//! Each of the host's functions is called as `include/needm.h` promises, with the pointer that
//! the host gave for it.

use core::any::TypeId;
use core::ffi::{c_int, c_void};
use core::ptr;

use crate::call::PanicInfo;
use crate::m::M;

/// The host's functions, as the C interface has them.
#[derive(Clone, Copy)]
pub(crate) struct Hooks {
    pub(crate) user: *mut c_void,
    /// The Rust type of the hooks, if the Rust interface has set them.
    pub(crate) kind: Option<Kind>,
    pub(crate) m_new: Option<NewHook>,
    pub(crate) m_free: Option<Hook>,
    pub(crate) minit: Option<Hook>,
    pub(crate) unminit: Option<Hook>,
    pub(crate) thread_start: Option<ThreadStart>,
    pub(crate) fault: Option<FaultHook>,
}

/// Tells a Rust type: a function, because a pointer is read and written in one step.
pub(crate) type Kind = fn() -> TypeId;
pub(super) type NewHook = unsafe extern "C" fn(*mut c_void, *const M) -> c_int;
pub(super) type Hook = unsafe extern "C" fn(*mut c_void, *const M);
/// What the host makes of a fault.
pub(crate) type FaultHook =
    unsafe extern "C" fn(*mut c_void, *const M, *const PanicInfo, *mut c_void) -> c_int;

/// What a host's hook says of a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It ends the callback.
    End = 0,
    /// The host has changed memory, or the context: the callback goes on.
    Resume = 1,
    /// It goes to the handler of before.
    Forward = 2,
}

/// The hook for faults, with its first argument.
pub(crate) struct AskHost {
    pub(super) user: *mut c_void,
    pub(super) hook: FaultHook,
}

impl AskHost {
    /// Asks about a fault on `m`, in its handler. What it does not know ends the callback.
    pub(crate) fn ask(&self, m: &M, info: &PanicInfo, context: *mut c_void) -> Answer {
        // SAFETY: the host gave the function and `user` together, for faults of its callbacks; the
        // M is bound to this thread, and the context is the system's.
        match unsafe { (self.hook)(self.user, m, info, context) } {
            1 => Answer::Resume,
            2 => Answer::Forward,
            _ => Answer::End,
        }
    }
}

/// How the host makes a thread.
pub(crate) type ThreadStart = unsafe extern "C" fn(*mut c_void, ThreadMain, *mut c_void) -> c_int;
/// What a new thread runs.
pub(crate) type ThreadMain = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

impl Hooks {
    /// No hooks.
    pub(crate) const NONE: Self = Self {
        user: ptr::null_mut(),
        kind: None,
        m_new: None,
        m_free: None,
        minit: None,
        unminit: None,
        thread_start: None,
        fault: None,
    };

    /// Whether there are hooks that are called for an M while needm is started.
    pub(crate) fn any_of_an_m(&self) -> bool {
        self.m_new.is_some() || self.minit.is_some() || self.unminit.is_some()
    }

    /// Calls the hook for a new M; whether it accepts the M.
    pub(crate) fn m_new(&self, m: &M) -> bool {
        // SAFETY: the host gave the function and `user` together, for a new M, which no thread
        // has.
        self.m_new.is_none_or(|hook| unsafe { hook(self.user, m) } == 0)
    }

    /// Calls the hook for an M that is about to be unmapped.
    pub(crate) fn m_free(&self, m: &M) {
        if let Some(hook) = self.m_free {
            // SAFETY: the host gave the function and `user` together, for an M that is about to be
            // unmapped.
            unsafe { hook(self.user, m) }
        }
    }

    /// Calls the hook for an M that was just bound.
    pub(crate) fn minit(&self, m: &M) {
        if let Some(hook) = self.minit {
            // SAFETY: the host gave the function and `user` together, for the M that was just bound
            // to this thread.
            unsafe { hook(self.user, m) }
        }
    }

    /// Calls the hook for an M that is about to be unbound.
    pub(crate) fn unminit(&self, m: &M) {
        if let Some(hook) = self.unminit {
            // SAFETY: the host gave the function and `user` together, for the M that is about to be
            // unbound.
            unsafe { hook(self.user, m) }
        }
    }
}
