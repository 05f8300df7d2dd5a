//! Starting, stopping and forking the kernel; its settings; what it counts.
//!
//! Settings are written under [`LIFECYCLE`] while the gate is closed and nobody is
//! on the way in, and only read while the kernel is open.
#![allow(unsafe_code)] // the settings' cell

use core::cell::UnsafeCell;
use core::ptr;

use spin::{Mutex, MutexGuard};

use crate::error::Error;
use crate::extra::EXTRA;
use crate::m::MS;
use crate::os::{host, thread as system};
use crate::settings::Settings;
use crate::signal::chain;
use crate::spawn;
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Relaxed, SeqCst};
use crate::thread;
use crate::tls::Tls;
use crate::tools;
use crate::unwind::RAISED;
use crate::world;

/// Held by who starts or stops the kernel. Never waited for: who finds it taken
/// has lost, and is told so.
static LIFECYCLE: Mutex<()> = Mutex::new(());
/// The thread-local block of who holds it. A forked child without that thread takes it away.
static HOLDER: AtomicUsize = AtomicUsize::new(0);

/// Whether callbacks are let in, or about to be.
static OPEN: AtomicBool = AtomicBool::new(false);
/// How often the kernel has been started.
static EPOCH: AtomicU32 = AtomicU32::new(0);
/// Whether the fork handler is registered; it cannot be taken back.
static FORK_HANDLER: AtomicBool = AtomicBool::new(false);

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

/// The gate's value while the gate of this start of the kernel is open.
pub(crate) fn gate_of(epoch: u32) -> u32 {
    epoch << 1
}

fn epoch_open() -> u32 {
    gate_of(epoch())
}

/// That this thread, and no other, starts or stops the kernel.
struct Only {
    _lock: MutexGuard<'static, ()>,
}

impl Only {
    fn new(tls: &Tls) -> Option<Self> {
        let lock = LIFECYCLE.try_lock()?;
        HOLDER.store(ptr::from_ref(tls).addr(), SeqCst);
        Some(Self { _lock: lock })
    }

    /// In a forked child: whether this thread starts or stops the kernel. Nobody else does.
    fn fork_child(tls: &Tls) -> bool {
        let is_own = HOLDER.load(SeqCst) == ptr::from_ref(tls).addr();
        if !is_own && LIFECYCLE.is_locked() {
            // SAFETY: whoever locked it does not exist here. (Nothing is protected that a
            // handler could need which forks between this thread's locking and saying so.)
            unsafe { LIFECYCLE.force_unlock() };
        }
        is_own
    }
}

impl Drop for Only {
    fn drop(&mut self) {
        HOLDER.store(0, SeqCst);
    }
}

/// Starts the kernel.
pub(crate) fn start(asked: Settings) -> Result<(), Error> {
    let checked = asked.checked()?;
    // Twice, if two are here at once, does no harm.
    if !FORK_HANDLER.load(SeqCst) {
        host::at_fork_in_child(fork_child);
        FORK_HANDLER.store(true, SeqCst);
    }
    let _only = Only::new(Tls::current()).ok_or(Error::Already)?;
    if is_open() {
        return Err(Error::Already);
    }
    // SAFETY: this is the only starter, and nobody reads while not open.
    let own = unsafe { &mut *SETTINGS.0.get() };
    *own = checked;
    own.enters_with_fence = !system::register_barrier();
    tools::begin();
    // First: a thread that was on its way in an earlier start of the kernel goes by the
    // number, and then counts on the rest.
    thread::start();
    let epoch = EPOCH.load(Relaxed).wrapping_add(1).max(1);
    EPOCH.store(epoch, SeqCst);
    if let Err(error) = EXTRA.seed(settings().seed_ms) {
        EXTRA.end();
        thread::stop(Tls::current());
        return Err(error);
    }
    if settings().handles_signals() {
        chain::install();
    }
    // The gate first: who finds the kernel open may close it.
    world::open(epoch_open());
    OPEN.store(true, SeqCst);
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
    let _only = Only::new(tls).ok_or(Error::Busy)?;
    if !is_open() {
        return Err(Error::NotStarted);
    }
    // Nobody else stops the world, or has it stopped.
    if spawn::is_under_way() || !world::take_for_good(thread::known(tls)?) {
        return Err(Error::Busy);
    }
    let ended = close_for_good(tls);
    if ended.is_err() {
        world::open(epoch_open());
        world::release_the_world();
    }
    ended
}

/// With the world taken: ends this start of the kernel and releases the world, unless a
/// callback is under way.
fn close_for_good(tls: &Tls) -> Result<(), Error> {
    world::close();
    thread::reclaim_all();
    if MS.iter().any(|m| world::in_callback(m) || m.is_running()) {
        return Err(Error::Busy);
    }
    OPEN.store(false, SeqCst);
    world::heavy_barrier(); // the other side of `Thread::begin_taking`
    // Ms that are being taken or given back just now, and threads that wait for one: they
    // meet the closed gate, and are done in a moment. Who never comes back from there
    // (C has jumped out of a handler that was on its way) is not waited for for ever;
    // an M that such a thread keeps on the list cannot be unmade.
    let settled = thread::until(|| {
        EXTRA.wake_all();
        world::wake_all();
        EXTRA.waiting() == 0 && !EXTRA.is_any_on_its_way() && !thread::is_any_on_its_way()
    });
    if !settled && EXTRA.is_any_on_its_way() {
        OPEN.store(true, SeqCst);
        return Err(Error::Busy);
    }
    // Who takes it now finds the kernel stopped.
    world::release_the_world();
    undo(tls);
    Ok(())
}

/// With the gate closed, nobody waiting, and no M in use: undoes what a start did.
fn undo(tls: &Tls) {
    chain::uninstall();
    let live = thread::stop(tls);
    EXTRA.end();
    if !live {
        EXTRA.forget_rows();
        // SAFETY: the gate is closed, nobody waits, and no live thread's block
        // leads to an M.
        unsafe { MS.clear() };
    }
}

/// In the child of a fork: this thread is the only one.
pub(crate) extern "C" fn fork_child() {
    host::keeping_errno(|| {
        let tls = Tls::current();
        chain::fork_child();
        if Only::fork_child(tls) && !is_open() {
            return; // it goes on in a moment
        }
        world::fork_child();
        spawn::fork_child();
        thread::fork_child(tls);
        if !is_open() {
            // Another thread was about to start the kernel, or to undo its start.
            return undo(tls);
        }
        // Unless a handler has interrupted what goes on with the list in a moment: then what
        // others held stays theirs.
        let own = tls.thread();
        if own.is_none_or(|own| !own.is_on_its_way()) {
            EXTRA.rebuild(own);
        }
    });
}

/// What the kernel has made and counted.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// needm::callback(|_| ())?;
/// let stats = needm::stats();
/// assert_eq!((stats.ms_total, stats.ms_bound, stats.ms_idle), (2, 1, 1)); // and a spare
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
///
/// ```
/// # needm::start(needm::Config::default())?;
/// needm::callback(|_| ())?;
/// let stats = needm::stats();
/// assert_eq!((stats.ms_total, stats.ms_bound, stats.ms_idle), (2, 1, 1)); // and a spare
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
