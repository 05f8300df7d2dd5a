//! Starting, stopping and forking the kernel; its settings; what it counts.
//!
//! Settings are written under [`LIFECYCLE`] while the gate is closed and nobody is
//! on the way in, and only read while the kernel is open.
#![allow(unsafe_code)] // the settings' cell

use core::any::TypeId;
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};

use spin::Mutex;

use crate::arch;
use crate::error::Error;
use crate::extra::EXTRA;
use crate::m::{M, MS};
use crate::os::{host, thread as system};
use crate::signal::chain;
use crate::stack;
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Relaxed, SeqCst};
use crate::thread;
use crate::tls::Tls;
use crate::unwind::RAISED;
use crate::world;

/// Held by who starts or stops the kernel. Never waited for: who finds it taken
/// has lost, and is told so.
static LIFECYCLE: Mutex<()> = Mutex::new(());

/// Whether callbacks are let in, or about to be.
static OPEN: AtomicBool = AtomicBool::new(false);
/// How often the kernel has been started.
static EPOCH: AtomicU32 = AtomicU32::new(0);
/// Threads that `spawn` has made and that are not in their callback yet.
static SPAWNING: AtomicUsize = AtomicUsize::new(0);
/// Whether the fork handler is registered; it cannot be taken back.
static FORK_HANDLER: AtomicBool = AtomicBool::new(false);

/// Ms that there may be where the host does not say.
pub const DEFAULT_MAX_MS: u32 = 10_000;
/// Usable bytes of a G's stack where the host does not say.
pub const DEFAULT_STACK_SIZE: usize = 64 * 1024;
/// What a signal stack holds besides the signal's frame, where the host does not
/// say, in bytes.
pub const DEFAULT_SIGNAL_ROOM: usize = 8 * 1024;

/// Signal frames that a signal stack has room for where the host does not say:
/// handlers of several signals nest, and each may call back.
const NESTED_HANDLERS: usize = 4;

/// What our own handler needs of a signal stack besides the frame, in bytes.
const HANDLER_ROOM: usize = 1024;

/// The host's functions, as the C interface has them.
#[derive(Clone, Copy)]
pub(crate) struct Hooks {
    pub(crate) user: *mut c_void,
    /// The type of the Rust interface's hooks, if they are that.
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
    pub(crate) const NONE: Self = Self {
        user: core::ptr::null_mut(),
        kind: None,
        m_new: None,
        m_free: None,
        minit: None,
        unminit: None,
        thread_start: None,
    };

    // Each of the host's functions is called as include/needm.h promises, with
    // the pointer that the host gave for it.

    pub(crate) fn m_new(&self, m: &M) -> bool {
        // SAFETY: see above.
        self.m_new.is_none_or(|hook| unsafe { hook(self.user, m) } == 0)
    }

    pub(crate) fn m_free(&self, m: &M) {
        if let Some(hook) = self.m_free {
            // SAFETY: see above.
            unsafe { hook(self.user, m) }
        }
    }

    pub(crate) fn minit(&self, m: &M) {
        if let Some(hook) = self.minit {
            // SAFETY: see above.
            unsafe { hook(self.user, m) }
        }
    }

    pub(crate) fn unminit(&self, m: &M) {
        if let Some(hook) = self.unminit {
            // SAFETY: see above.
            unsafe { hook(self.user, m) }
        }
    }
}

/// What the kernel was started with, the defaults filled in.
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

    pub(crate) fn max_ms(&self) -> u32 {
        self.max_ms
    }

    pub(crate) fn stack_size(&self) -> usize {
        self.stack_size
    }

    /// Bytes of a signal stack, its guard not counted.
    pub(crate) fn signal_stack_size(&self) -> usize {
        self.signal_stack_size
    }

    /// Bytes that a thread's own signal stack must have to be used as it is.
    pub(crate) fn least_signal_stack(&self) -> usize {
        self.least_signal_stack
    }

    pub(crate) fn binds_calls(&self) -> bool {
        self.binds_calls
    }

    pub(crate) fn handles_signals(&self) -> bool {
        self.handles_signals
    }

    pub(crate) fn unrecovered_aborts(&self) -> bool {
        self.unrecovered_aborts
    }

    /// The longest wait for an M; `None` is for ever.
    pub(crate) fn wait_ns(&self) -> Option<u64> {
        (self.wait_ns != 0).then_some(self.wait_ns)
    }

    /// Whether the world gate has no barrier and every entry brings its own.
    pub(crate) fn enters_with_fence(&self) -> bool {
        self.enters_with_fence
    }

    pub(crate) fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// The settings with every default filled in, if they make sense.
    fn checked(mut self) -> Result<Self, Error> {
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
        let frame = host::min_signal_stack().unwrap_or(arch::MIN_SIGNAL_STACK);
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

struct Cell(UnsafeCell<Settings>);

// SAFETY: see the head of this file.
unsafe impl Sync for Cell {}

static SETTINGS: Cell = Cell(UnsafeCell::new(Settings::DEFAULT));

/// The settings of the kernel that runs, or ran last.
pub(crate) fn settings() -> &'static Settings {
    // SAFETY: see the head of this file.
    unsafe { &*SETTINGS.0.get() }
}

/// Whether the kernel lets callbacks in.
pub(crate) fn is_open() -> bool {
    OPEN.load(SeqCst)
}

/// The number of this start of the kernel.
pub(crate) fn epoch() -> u32 {
    EPOCH.load(Relaxed)
}

/// The gate's value while this start's gate is open.
pub(crate) fn epoch_open() -> u32 {
    epoch() << 1
}

/// Starts the kernel.
pub(crate) fn start(asked: Settings) -> Result<(), Error> {
    let checked = asked.checked()?;
    let _only = LIFECYCLE.try_lock().ok_or(Error::Already)?;
    if is_open() {
        return Err(Error::Already);
    }
    // SAFETY: this is the only starter, and nobody reads while not open.
    let own = unsafe { &mut *SETTINGS.0.get() };
    *own = checked;
    own.enters_with_fence = !system::register_barrier();
    let epoch = EPOCH.load(Relaxed).wrapping_add(1).max(1);
    EPOCH.store(epoch, SeqCst);
    thread::start();
    if let Err(error) = EXTRA.seed(settings().seed_ms) {
        EXTRA.end();
        thread::stop(Tls::current());
        return Err(error);
    }
    if !FORK_HANDLER.swap(true, SeqCst) {
        host::at_fork_in_child(fork_child);
    }
    if settings().handles_signals() {
        chain::install();
    }
    OPEN.store(true, SeqCst);
    world::open(epoch_open());
    Ok(())
}

/// Stops the kernel and undoes all that it did.
pub(crate) fn stop() -> Result<(), Error> {
    if !is_open() {
        return Err(Error::NotStarted);
    }
    let tls = Tls::current();
    if crate::callback::is_inside(tls) {
        return Err(Error::Busy);
    }
    let _only = LIFECYCLE.try_lock().ok_or(Error::Busy)?;
    if !is_open() {
        return Err(Error::NotStarted);
    }
    if world::is_closed(world::value()) || SPAWNING.load(SeqCst) != 0 {
        return Err(Error::Busy);
    }
    world::close();
    thread::reclaim_all();
    if MS.iter().any(|m| world::in_callback(m) || m.is_running()) {
        world::open(epoch_open());
        return Err(Error::Busy);
    }
    OPEN.store(false, SeqCst);
    // Who waits has a live record, so nothing that it looks at is unmapped, even if
    // it should take its time.
    thread::until(|| {
        EXTRA.wake_all();
        EXTRA.waiting() == 0
    });
    if settings().handles_signals() {
        chain::uninstall();
    }
    let live = thread::stop(tls);
    EXTRA.end();
    if !live {
        EXTRA.forget_rows();
        // SAFETY: the gate is closed, nobody waits, and no live thread's block
        // leads to an M.
        unsafe { MS.clear() };
    }
    Ok(())
}

/// In the child of a fork: this thread is the only one.
pub(crate) extern "C" fn fork_child() {
    if !is_open() {
        return;
    }
    host::keeping_errno(|| {
        let tls = Tls::current();
        world::fork_child();
        SPAWNING.store(0, SeqCst);
        thread::fork_child(tls);
        let own = tls.thread();
        EXTRA.rebuild(|m| {
            let mut held = own.and_then(thread::Thread::held);
            while let Some(each) = held {
                if core::ptr::eq(each, m) {
                    return true;
                }
                held = each.below();
            }
            false
        });
    });
}

/// What the kernel has made and counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Ms made.
    pub ms_total: u64,
    /// Ms on the extra list.
    pub ms_idle: u64,
    /// Ms held by threads.
    pub ms_bound: u64,
    /// Ms taken back from threads that died without giving them back.
    pub ms_reclaimed: u64,
    /// Times that a thread had to wait for an M.
    pub waits: u64,
    /// Times that one gave up.
    pub timeouts: u64,
    /// Panics raised in callbacks.
    pub panics: u64,
    /// Faults raised in callbacks, overflows not counted.
    pub faults: u64,
    /// Stacks that ran out.
    pub overflows: u64,
}

/// What the kernel has made and counted, since the process began.
#[must_use]
pub fn stats() -> Stats {
    let (ms_total, ms_idle, ms_bound) = if is_open() { EXTRA.count() } else { (0, 0, 0) };
    Stats {
        ms_total,
        ms_idle,
        ms_bound,
        ms_reclaimed: EXTRA.reclaimed.load(Relaxed),
        waits: EXTRA.waits.load(Relaxed),
        timeouts: EXTRA.timeouts.load(Relaxed),
        panics: RAISED.panics.load(Relaxed),
        faults: RAISED.faults.load(Relaxed),
        overflows: RAISED.overflows.load(Relaxed),
    }
}

/// What `spawn` gives the new thread: one callback, which ends the process if a
/// panic ends it.
struct Spawned {
    run: Run,
    answer: AtomicU32,
}

/// Makes a thread that runs `function(arg)` as a callback from birth.
pub(crate) fn spawn(function: crate::callback::Function, arg: *mut c_void) -> Result<(), Error> {
    if !is_open() {
        return Err(Error::NotStarted);
    }
    SPAWNING.fetch_add(1, SeqCst);
    let spawned = Spawned { run: Run { function, arg }, answer: AtomicU32::new(0) };
    let started = start_thread(&spawned);
    // The new thread takes an M, and what it needs off this stack, before it answers.
    let answer = started.and_then(|()| {
        while spawned.answer.load(SeqCst) == 0 {
            let _ = system::wait(&spawned.answer, 0, None);
        }
        match spawned.answer.load(SeqCst) {
            TAKEN => Ok(()),
            refused => Err(Error::from_code(-refused.cast_signed()).unwrap_or(Error::System)),
        }
    });
    if answer.is_err() {
        SPAWNING.fetch_sub(1, SeqCst);
    }
    answer
}

/// The answer of a spawned thread that runs; any other is an error's number without
/// its sign.
const TAKEN: u32 = u32::MAX;

fn start_thread(spawned: &Spawned) -> Result<(), Error> {
    let arg = core::ptr::from_ref(spawned).cast_mut().cast();
    let hooks = settings().hooks();
    let refused = match hooks.thread_start {
        // SAFETY: the host's own function, with what it asked for.
        Some(hook) => unsafe { hook(hooks.user, spawned_main, arg) },
        None => match host::spawn(spawned_main, arg) {
            Some(Ok(())) => 0,
            Some(Err(refused)) => refused,
            None => system::NO_THREADS,
        },
    };
    if refused == 0 {
        return Ok(());
    }
    host::set_errno(refused);
    Err(Error::System)
}

unsafe extern "C" fn spawned_main(arg: *mut c_void) -> *mut c_void {
    let mut run = {
        let attached = crate::callback::attach();
        // SAFETY: `spawn` waits until it is answered.
        let spawned = unsafe { &*arg.cast::<Spawned>() };
        let copied = spawned.run;
        let word = core::ptr::from_ref(&spawned.answer);
        let answer = attached.map_or_else(|error| error.code().unsigned_abs(), |()| TAKEN);
        spawned.answer.store(answer, SeqCst);
        // Only its address is used from here on.
        system::wake_at(word);
        if attached.is_err() {
            return core::ptr::null_mut();
        }
        copied
    };
    let mut info = crate::unwind::PanicInfo::new();
    // SAFETY: `run` waits here for the callback.
    let code = unsafe {
        arch::needm_entry(Some(spawned_callback), (&raw mut run).cast(), 0, (&raw mut info).cast())
    };
    if let Some(error) = Error::from_code(code) {
        crate::throw::throw(format_args!(
            "needm: a spawned thread ended: {error} (signal {}, addr {:#x}, pc {:#x}, value {:p})",
            info.signo, info.addr, info.pc, info.value
        ));
    }
    let _ = crate::callback::detach();
    core::ptr::null_mut()
}

#[derive(Clone, Copy)]
struct Run {
    function: crate::callback::Function,
    arg: *mut c_void,
}

unsafe extern "C" fn spawned_callback(run: *mut c_void) {
    // From here on `stop` sees a callback.
    SPAWNING.fetch_sub(1, SeqCst);
    // SAFETY: `spawned_main` waits with it.
    let run = unsafe { &*run.cast::<Run>() };
    // SAFETY: who spawned it vouches for it.
    unsafe { (run.function)(run.arg) }
}
