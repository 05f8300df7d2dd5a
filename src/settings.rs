//! What needm is started with: sizes, limits, and the host's functions.
//!
//! # Safety
//! Each of the host's functions is called as `include/needm.h` promises, with the pointer that
//! the host gave for it.
#![allow(unsafe_code)] // the host's functions

use core::any::TypeId;
use core::ffi::{c_int, c_void};
use core::marker::PhantomData;
use core::mem::transmute_copy;
use core::ptr;

use crate::error::Error;
use crate::m::M;
use crate::os::fault::{self, Needs};
use crate::stack;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Relaxed};
use crate::tools;

/// Default of [`Config::max_ms`](crate::Config::max_ms).
pub const DEFAULT_MAX_MS: u32 = 10_000;
/// Default of [`Config::stack_size`](crate::Config::stack_size), in bytes.
pub const DEFAULT_STACK_SIZE: usize = if usize::BITS > 32 { 256 * 1024 } else { 64 * 1024 };
/// Default of [`Config::guard_size`](crate::Config::guard_size), in bytes: as much as Linux keeps
/// below a process's first stack, where addresses are plenty.
pub const DEFAULT_GUARD_SIZE: usize = if usize::BITS > 32 { 1024 * 1024 } else { 64 * 1024 };
/// Bytes of a signal stack beside the signal's frames, by default: see
/// [`Config::signal_stack_size`](crate::Config::signal_stack_size).
pub const DEFAULT_SIGNAL_ROOM: usize = 8 * 1024;

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
    pub(crate) kind: Option<Kind>,
    pub(crate) m_new: Option<NewHook>,
    pub(crate) m_free: Option<Hook>,
    pub(crate) minit: Option<Hook>,
    pub(crate) unminit: Option<Hook>,
    pub(crate) thread_start: Option<ThreadStart>,
}

/// Tells a Rust type: a function, because a pointer is read and written in one step.
pub(crate) type Kind = fn() -> TypeId;
type NewHook = unsafe extern "C" fn(*mut c_void, *const M) -> c_int;
type Hook = unsafe extern "C" fn(*mut c_void, *const M);

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
    pub(crate) guard_size: usize,
    pub(crate) signal_stack_size: usize,
    pub(crate) binds_calls: bool,
    pub(crate) handles_signals: bool,
    pub(crate) unrecovered_aborts: bool,
    pub(crate) wait_ns: u64,
    pub(crate) hooks: Hooks,
    pub(crate) least_signal_stack: usize,
}

impl Settings {
    /// What the host has not said.
    pub(crate) const DEFAULT: Self = Self {
        seed_ms: 0,
        max_ms: 0,
        stack_size: 0,
        guard_size: 0,
        signal_stack_size: 0,
        binds_calls: false,
        handles_signals: true,
        unrecovered_aborts: false,
        wait_ns: 0,
        hooks: Hooks::NONE,
        least_signal_stack: 0,
    };

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
        if self.guard_size == 0 {
            self.guard_size = DEFAULT_GUARD_SIZE;
        }
        self.stack_size = stack::round(stack_size, self.guard_size).ok_or(Error::Invalid)?;
        let frame = fault::frame_size();
        self.least_signal_stack = frame + HANDLER_ROOM;
        let asked = if self.signal_stack_size == 0 {
            NESTED_HANDLERS * frame + DEFAULT_SIGNAL_ROOM
        } else {
            self.signal_stack_size.max(self.least_signal_stack)
        };
        self.signal_stack_size = stack::round(asked, 0).ok_or(Error::Invalid)?;
        Ok(self)
    }
}

/// A function of the host's, or none.
struct Slot<F> {
    function: AtomicPtr<()>,
    kind: PhantomData<F>,
}

impl<F: Copy> Slot<F> {
    const fn empty() -> Self {
        Self { function: AtomicPtr::new(ptr::null_mut()), kind: PhantomData }
    }

    fn set(&self, function: Option<F>) {
        const { assert!(size_of::<Option<F>>() == size_of::<*mut ()>()) };
        // SAFETY: `F` is a function pointer in each field of `Live`, so this is a pointer, or null.
        self.function.store(unsafe { transmute_copy(&function) }, Relaxed);
    }

    fn get(&self) -> Option<F> {
        let function = self.function.load(Relaxed);
        // SAFETY: `set` stored it: a function of this type, or null for none.
        unsafe { transmute_copy(&function) }
    }
}

/// The settings that needm was started with last. All fields are atomics: a thread that is still
/// entering from an earlier start may read them while a start writes them.
pub(crate) struct Live {
    max_ms: AtomicU32,
    stack_size: AtomicUsize,
    guard_size: AtomicUsize,
    signal_stack_size: AtomicUsize,
    least_signal_stack: AtomicUsize,
    binds_calls: AtomicBool,
    handles_signals: AtomicBool,
    unrecovered_aborts: AtomicBool,
    wait_ns: AtomicU64,
    user: AtomicPtr<c_void>,
    kind: Slot<Kind>,
    m_new: Slot<NewHook>,
    m_free: Slot<Hook>,
    minit: Slot<Hook>,
    unminit: Slot<Hook>,
    thread_start: Slot<ThreadStart>,
}

impl Live {
    /// Before the first start.
    pub(crate) const fn before() -> Self {
        Self {
            max_ms: AtomicU32::new(0),
            stack_size: AtomicUsize::new(0),
            guard_size: AtomicUsize::new(0),
            signal_stack_size: AtomicUsize::new(0),
            least_signal_stack: AtomicUsize::new(0),
            binds_calls: AtomicBool::new(false),
            handles_signals: AtomicBool::new(true),
            unrecovered_aborts: AtomicBool::new(false),
            wait_ns: AtomicU64::new(0),
            user: AtomicPtr::new(ptr::null_mut()),
            kind: Slot::empty(),
            m_new: Slot::empty(),
            m_free: Slot::empty(),
            minit: Slot::empty(),
            unminit: Slot::empty(),
            thread_start: Slot::empty(),
        }
    }

    /// Only for `lifecycle::start`, while needm is not open.
    pub(crate) fn set(&self, settings: &Settings) {
        self.max_ms.store(settings.max_ms, Relaxed);
        self.stack_size.store(settings.stack_size, Relaxed);
        self.guard_size.store(settings.guard_size, Relaxed);
        self.signal_stack_size.store(settings.signal_stack_size, Relaxed);
        self.least_signal_stack.store(settings.least_signal_stack, Relaxed);
        self.binds_calls.store(settings.binds_calls, Relaxed);
        self.handles_signals.store(settings.handles_signals, Relaxed);
        self.unrecovered_aborts.store(settings.unrecovered_aborts, Relaxed);
        self.wait_ns.store(settings.wait_ns, Relaxed);
        let hooks = &settings.hooks;
        self.user.store(hooks.user, Relaxed);
        self.kind.set(hooks.kind);
        self.m_new.set(hooks.m_new);
        self.m_free.set(hooks.m_free);
        self.minit.set(hooks.minit);
        self.unminit.set(hooks.unminit);
        self.thread_start.set(hooks.thread_start);
    }

    /// The most Ms ever made.
    pub(crate) fn max_ms(&self) -> u32 {
        self.max_ms.load(Relaxed)
    }

    /// Usable bytes of a G's stack.
    pub(crate) fn stack_size(&self) -> usize {
        self.stack_size.load(Relaxed)
    }

    /// Bytes of the guard below it.
    pub(crate) fn guard_size(&self) -> usize {
        self.guard_size.load(Relaxed)
    }

    /// What a thread's handler stack has to hold.
    pub(crate) fn needs(&self) -> Needs {
        Needs {
            handled: self.handles_signals(),
            stack: self.signal_stack_size.load(Relaxed),
            least: self.least_signal_stack(),
            exit_room: EXIT_ROOM,
        }
    }

    /// Bytes that a thread's own signal stack must have to be used as it is.
    pub(crate) fn least_signal_stack(&self) -> usize {
        self.least_signal_stack.load(Relaxed)
    }

    /// Whether the end of each callback unbinds its M.
    pub(crate) fn binds_calls(&self) -> bool {
        self.binds_calls.load(Relaxed)
    }

    /// Whether faults are handled.
    pub(crate) fn handles_signals(&self) -> bool {
        self.handles_signals.load(Relaxed)
    }

    /// Whether a panic that no deferred function stops ends the process.
    pub(crate) fn unrecovered_aborts(&self) -> bool {
        self.unrecovered_aborts.load(Relaxed)
    }

    /// The longest wait for an M; `None` is for ever.
    pub(crate) fn wait_ns(&self) -> Option<u64> {
        let limit = self.wait_ns.load(Relaxed);
        (limit != 0).then_some(limit)
    }

    /// The host's functions.
    #[inline]
    pub(crate) fn hooks(&self) -> Hooks {
        Hooks {
            user: self.user.load(Relaxed),
            kind: self.kind.get(),
            m_new: self.m_new.get(),
            m_free: self.m_free.get(),
            minit: self.minit.get(),
            unminit: self.unminit.get(),
            thread_start: self.thread_start.get(),
        }
    }
}
