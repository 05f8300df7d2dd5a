// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting needm, stopping it, and what a forked child has to put right.
//!
//! Settings are written under [`LIFECYCLE`] while the gate is closed and no thread is
//! on the way in, and only read while needm is open.
//!
//! # Safety
//! Rows of the tables of Ms and of records are unmapped here alone: with the gate closed,
//! when no other live thread has a record, so that no pointer to a row is left.
#![allow(unsafe_code)] // the tables' ends

use crate::barrier;
use crate::error::Error;
use crate::gate;
use crate::gate::STOPPER_WAKE;
use crate::m::{M, MS};
use crate::os;
use crate::pool::EXTRA;
use crate::settings::Settings;
use crate::spawn;
use crate::state::{EPOCH, OPEN, epoch_after, epoch_open, is_open, settings};
use crate::sync::{AtomicBool, AtomicUsize, Relaxed, SeqCst};
use crate::thread;
use crate::thread::reap;
use crate::thread_record::Thread;
use crate::tls::Tls;
use crate::tools;
use crate::waiting::Waiting;
use crate::world;
use core::ptr;
use spin::Mutex;
use spin::MutexGuard;

/// Held by the thread that starts or stops needm. No thread waits for it: one that finds it held
/// returns an error.
static LIFECYCLE: Mutex<()> = Mutex::new(());

/// The thread-local block of the thread that holds it. A forked child without that thread unlocks
/// it.
static HOLDER: AtomicUsize = AtomicUsize::new(0);

/// Whether the fork handler is registered; it cannot be taken back.
static FORK_HANDLER: AtomicBool = AtomicBool::new(false);

/// Proof that this thread, and no other, starts or stops needm.
struct LifecycleGuard {
    _lock: MutexGuard<'static, ()>,
}

impl LifecycleGuard {
    /// The guard, unless another thread has it.
    pub(crate) fn new(tls: &Tls) -> Option<Self> {
        let lock = LIFECYCLE.try_lock()?;
        HOLDER.store(ptr::from_ref(tls).addr(), SeqCst);
        Some(Self { _lock: lock })
    }

    /// In a forked child: whether this thread starts or stops needm. No other does.
    pub(crate) fn fork_child(tls: &Tls) -> bool {
        let is_own = HOLDER.load(SeqCst) == ptr::from_ref(tls).addr();
        if !is_own && LIFECYCLE.is_locked() {
            // SAFETY: the thread that locked it does not exist here. Or this is a handler of that
            // thread, which forks between the lock and the store to `HOLDER`: nothing that the
            // lock protects has been changed by then.
            unsafe { LIFECYCLE.force_unlock() };
        }
        is_own
    }
}

impl Drop for LifecycleGuard {
    fn drop(&mut self) {
        HOLDER.store(0, SeqCst);
    }
}

/// Starts needm.
pub(crate) fn start(asked: Settings) -> Result<(), Error> {
    os::memory::ask_page_size();
    os::thread::note_first_stack();
    let checked = asked.checked()?;
    os::process::can_unwind().map_err(|why| {
        os::last_error::set(why);
        Error::System
    })?;
    // If two threads are here at once it is registered twice, which does no harm.
    if !FORK_HANDLER.load(SeqCst) {
        os::fork::on_child(fork_child);
        FORK_HANDLER.store(true, SeqCst);
    }
    let _guard = LifecycleGuard::new(Tls::current()).ok_or(Error::Already)?;
    if is_open() {
        return Err(Error::Already);
    }
    settings().set(&checked);
    os::spare_calls(checked.spares_calls);
    barrier::begin();
    tools::begin();
    // Before the new epoch: a thread that is still entering from an earlier start reads the epoch,
    // and then relies on this.
    thread::start();
    let epoch = epoch_after(EPOCH.load(Relaxed), checked.leaves_fp_control);
    EPOCH.store(epoch, SeqCst);
    if let Err(error) = EXTRA.seed(checked.seed_ms) {
        EXTRA.end();
        thread::stop(Tls::current());
        os::memory::unmap_spare_room();
        return Err(error);
    }
    if settings().handles_signals() {
        os::fault::install(settings().catches_aborts());
        os::interrupt::install(checked.interrupt);
    }
    // The gate first: a thread that finds needm open may close it.
    gate::open_first(epoch_open());
    OPEN.store(true, SeqCst);
    Ok(())
}

/// Stops needm and undoes all that it did.
pub(crate) fn stop() -> Result<(), Error> {
    let tls = Tls::current();
    let _guard = begin_stop(tls)?;
    try_stop(tls, thread::record(tls)?)
}

/// Lets no callback begin but those inside others, waits until all are over, for at most `limit`
/// nanoseconds, and stops needm. If that takes longer, all callbacks may begin again.
pub(crate) fn stop_within(limit: u64) -> Result<(), Error> {
    let tls = Tls::current();
    let _guard = begin_stop(tls)?;
    let own = thread::record(tls)?;
    if gate::owns_the_world() {
        return Err(Error::Busy);
    }
    gate::begin_closing();
    EXTRA.wake_all();
    let mut waiting = Waiting::begin();
    let stopped = loop {
        let seen = STOPPER_WAKE.load(SeqCst);
        // An attempt closes the gate for a moment, which keeps the callbacks under way from their
        // end if it comes too early.
        let stopped = if world::is_quiet() { try_stop(tls, own) } else { Err(Error::Busy) };
        if stopped != Err(Error::Busy) {
            break stopped;
        }
        let Some(nap) = waiting.nap(Some(limit), CLOSING_NAP) else { break stopped };
        waiting.sleep(&STOPPER_WAKE, seen, nap);
    };
    gate::end_closing();
    stopped
}

/// The longest sleep of [`stop_within`], in nanoseconds: a thread that is spawned, or that starts
/// the world, does not wake it.
const CLOSING_NAP: u64 = 1_000_000;

/// Before a stop: nothing refuses it that waiting would not change.
fn begin_stop(tls: &Tls) -> Result<LifecycleGuard, Error> {
    if !is_open() {
        return Err(Error::NotStarted);
    }
    if crate::reconcile::is_inside_for_sure(tls) {
        return Err(Error::Busy);
    }
    let guard = LifecycleGuard::new(tls).ok_or(Error::Busy)?;
    if is_open() { Ok(guard) } else { Err(Error::NotStarted) }
}

/// Stops needm, if that is possible now.
fn try_stop(tls: &Tls, own: &Thread) -> Result<(), Error> {
    // No other thread stops the world, or has it stopped.
    if spawn::is_under_way(tls) || !world::acquire_world_to_stop(own) {
        return Err(Error::Busy);
    }
    let stopped = close_and_stop(tls);
    if stopped.is_err() {
        gate::open();
        gate::release_world();
    }
    stopped
}

/// For the owner of the world: stops needm and gives up the world, unless a callback is under
/// way.
fn close_and_stop(tls: &Tls) -> Result<(), Error> {
    gate::close();
    reap::reap_all();
    if MS.iter().any(world::is_in_use) {
        return Err(Error::Busy);
    }
    OPEN.store(false, SeqCst);
    if spawn::is_under_way(tls) {
        // It has found needm open, and reads the settings.
        OPEN.store(true, SeqCst);
        return Err(Error::Busy);
    }
    barrier::heavy_barrier(); // the other side of `Thread::begin_transfer`
    // Threads that are binding or unbinding an M just now, or wait for one, meet the closed gate
    // and are done in a moment. A thread that never gets there (C has jumped out of a handler in
    // the middle) is not waited for for ever; but an M that stays bound this way cannot be unmade,
    // nor one that a hook of the host's is at work on.
    let settled = thread::wait_until(|| {
        EXTRA.wake_all();
        gate::wake_all();
        EXTRA.waiting() == 0 && !EXTRA.any_in_transfer() && !reap::any_in_transfer()
    });
    if !settled && (EXTRA.any_in_transfer() || reap::any_in_hook()) {
        OPEN.store(true, SeqCst);
        return Err(Error::Busy);
    }
    // A thread that acquires the world now finds needm stopped.
    gate::release_world();
    undo(tls);
    Ok(())
}

/// With the gate closed, no thread waiting, and no M in use: undoes what a start did.
fn undo(tls: &Tls) {
    os::fault::uninstall();
    os::interrupt::uninstall();
    let live = thread::stop(tls);
    EXTRA.end();
    os::memory::unmap_spare_room();
    if !live {
        EXTRA.forget_rows();
        // SAFETY: the gate is closed, no thread waits, and no live thread's block
        // leads to an M. No thread is about to offer something to a new one: that counts as a
        // change of records, for which `thread::stop` has waited.
        unsafe {
            MS.clear();
            spawn::forget_rows();
        }
    }
}

/// In the child of a fork: this thread is the only one.
pub(crate) extern "C" fn fork_child() {
    if !os::fork::EXIST {
        return;
    }
    os::last_error::keeping(|| {
        let tls = Tls::current();
        os::exit::note_new_process();
        os::fault::fork_child();
        os::interrupt::fork_child();
        let goes_on = LifecycleGuard::fork_child(tls);
        if goes_on && !is_open() {
            return; // this thread forked within `start` or `stop`, which goes on
        }
        if !goes_on {
            gate::end_closing();
        }
        world::fork_child();
        spawn::fork_child(tls);
        thread::fork_child(tls);
        if !is_open() {
            // Another thread was about to start needm, or to undo its start.
            return undo(tls);
        }
        // The child has them in its memory, but not what was sent with them.
        MS.iter().for_each(M::forget_requests);
        match tls.thread() {
            Some(own) if own.is_in_transfer() => EXTRA.rebuild_around(own),
            own => EXTRA.rebuild(own),
        }
    });
}
