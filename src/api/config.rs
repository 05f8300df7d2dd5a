//! Starting and stopping, and the host's hooks.
//!
//! # Safety
//! Hooks are kept as untyped pointers beside functions that were made for their
//! type; both come from one call of [`start_with`].
#![allow(unsafe_code)] // pointers back to what they were made from

use core::any::TypeId;
use core::ffi::{c_int, c_void};
use core::marker::PhantomData;
use core::ptr;
use core::time::Duration;

use crate::error::Error;
use crate::lifecycle;
use crate::m::M;
use crate::os;
use crate::settings::{self, Settings, ThreadMain};
use crate::state;

/// How long an M stays with the thread that took it.
///
/// ```
/// let config = needm::Config { binding: needm::Binding::Call, ..needm::Config::default() };
/// needm::start(config)?;
/// needm::callback(|_| ())?;
/// assert_eq!(needm::stats().ms_bound, 0); // given back
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binding {
    /// Until the thread ends: fastest.
    #[default]
    Thread,
    /// Until the callback ends: `max_ms` limits how many run at once, not how many
    /// threads live.
    Call,
}

/// What the kernel is started with. The default of each field is in its words.
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
    /// Bytes of a signal stack; 0 means what this CPU's signal frame needs (four of
    /// them, for handlers that nest) and
    /// [`DEFAULT_SIGNAL_ROOM`](crate::DEFAULT_SIGNAL_ROOM).
    pub signal_stack_size: usize,
    /// How long an M stays with its thread; by default until that ends.
    pub binding: Binding,
    /// Install no handler and no signal stack: faults are the process's own.
    pub no_signals: bool,
    /// A panic that nobody recovers prints one line and ends the process.
    pub unrecovered_aborts: bool,
    /// The longest wait when no M is free and none can be made; `None` is for ever.
    pub wait: Option<Duration>,
}

impl Config {
    fn settings(&self) -> Result<Settings, Error> {
        // Zero says "for ever" further in, and no time at all is no wait to ask for.
        let wait = self.wait.map_or(Ok(0), |wait| {
            u64::try_from(wait.as_nanos()).ok().filter(|nanos| *nanos != 0).ok_or(Error::Invalid)
        });
        Ok(Settings {
            seed_ms: self.seed_ms,
            max_ms: self.max_ms,
            stack_size: self.stack_size,
            signal_stack_size: self.signal_stack_size,
            binds_calls: self.binding == Binding::Call,
            handles_signals: !self.no_signals,
            unrecovered_aborts: self.unrecovered_aborts,
            wait_ns: wait?,
            ..Settings::DEFAULT
        })
    }
}

/// Starts the kernel without hooks.
///
/// # Errors
/// [`Error::Already`]: it is started, or somebody else is starting it right now.
/// [`Error::Invalid`]: `max_ms` below `seed_ms`, a wait of zero, sizes that no address
/// space holds. [`Error::NoMemory`]: the seed could not be mapped.
///
/// ```
/// needm::start(needm::Config::default())?;
/// assert_eq!(needm::start(needm::Config::default()), Err(needm::Error::Already));
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn start(config: Config) -> Result<(), Error> {
    lifecycle::start(config.settings()?)
}

/// A hook's answer that it will not have this M, or this thread.
///
/// ```
/// struct Runtime;
///
/// impl needm::Hooks for Runtime {
///     type Local = u64;
///     fn m_new(&self, m: &needm::M) -> Result<Option<&'static u64>, needm::Refused> {
///         if m.id() > 2 { Err(needm::Refused) } else { Ok(Some(Box::leak(Box::new(m.id())))) }
///     }
/// }
///
/// static RUNTIME: Runtime = Runtime;
/// needm::start_with(needm::Config::default(), &RUNTIME)?;
/// assert_eq!(needm::callback(|cx| cx.local::<Runtime>().copied())?, Some(1));
/// needm::stop()?;
/// let three = needm::Config { seed_ms: 3, ..needm::Config::default() };
/// assert_eq!(needm::start_with(three, &RUNTIME), Err(needm::Error::NoMemory));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// What a host does at the stations of an M's life, and a value of its own that each
/// M carries.
///
/// The hooks make no callbacks themselves. `m_new` runs where an M is made: in
/// `start`, on a G, in `attach`, or where a thread finds no M for long.
/// `minit` and `unminit` run on the thread's own stack; `unminit` on another
/// thread's if this one died without a word.
///
/// ```
/// struct Runtime;
///
/// impl needm::Hooks for Runtime {
///     type Local = u64;
///     fn m_new(&self, m: &needm::M) -> Result<Option<&'static u64>, needm::Refused> {
///         if m.id() > 2 { Err(needm::Refused) } else { Ok(Some(Box::leak(Box::new(m.id())))) }
///     }
/// }
///
/// static RUNTIME: Runtime = Runtime;
/// needm::start_with(needm::Config::default(), &RUNTIME)?;
/// assert_eq!(needm::callback(|cx| cx.local::<Runtime>().copied())?, Some(1));
/// needm::stop()?;
/// let three = needm::Config { seed_ms: 3, ..needm::Config::default() };
/// assert_eq!(needm::start_with(three, &RUNTIME), Err(needm::Error::NoMemory));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Hooks: Sync + 'static {
    /// What each M carries.
    type Local: Sync + 'static;

    /// A new M exists; what it is to carry.
    ///
    /// # Errors
    /// [`Refused`] unmakes it again.
    fn m_new(&self, m: &M) -> Result<Option<&'static Self::Local>, Refused>;

    /// The M is about to be unmapped.
    fn m_free(&self, m: &M, local: Option<&'static Self::Local>) {
        let _ = (m, local);
    }

    /// This thread has just taken the M.
    fn minit(&self, m: &M, local: Option<&'static Self::Local>) {
        let _ = (m, local);
    }

    /// This thread is about to give the M back, or has died with it.
    fn unminit(&self, m: &M, local: Option<&'static Self::Local>) {
        let _ = (m, local);
    }

    /// Makes a thread that runs `start`; by default the C library does.
    ///
    /// # Errors
    /// The system's error number.
    fn thread_start(&self, start: Start) -> Result<(), i32> {
        start.by_the_c_library()
    }
}

/// What a new thread is to run: once, with [`Start::run`].
///
/// ```
/// struct Runtime;
///
/// impl needm::Hooks for Runtime {
///     type Local = ();
///     fn m_new(&self, _: &needm::M) -> Result<Option<&'static ()>, needm::Refused> {
///         Ok(None)
///     }
///     fn thread_start(&self, start: needm::Start) -> Result<(), i32> {
///         std::thread::spawn(move || start.run());
///         Ok(())
///     }
/// }
///
/// static RUNTIME: Runtime = Runtime;
/// needm::start_with(needm::Config::default(), &RUNTIME)?;
/// let (send, receive) = std::sync::mpsc::channel();
/// needm::spawn(move || send.send(42).expect("somebody waits"))?;
/// assert_eq!(receive.recv()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Start {
    main: ThreadMain,
    arg: *mut c_void,
}

// SAFETY: it is made to be run on another thread, which is all it can do there.
unsafe impl Send for Start {}

impl Start {
    /// Runs it; returns when the thread may end.
    ///
    /// ```
    /// struct Runtime;
    ///
    /// impl needm::Hooks for Runtime {
    ///     type Local = ();
    ///     fn m_new(&self, _: &needm::M) -> Result<Option<&'static ()>, needm::Refused> {
    ///         Ok(None)
    ///     }
    ///     fn thread_start(&self, start: needm::Start) -> Result<(), i32> {
    ///         std::thread::spawn(move || start.run());
    ///         Ok(())
    ///     }
    /// }
    ///
    /// static RUNTIME: Runtime = Runtime;
    /// needm::start_with(needm::Config::default(), &RUNTIME)?;
    /// let (send, receive) = std::sync::mpsc::channel();
    /// needm::spawn(move || send.send(42).expect("somebody waits"))?;
    /// assert_eq!(receive.recv()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run(self) {
        // SAFETY: `spawn` gave both, and `self` is used up.
        unsafe { (self.main)(self.arg) };
    }

    fn by_the_c_library(self) -> Result<(), i32> {
        // SAFETY: `spawn` gave both for a new thread, and `self` is used up.
        unsafe { os::thread::start(self.main, self.arg) }
    }
}

/// Starts the kernel with hooks. They belong to it until [`stop`].
///
/// # Errors
/// As for [`start`]; [`Error::NoMemory`] also if [`Hooks::m_new`] refuses the seed.
///
/// ```
/// struct Runtime;
///
/// impl needm::Hooks for Runtime {
///     type Local = u64;
///     fn m_new(&self, m: &needm::M) -> Result<Option<&'static u64>, needm::Refused> {
///         if m.id() > 2 { Err(needm::Refused) } else { Ok(Some(Box::leak(Box::new(m.id())))) }
///     }
/// }
///
/// static RUNTIME: Runtime = Runtime;
/// needm::start_with(needm::Config::default(), &RUNTIME)?;
/// assert_eq!(needm::callback(|cx| cx.local::<Runtime>().copied())?, Some(1));
/// needm::stop()?;
/// let three = needm::Config { seed_ms: 3, ..needm::Config::default() };
/// assert_eq!(needm::start_with(three, &RUNTIME), Err(needm::Error::NoMemory));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn start_with<H: Hooks>(config: Config, hooks: &'static H) -> Result<(), Error> {
    let mut settings = config.settings()?;
    settings.hooks = settings::Hooks {
        user: ptr::from_ref(hooks).cast_mut().cast(),
        kind: Some(TypeId::of::<H>()),
        m_new: Some(Thunks::<H>::m_new),
        m_free: Some(Thunks::<H>::m_free),
        minit: Some(Thunks::<H>::minit),
        unminit: Some(Thunks::<H>::unminit),
        thread_start: Some(Thunks::<H>::thread_start),
    };
    lifecycle::start(settings)
}

/// The value that `m` carries for hooks of this type, if the kernel was started with
/// such.
pub(super) fn local<H: Hooks>(m: &M) -> Option<&'static H::Local> {
    let same = state::settings().hooks().kind == Some(TypeId::of::<H>());
    // SAFETY: with hooks of this type, only `Thunks::m_new` has set it.
    if same { unsafe { m.local().cast::<H::Local>().as_ref() } } else { None }
}

struct Thunks<H>(PhantomData<H>);

impl<H: Hooks> Thunks<H> {
    unsafe fn both<'a>(user: *mut c_void, m: *const M) -> (&'static H, &'a M) {
        // SAFETY: `start_with` gave `user`; the kernel gives a live M.
        unsafe { (&*user.cast::<H>(), &*m) }
    }

    unsafe extern "C" fn m_new(user: *mut c_void, m: *const M) -> c_int {
        // SAFETY: as the kernel calls it.
        let (hooks, m) = unsafe { Self::both(user, m) };
        match hooks.m_new(m) {
            Ok(local) => {
                m.set_local(local.map_or(ptr::null_mut(), |l| ptr::from_ref(l).cast_mut().cast()));
                0
            }
            Err(Refused) => -1,
        }
    }

    unsafe extern "C" fn m_free(user: *mut c_void, m: *const M) {
        // SAFETY: as the kernel calls it.
        let (hooks, m) = unsafe { Self::both(user, m) };
        hooks.m_free(m, local::<H>(m));
    }

    unsafe extern "C" fn minit(user: *mut c_void, m: *const M) {
        // SAFETY: as the kernel calls it.
        let (hooks, m) = unsafe { Self::both(user, m) };
        hooks.minit(m, local::<H>(m));
    }

    unsafe extern "C" fn unminit(user: *mut c_void, m: *const M) {
        // SAFETY: as the kernel calls it.
        let (hooks, m) = unsafe { Self::both(user, m) };
        hooks.unminit(m, local::<H>(m));
    }

    unsafe extern "C" fn thread_start(
        user: *mut c_void,
        main: ThreadMain,
        arg: *mut c_void,
    ) -> c_int {
        // SAFETY: `start_with` gave `user`.
        let hooks = unsafe { &*user.cast::<H>() };
        hooks.thread_start(Start { main, arg }).map_or_else(|errno| errno, |()| 0)
    }
}

/// Stops the kernel and undoes all that it did: handlers, keys, mappings. Threads may
/// hold Ms outside callbacks; a signal stack that another live thread still has stays
/// mapped until that thread ends.
///
/// # Errors
/// [`Error::NotStarted`]; [`Error::Busy`] while a callback runs or the world is stopped.
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
    lifecycle::stop()
}
