// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting needm, stopping it, and what a forked child has to put right.
//!
//! Settings are written with the lock (`lifecycle_lock.rs`) while the gate is closed and no thread is
//! on the way in, and only read while needm is open.
//!
//! # Safety
//! Rows of the tables of Ms and of records are unmapped here alone: with the gate closed,
//! when no other live thread has a record, so that no pointer to a row is left.
#![allow(unsafe_code)] // the tables' ends

use crate::abandoned;
use crate::barrier;
use crate::callback::inside;
use crate::callback::inside::Mark;
use crate::error::Error;
use crate::gate;
use crate::gate::STOPPER_WAKE;
use crate::lifecycle_lock;
use crate::lifecycle_lock::{LifecycleGuard, Stage};
use crate::m::{M, MS};
use crate::os;
use crate::pool;
use crate::pool::EXTRA;
use crate::running;
use crate::settings::Settings;
use crate::spawn;
use crate::state::{EPOCH, OPEN, epoch_after, epoch_open, is_open, settings};
use crate::sync::{AtomicBool, Relaxed, SeqCst};
use crate::thread;
use crate::thread::{hook, reap};
use crate::thread_record::Thread;
use crate::tls::{INTERRUPTED, Tls};
use crate::tools;
use crate::waiting::Waiting;
use crate::world;

/// Whether the fork handler is registered; it cannot be taken back.
static FORK_HANDLER: AtomicBool = AtomicBool::new(false);

/// The lock, for this thread; before that, what a start or a stop has left that was jumped out of, or whose thread has
/// exited there, is put right.
fn lock(tls: &Tls, mark: &Mark) -> Option<LifecycleGuard> {
    // Where the host's call of needm is, which is further up.
    let at = tls.inside() & !INTERRUPTED;
    let is_left = |mark| inside::is_left_for_sure(tls, mark, at);
    let guard = LifecycleGuard::new(tls, mark.seal(), is_left)?;
    if guard.was_lost {
        running::reap_dead_owner();
    }
    if Stage::now() == Stage::Changing {
        undo_left(tls);
    }
    Some(guard)
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
        os::fork::on_child(forked);
        FORK_HANDLER.store(true, SeqCst);
    }
    let (tls, mark) = (Tls::current(), Mark::new());
    let _guard = lock(tls, &mark).ok_or(Error::Already)?;
    if is_open() {
        return Err(Error::Already);
    }
    Stage::Changing.set();
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
        undo(tls);
        return Err(error);
    }
    if settings().handles_signals() {
        os::fault::install(settings().catches_aborts());
        os::interrupt::install(checked.interrupt);
    }
    // The gate first: a thread that finds needm open may close it.
    gate::open_first(epoch_open());
    Stage::Started.set();
    OPEN.store(true, SeqCst);
    Ok(())
}

/// Stops needm and undoes all that it did.
pub(crate) fn stop() -> Result<(), Error> {
    let (tls, mark) = (Tls::current(), Mark::new());
    let _guard = begin_stop(tls, &mark)?;
    try_stop(tls, thread::record(tls)?)
}

/// Lets no callback begin but those inside others, waits until all are over, for at most `limit`
/// nanoseconds, and stops needm. If that takes longer, all callbacks may begin again.
pub(crate) fn stop_within(limit: u64) -> Result<(), Error> {
    let (tls, mark) = (Tls::current(), Mark::new());
    let _guard = begin_stop(tls, &mark)?;
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
fn begin_stop(tls: &Tls, mark: &Mark) -> Result<LifecycleGuard, Error> {
    let refused = || if is_open() { Error::Busy } else { Error::NotStarted };
    if Stage::now() == Stage::Stopped {
        return Err(Error::NotStarted);
    }
    if hook::calls(tls) || crate::reconcile::is_inside_for_sure(tls) {
        return Err(Error::Busy);
    }
    abandoned::undo_left_change(tls);
    let guard = lock(tls, mark).ok_or_else(refused)?;
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
        !reap::any_waits() && !EXTRA.any_in_transfer() && !reap::any_in_transfer()
    });
    if !settled && (EXTRA.any_in_transfer() || reap::any_in_hook()) {
        OPEN.store(true, SeqCst);
        return Err(Error::Busy);
    }
    Stage::Changing.set();
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
    if !live && !MS.iter().any(pool::is_left_behind) {
        EXTRA.forget_rows();
        // SAFETY: the gate is closed, no thread waits, and no live thread's block
        // leads to an M, nor does code that was left behind. No thread is about to offer something to a new one: that counts as a
        // change of records, for which `thread::stop` has waited.
        unsafe {
            MS.clear();
            spawn::forget_rows();
        }
    }
    Stage::Stopped.set();
}

/// Undoes what a start did that was jumped out of, or the last part of a stop did not come to. needm is not open, and no
/// thread has bound an M in that start, or none is in use any more.
fn undo_left(tls: &Tls) {
    // The start may have opened it.
    gate::close();
    world::give_up_left(tls);
    undo(tls);
    // A handler that was installed, and not noted yet; or noted no more, and still installed.
    os::fault::agree_with_memory();
}

/// In the child of a fork, from the C library: this thread is the only one.
extern "C" fn forked() {
    let (tls, mark) = (Tls::current(), Mark::new());
    let before = inside::begin(tls, &mark);
    fork_child();
    // No callback ends here: the C library is in its fork.
    tls.set_inside(before);
}

/// In the child of a fork: this thread is the only one. Inside needm.
pub(crate) fn fork_child() {
    if !os::fork::EXIST {
        return;
    }
    os::last_error::keeping(|| {
        let tls = Tls::current();
        os::exit::note_new_process();
        os::fault::agree_with_memory();
        os::interrupt::fork_child();
        let goes_on = lifecycle_lock::fork_child(tls);
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
            // Another thread was about to start needm, or to undo its start. The next start or stop goes on with that:
            // this may be a handler, over a callback that leads to a record or an M.
            return;
        }
        // The child has them in its memory, but not what was sent with them.
        MS.iter().for_each(M::forget_requests);
        let own = tls.thread();
        if own.is_some_and(Thread::is_in_transfer) || reap::any_is_dismantled() {
            EXTRA.rebuild_around(own);
        } else {
            EXTRA.rebuild(own);
        }
    });
}
