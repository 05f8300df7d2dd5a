// SPDX-License-Identifier: MIT OR Apache-2.0
//! What needm is started with: sizes, limits, and the host's functions.
//!
//! # Safety
//! What a [`Slot`] of a function has is one of its kind, or none.
#![allow(unsafe_code)] // the host's functions

mod hooks;

use core::ffi::c_void;
use core::marker::PhantomData;
use core::mem::transmute_copy;
use core::ptr;

use crate::error::Error;
use crate::os::fault::{self, Needs};
use crate::os::interrupt;
use crate::stack;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Relaxed};
use crate::tools;

pub(crate) use hooks::{Answer, AskHost, FaultHook, Hooks, Kind, ThreadMain, ThreadStart};
use hooks::{Hook, NewHook};

/// Default of [`Config::max_ms`](crate::Config::max_ms).
pub const DEFAULT_MAX_MS: u32 = 10_000;
/// Default of [`Config::stack_size`](crate::Config::stack_size), in bytes.
pub const DEFAULT_STACK_SIZE: usize = if usize::BITS > 32 { 256 * 1024 } else { 64 * 1024 };
/// Default of [`Config::guard_size`](crate::Config::guard_size), in bytes: as much as Linux keeps
/// below a process's first stack, where addresses are plenty.
pub const DEFAULT_GUARD_SIZE: usize = if usize::BITS > 32 { 1024 * 1024 } else { 64 * 1024 };
/// Bytes of a signal stack beside the signal's frames, by default, because handlers of others that
/// would run on the thread's own stack without needm run there: see
/// [`Config::signal_stack_size`](crate::Config::signal_stack_size).
pub const DEFAULT_SIGNAL_ROOM: usize = 64 * 1024;

/// Signal frames that a signal stack has room for where the host does not say:
/// handlers of several signals nest, and each may call back.
const NESTED_HANDLERS: usize = 4;

/// What our own handler needs of a signal stack besides the frame, in bytes: tests/nosplit
/// checks that it uses no more.
const HANDLER_ROOM: usize = 1536;

/// What the hook for faults may need of it.
const HOOK_ROOM: usize = 2048;

/// Bytes of the handler's stack, below the handler, that the end of its callback needs.
const EXIT_ROOM: usize = if tools::WATCH_SWITCHES { 8192 } else { 1024 };

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
    /// In effect as a bit of the epoch (`state.rs`).
    pub(crate) leaves_fp_control: bool,
    /// Fault signals that a thread has blocked are unblocked while its callbacks run.
    pub(crate) unblocks_faults: bool,
    /// No system call that a sandbox may kill for.
    pub(crate) spares_calls: bool,
    /// What one thread's callbacks left on a G is zero before another thread gets it.
    pub(crate) scrubs_stacks: bool,
    pub(crate) catches_aborts: bool,
    pub(crate) wait_ns: u64,
    /// The number of what interrupts callbacks (`os/interrupt.rs`).
    pub(crate) interrupt: i32,
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
        leaves_fp_control: false,
        unblocks_faults: false,
        spares_calls: false,
        scrubs_stacks: false,
        catches_aborts: false,
        wait_ns: 0,
        interrupt: 0,
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
        self.interrupt = interrupt::number(self.interrupt).ok_or(Error::Invalid)?;
        let frame = fault::frame_size();
        let hook = if self.hooks.fault.is_some() { HOOK_ROOM } else { 0 };
        self.least_signal_stack = frame + HANDLER_ROOM + hook;
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
    unblocks_faults: AtomicBool,
    scrubs_stacks: AtomicBool,
    wait_ns: AtomicU64,
    user: AtomicPtr<c_void>,
    kind: Slot<Kind>,
    m_new: Slot<NewHook>,
    m_free: Slot<Hook>,
    minit: Slot<Hook>,
    unminit: Slot<Hook>,
    thread_start: Slot<ThreadStart>,
    fault: Slot<FaultHook>,
    catches_aborts: AtomicBool,
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
            unblocks_faults: AtomicBool::new(false),
            scrubs_stacks: AtomicBool::new(false),
            wait_ns: AtomicU64::new(0),
            user: AtomicPtr::new(ptr::null_mut()),
            kind: Slot::empty(),
            m_new: Slot::empty(),
            m_free: Slot::empty(),
            minit: Slot::empty(),
            unminit: Slot::empty(),
            thread_start: Slot::empty(),
            fault: Slot::empty(),
            catches_aborts: AtomicBool::new(false),
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
        self.unblocks_faults.store(settings.unblocks_faults, Relaxed);
        self.scrubs_stacks.store(settings.scrubs_stacks, Relaxed);
        self.wait_ns.store(settings.wait_ns, Relaxed);
        let hooks = &settings.hooks;
        self.user.store(hooks.user, Relaxed);
        self.kind.set(hooks.kind);
        self.m_new.set(hooks.m_new);
        self.m_free.set(hooks.m_free);
        self.minit.set(hooks.minit);
        self.unminit.set(hooks.unminit);
        self.thread_start.set(hooks.thread_start);
        self.fault.set(hooks.fault);
        self.catches_aborts.store(settings.catches_aborts, Relaxed);
    }

    /// Whether a thread that aborts the process in a callback ends the callback instead.
    pub(crate) fn catches_aborts(&self) -> bool {
        self.catches_aborts.load(Relaxed)
    }

    /// The host's hook for faults.
    pub(crate) fn fault_hook(&self) -> Option<AskHost> {
        let hook = self.fault.get()?;
        Some(AskHost { user: self.user.load(Relaxed), hook })
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
            unblocked: self.unblocks_faults.load(Relaxed),
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

    /// Whether an M's stack is zeroed before another thread than its last one gets it.
    pub(crate) fn scrubs_stacks(&self) -> bool {
        self.scrubs_stacks.load(Relaxed)
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
            fault: self.fault.get(),
        }
    }
}
