// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting and stopping.

use core::time::Duration;

use crate::callback::inside::inside;
use crate::error::Error;
use crate::lifecycle;
use crate::settings::Settings;
use crate::thread::left_behind::expect_safe_calls;

/// How long an M stays bound to a thread.
///
/// ```
/// let config = needm::Config { binding: needm::Binding::Call, ..needm::Config::default() };
/// needm::start(config)?;
/// needm::callback(|_| ())?;
/// assert_eq!(needm::stats().ms_bound, 0); // unbound again
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Binding {
    /// Until the thread ends: fastest.
    #[default]
    Thread,
    /// Until the callback ends: `max_ms` limits how many run at once, not how many
    /// threads live.
    Call,
}

/// Options for [`start`]; 0 selects the default named at each field.
///
/// Fields may be added: write `..Config::default()` after those that you set.
///
/// ```
/// let config = needm::Config { seed_ms: 4, ..needm::Config::default() };
/// needm::start(config)?;
/// assert_eq!(needm::stats().ms_idle, 4);
/// # needm::stop()?;
/// # Ok::<(), needm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Ms ready when `start` returns; 0 means 1.
    pub seed_ms: u32,
    /// Most Ms ever made; 0 means [`DEFAULT_MAX_MS`](crate::DEFAULT_MAX_MS).
    pub max_ms: u32,
    /// Usable bytes of a G's stack, rounded up to pages; 0 means
    /// [`DEFAULT_STACK_SIZE`](crate::DEFAULT_STACK_SIZE).
    pub stack_size: usize,
    /// Inaccessible bytes below a G, rounded up to pages; 0 means
    /// [`DEFAULT_GUARD_SIZE`](crate::DEFAULT_GUARD_SIZE). They take addresses, and no memory.
    /// A function whose frame is not larger cannot step over the guard, compiled with stack
    /// probes or without.
    pub guard_size: usize,
    /// Bytes of a signal stack; 0 means what this CPU's signal frame needs (four of
    /// them, for handlers that nest) and
    /// [`DEFAULT_SIGNAL_ROOM`](crate::DEFAULT_SIGNAL_ROOM).
    pub signal_stack_size: usize,
    /// How long an M stays with its thread; by default until that ends.
    pub binding: Binding,
    /// Install no handler and no signal stack: faults are the process's own.
    pub no_signals: bool,
    /// The signal by which [`interrupt`](crate::interrupt) ends callbacks; 0 means `SIGURG`. Others
    /// may go on using it. Not a signal of faults, nor `SIGABRT`, `SIGKILL`, `SIGCHLD`, the C
    /// library's own (from 32 on, below `SIGRTMIN`), or one that stops the process or lets it go on.
    /// On Windows 0.
    pub interrupt_signal: i32,
    /// A panic that no deferred function recovers prints a line and ends the process. A fault then
    /// goes to the handler that was there before needm, with the registers that it had. A Rust panic that
    /// [`callback`](crate::callback()) returns is none of these; one of a deferred function is.
    pub unrecovered_aborts: bool,
    /// A callback does not save floating-point control (x86: MXCSR and the x87 control word; ARM:
    /// FPSCR; AArch64: FPCR; RISC-V: fcsr), which on x86 takes about as long as all else that the
    /// fast path does. After an ending that is no return it is as the callback left it, as after
    /// `longjmp`. For hosts whose callbacks do not change it.
    pub leave_fp_control: bool,
    /// Unblock, while its callbacks run, the fault signals that a thread has blocked when it gets its
    /// first M, and block them again afterwards; else a fault there ends the process. Such a
    /// thread's callbacks take the slow path and two system calls. A thread without blocked fault
    /// signals pays nothing; one that changes them later calls [`detach`](crate::detach). No effect
    /// with [`Config::no_signals`].
    pub unblock_faults: bool,
    /// Make no system call that needm can do without and a sandbox may end the process for:
    /// `membarrier`, `get_robust_list`, `set_robust_list`, `mincore`, `clock_gettime`,
    /// `rt_tgsigqueueinfo`, `openat`, and advice to `madvise` but `MADV_DONTNEED`. Each callback then has a
    /// fence, waits for an M are looked after every half millisecond, a thread that exits by the
    /// raw system call is noticed later, and [`M::stack_used`](crate::M::stack_used) is not known.
    /// [`interrupt`](crate::interrupt) calls `rt_tgsigqueueinfo` all the same.
    pub no_probes: bool,
    /// What the callbacks of one thread have left on a G is zero before another thread gets it. With
    /// [`Binding::Call`] each callback then takes the slow path.
    pub scrub_stacks: bool,
    /// `SIGABRT` that a callback's own thread raises on its G (`abort`) ends the callback as a
    /// fault does. From other threads, and outside callbacks, it ends the process.
    pub catch_abort: bool,
    /// The longest wait when no M is free and none can be made; `None` is for ever.
    pub wait: Option<Duration>,
}

impl Config {
    pub(super) fn settings(&self) -> Result<Settings, Error> {
        // Zero says "for ever" further in, and no time at all is no wait to ask for.
        let wait = self.wait.map_or(Ok(0), |wait| {
            Some(nanos(wait)).filter(|nanos| *nanos != 0).ok_or(Error::Invalid)
        });
        Ok(Settings {
            seed_ms: self.seed_ms,
            max_ms: self.max_ms,
            stack_size: self.stack_size,
            guard_size: self.guard_size,
            signal_stack_size: self.signal_stack_size,
            binds_calls: self.binding == Binding::Call,
            handles_signals: !self.no_signals,
            unrecovered_aborts: self.unrecovered_aborts,
            interrupt: self.interrupt_signal,
            leaves_fp_control: self.leave_fp_control,
            unblocks_faults: self.unblock_faults,
            spares_calls: self.no_probes,
            scrubs_stacks: self.scrub_stacks,
            catches_aborts: self.catch_abort,
            wait_ns: wait?,
            ..Settings::DEFAULT
        })
    }
}

/// Starts needm without hooks; see [`Config`] for an example.
///
/// # Errors
/// [`Error::Already`]: it is started, or another thread is starting or stopping it right now.
/// [`Error::Invalid`]: `max_ms` below `seed_ms`, a wait of zero, sizes that no address
/// space holds, a signal that is not for interrupts. [`Error::NoMemory`]: the seed could not be mapped. [`Error::System`]: this thread
/// has a shadow stack, which needm cannot unwind.
pub fn start(config: Config) -> Result<(), Error> {
    let settings = config.settings()?;
    expect_safe_calls();
    inside(|_| lifecycle::start(settings))
}

/// Stops needm and undoes all that it did: handlers, keys, mappings. Ms may be bound to
/// threads outside callbacks. While another thread lives that has called back, its signal stack and
/// needm's tables stay mapped, for the next start, or until a stop after its exit.
///
/// # Errors
/// [`Error::NotStarted`]; [`Error::Busy`] while a callback or a hook runs, a thread is being spawned,
/// the world is stopped, or another thread starts or stops needm; [`Error::NoMemory`]: there is no
/// room to note this thread.
///
/// ```
/// needm::start(needm::Config::default())?;
/// let stopped = needm::callback(|_| needm::stop())?;
/// assert_eq!(stopped, Err(needm::Error::Busy)); // this callback runs
/// assert_eq!(needm::stop(), Ok(()));
/// assert_eq!(needm::stop(), Err(needm::Error::NotStarted));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn stop() -> Result<(), Error> {
    inside(|_| lifecycle::stop())
}

/// Stops needm when the callbacks under way are over: callbacks that begin from now on are
/// refused with [`Error::NotStarted`], and those under way have `limit` to come to their end.
/// Callbacks inside one of them, which C makes that it has called or a signal handler, still run.
/// If they take longer, needm is open again as if nothing had happened, and
/// [`each_inside`](crate::each_inside) shows which Ms have callbacks under way. A limit of zero does not wait.
///
/// # Errors
/// [`Error::NotStarted`]; [`Error::Busy`] inside a callback, in a world that this thread has
/// stopped, while another thread starts or stops needm, or if the limit has passed;
/// [`Error::NoMemory`]: there is no room to note this thread.
///
/// ```
/// use std::time::Duration;
///
/// needm::start(needm::Config::default())?;
/// let (inside, entered) = std::sync::mpsc::channel();
/// let (end, ended) = std::sync::mpsc::channel::<()>();
/// let busy = std::thread::spawn(move || {
///     needm::callback(|_| {
///         inside.send(()).expect("it is received");
///         ended.recv().expect("it is sent");
///     })
///     .is_ok()
/// });
/// entered.recv()?;
/// assert_eq!(needm::stop_within(Duration::from_millis(10)), Err(needm::Error::Busy));
/// end.send(())?;
/// needm::stop_within(Duration::from_secs(60))?;
/// assert!(busy.join().expect("the thread returns"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn stop_within(limit: Duration) -> Result<(), Error> {
    inside(|_| lifecycle::stop_within(nanos(limit)))
}

/// A time limit in nanoseconds; centuries are for ever.
pub(super) fn nanos(limit: Duration) -> u64 {
    u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)
}
