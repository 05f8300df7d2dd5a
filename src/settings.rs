//! What needm is started with: sizes, limits, and the host's functions.
//!
//! # Safety
//! Each of the host's functions is called as `include/needm.h` promises, with the pointer that
//! the host gave for it.
#![allow(unsafe_code)] // the host's functions

use core::any::TypeId;
use core::ffi::{c_int, c_void};

use crate::error::Error;
use crate::m::M;
use crate::os::fault::{self, Needs};
use crate::stack;
use crate::tools;

/// Default of [`Config::max_ms`](crate::Config::max_ms).
pub const DEFAULT_MAX_MS: u32 = 10_000;
/// Default of [`Config::stack_size`](crate::Config::stack_size), in bytes.
pub const DEFAULT_STACK_SIZE: usize = 64 * 1024;
/// Bytes of a signal stack beside the signal's frames, by default, because handlers of others that
/// would run on the thread's own stack without needm run there: see
/// [`Config::signal_stack_size`](crate::Config::signal_stack_size).
pub const DEFAULT_SIGNAL_ROOM: usize = 64 * 1024;

/// Signal frames that a signal stack has room for where the host does not say:
/// handlers of several signals nest, and each may call back.
const NESTED_HANDLERS: usize = 4;

/// What our own handler needs of a signal stack besides the frame, in bytes: tests/nosplit.rs
/// checks that it uses no more.
const HANDLER_ROOM: usize = 1024;

/// Bytes of the handler's stack, below the handler, that the end of its callback needs.
const EXIT_ROOM: usize = if tools::WATCH_SWITCHES { 8192 } else { 1024 };

/// The host's functions, as the C interface has them.
#[derive(Clone, Copy)]
pub(crate) struct Hooks {
    pub(crate) user: *mut c_void,
    /// The Rust type of the hooks, if the Rust interface has set them.
    pub(crate) kind: Option<TypeId>,
    pub(crate) m_new: Option<unsafe extern "C" fn(*mut c_void, *const M) -> c_int>,
    pub(crate) m_free: Option<unsafe extern "C" fn(*mut c_void, *const M)>,
    pub(crate) minit: Option<unsafe extern "C" fn(*mut c_void, *const M)>,
    pub(crate) unminit: Option<unsafe extern "C" fn(*mut c_void, *const M)>,
    pub(crate) thread_start: Option<ThreadStart>,
}

/// How the host makes a thread.
pub(crate) type ThreadStart = unsafe extern "C" fn(*mut c_void, ThreadMain, *mut c_void) -> c_int;
/// What a new thread runs.
pub(crate) type ThreadMain = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

impl Hooks {
    /// No hooks.
    pub(crate) const NONE: Self = Self {
        user: core::ptr::null_mut(),
        kind: None,
        m_new: None,
        m_free: None,
        minit: None,
        unminit: None,
        thread_start: None,
    };

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

/// What needm was started with, the defaults filled in.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) seed_ms: u32,
    pub(crate) max_ms: u32,
    pub(crate) stack_size: usize,
    pub(crate) signal_stack_size: usize,
    pub(crate) binds_calls: bool,
    pub(crate) handles_signals: bool,
    pub(crate) unrecovered_aborts: bool,
    pub(crate) wait_ns: u64,
    pub(crate) hooks: Hooks,
    pub(crate) enters_with_fence: bool,
    pub(crate) least_signal_stack: usize,
}

impl Settings {
    /// Before the first start.
    pub(crate) const DEFAULT: Self = Self {
        seed_ms: 0,
        max_ms: 0,
        stack_size: 0,
        signal_stack_size: 0,
        binds_calls: false,
        handles_signals: true,
        unrecovered_aborts: false,
        wait_ns: 0,
        hooks: Hooks::NONE,
        enters_with_fence: false,
        least_signal_stack: 0,
    };

    /// The most Ms ever made.
    pub(crate) fn max_ms(&self) -> u32 {
        self.max_ms
    }

    /// Usable bytes of a G's stack.
    pub(crate) fn stack_size(&self) -> usize {
        self.stack_size
    }

    /// What a thread's handler stack has to hold.
    pub(crate) fn needs(&self) -> Needs {
        Needs {
            handled: self.handles_signals,
            stack: self.signal_stack_size,
            least: self.least_signal_stack,
            exit_room: EXIT_ROOM,
        }
    }

    /// Bytes that a thread's own signal stack must have to be used as it is.
    pub(crate) fn least_signal_stack(&self) -> usize {
        self.least_signal_stack
    }

    /// Whether the end of each callback unbinds its M.
    pub(crate) fn binds_calls(&self) -> bool {
        self.binds_calls
    }

    /// Whether faults are handled.
    pub(crate) fn handles_signals(&self) -> bool {
        self.handles_signals
    }

    /// Whether a panic that no deferred function stops ends the process.
    pub(crate) fn unrecovered_aborts(&self) -> bool {
        self.unrecovered_aborts
    }

    /// The longest wait for an M; `None` is for ever.
    pub(crate) fn wait_ns(&self) -> Option<u64> {
        (self.wait_ns != 0).then_some(self.wait_ns)
    }

    /// Whether the system has no asymmetric barrier, so that each callback has a fence of its own.
    pub(crate) fn enters_with_fence(&self) -> bool {
        self.enters_with_fence
    }

    /// The host's functions.
    pub(crate) fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// The settings with every default filled in, if they make sense.
    pub(crate) fn checked(mut self) -> Result<Self, Error> {
        fn or(value: &mut u32, default: u32) {
            if *value == 0 {
                *value = default;
            }
        }
        or(&mut self.seed_ms, 1);
        or(&mut self.max_ms, DEFAULT_MAX_MS);
        if self.max_ms < self.seed_ms {
            return Err(Error::Invalid);
        }
        let stack_size = if self.stack_size == 0 { DEFAULT_STACK_SIZE } else { self.stack_size };
        self.stack_size = stack::round(stack_size).ok_or(Error::Invalid)?;
        let frame = fault::frame_size();
        self.least_signal_stack = frame + HANDLER_ROOM;
        let asked = if self.signal_stack_size == 0 {
            NESTED_HANDLERS * frame + DEFAULT_SIGNAL_ROOM
        } else {
            self.signal_stack_size.max(self.least_signal_stack)
        };
        self.signal_stack_size = stack::round(asked).ok_or(Error::Invalid)?;
        Ok(self)
    }
}
