//! Starting and stopping.

use core::time::Duration;

use crate::error::Error;
use crate::lifecycle;
use crate::settings::Settings;

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
    /// A panic that no deferred function recovers prints a line and ends the process.
    pub unrecovered_aborts: bool,
    /// The longest wait when no M is free and none can be made; `None` is for ever.
    pub wait: Option<Duration>,
}

impl Config {
    pub(super) fn settings(&self) -> Result<Settings, Error> {
        // Zero says "for ever" further in, and no time at all is no wait to ask for.
        let wait = self.wait.map_or(Ok(0), |wait| {
            u64::try_from(wait.as_nanos()).ok().filter(|nanos| *nanos != 0).ok_or(Error::Invalid)
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
            wait_ns: wait?,
            ..Settings::DEFAULT
        })
    }
}

/// Starts needm without hooks; see [`Config`] for an example.
///
/// # Errors
/// [`Error::Already`]: it is started, or another thread is starting it right now.
/// [`Error::Invalid`]: `max_ms` below `seed_ms`, a wait of zero, sizes that no address
/// space holds. [`Error::NoMemory`]: the seed could not be mapped.
pub fn start(config: Config) -> Result<(), Error> {
    lifecycle::start(config.settings()?)
}

/// Stops needm and undoes all that it did: handlers, keys, mappings. Threads may
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
