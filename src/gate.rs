// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gate: one word that every callback reads on its way in and out, and the thread that
//! owns the world while the gate is closed.
//!
//! The word is four times the epoch (the number of needm's last start), plus one while the gate is
//! closed, plus two while the fast paths are forbidden (`barrier.rs`, [`begin_closing`]).
//! `world.rs` explains how callbacks and the closing thread agree.
//!
//! # Safety
//! Assembly defines the word; it is an atomic and lives as long as the program.
#![allow(unsafe_code)] // a word that is defined in assembly

use crate::arch::needm_gate;
use crate::barrier::{FENCED, forbid_fast_paths, heavy_barrier};
use crate::os::wait::wake;
use crate::segment::Segment;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, Relaxed, SeqCst, fence};
use crate::thread_record::Thread;
use crate::tls::Tls;
use crate::tools;
use core::ptr;

/// The bit of the gate that says it is closed.
pub(crate) const CLOSED: u32 = 1;

/// Changes when an owner gives up the world. Stoppers sleep on it until their turn.
pub(crate) static TURN: AtomicU32 = AtomicU32::new(0);

/// The thread that is stopping the world, has it stopped, or is starting it. Its callbacks pass
/// the closed gate, and so do those of its signal handlers. [`disown`] clears it if the owner
/// exits.
pub(crate) static OWNER: AtomicPtr<Thread> = AtomicPtr::new(ptr::null_mut());

/// Whether the owner is about to stop needm: then the callbacks of its handlers are refused.
pub(crate) static STOPPING: AtomicBool = AtomicBool::new(false);

/// The callback in which the owner has stopped the world; null if it was in none.
pub(crate) static STOPPED_IN: AtomicPtr<Segment> = AtomicPtr::new(ptr::null_mut());

/// How often the world was stopped. Two words, the lower one first: one alone comes to an old number again.
static STOPS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];

/// Changes when a thread stops running callback code while the gate is closed. The stopper
/// sleeps on it.
pub(crate) static STOPPER_WAKE: AtomicU32 = AtomicU32::new(0);

/// Whether needm is being stopped as soon as the callbacks under way are over: until then it is
/// open for callbacks inside those, and for no others.
static CLOSING: AtomicBool = AtomicBool::new(false);

/// The longest sleep, in nanoseconds, so that nothing depends on a single wake-up.
pub(crate) const MAX_SLEEP: u64 = 10_000_000;

/// The gate.
pub(crate) fn gate() -> &'static AtomicU32 {
    // SAFETY: defined in arch/<arch>/tls.S, aligned, and all of it atomic.
    unsafe { &needm_gate.value }
}

/// The gate's value now.
pub(crate) fn value() -> u32 {
    gate().load(SeqCst)
}

/// Whether a gate's value is one that lets no callback in.
pub(crate) fn is_closed(value: u32) -> bool {
    value & CLOSED != 0
}

/// Opens the gate with the value of a new start of needm.
pub(crate) fn open_first(value: u32) {
    tools::release(tools::Order::Started);
    gate().store(value, SeqCst);
    forbid_fast_paths();
    wake_all();
}

/// Opens the gate again, and wakes the threads that wait at it.
pub(crate) fn open() {
    tools::release(tools::Order::Started);
    gate().fetch_and(!CLOSED, SeqCst);
    // model: a_start_that_wakes_no_thread_at_the_gate
    wake_all();
}

/// Wakes the stopper.
pub(crate) fn wake_stopper() {
    STOPPER_WAKE.fetch_add(1, SeqCst);
    wake(&STOPPER_WAKE, u32::MAX >> 1);
}

/// Wakes all threads that wait at the gate, so that they look again: it is open, or needm is stopped.
pub(crate) fn wake_all() {
    wake(gate(), u32::MAX >> 1);
}

/// Closes the gate. When this returns, every M on which callback code still runs is seen to run.
pub(crate) fn close() {
    gate().fetch_or(CLOSED, SeqCst);
    fence(SeqCst);
    heavy_barrier();
}

/// From here on no callback begins but those inside a callback under way. When this returns, every
/// M on which another one has begun is seen to run.
///
/// No thread has the gate's value of now in its copy, so each callback takes the slow path, which
/// calls [`is_closing`], and each end of one on a fast path calls `needm_notify_stopper`.
pub(crate) fn begin_closing() {
    CLOSING.store(true, SeqCst);
    gate().fetch_or(FENCED, SeqCst);
    fence(SeqCst);
    heavy_barrier();
}

/// All callbacks may begin again.
pub(crate) fn end_closing() {
    CLOSING.store(false, SeqCst);
    gate().fetch_and(!FENCED, SeqCst);
    forbid_fast_paths();
}

/// Whether only callbacks inside others may begin.
pub(crate) fn is_closing() -> bool {
    CLOSING.load(SeqCst)
}

/// Whether a thread waits for callbacks to end.
pub(crate) fn is_awaited() -> bool {
    is_closed(value()) || is_closing()
}

/// Whether this thread owns the world: it may go on running callbacks.
pub(crate) fn owns_the_world() -> bool {
    Tls::current().thread().is_some_and(is_owner)
}

fn is_owner(thread: &Thread) -> bool {
    ptr::eq(OWNER.load(SeqCst), thread)
}

/// Makes `own` the owner, if there is none.
pub(crate) fn acquire_world(own: &Thread) -> bool {
    let own = ptr::from_ref(own).cast_mut();
    OWNER.compare_exchange(ptr::null_mut(), own, SeqCst, SeqCst).is_ok()
}

/// The number of this stop of the world. Only for the owner, which has just become that.
pub(crate) fn number_stop() -> u64 {
    let number = stop_number().wrapping_add(1);
    #[allow(clippy::cast_possible_truncation)] // its two halves
    let halves = [number as u32, (number >> 32) as u32];
    STOPS.iter().zip(halves).for_each(|(word, half)| word.store(half, Relaxed));
    number
}

/// The number of the stop that this thread, the owner, has begun last.
pub(crate) fn stop_number() -> u64 {
    let [low, high] = &STOPS;
    u64::from(high.load(Relaxed)) << 32 | u64::from(low.load(Relaxed))
}

/// Gives up the world, and wakes the threads that wait for their turn.
pub(crate) fn release_world() {
    STOPPING.store(false, SeqCst);
    STOPPED_IN.store(ptr::null_mut(), SeqCst);
    OWNER.store(ptr::null_mut(), SeqCst);
    TURN.fetch_add(1, SeqCst);
    // model: a_start_that_wakes_no_stopper
    wake(&TURN, u32::MAX >> 1);
}

/// `thread` exits, or has exited: starts the world if it is the owner.
pub(crate) fn disown(thread: &Thread) {
    if is_owner(thread) {
        reopen();
    }
}

/// A stop of `own`, this thread's record, was jumped out of: gives up the world, if that stop had it, or was about to
/// have it stopped. A thread that has stopped the world has the gate closed, and does not stop needm.
pub(crate) fn release_left(own: &Thread) {
    if is_owner(own) && (STOPPING.load(SeqCst) || !is_closed(value())) {
        reopen();
    }
}

/// The callback of `segment` is unwound, or was jumped out of. If it has stopped the world, this
/// starts the world, because no code is left that would.
pub(crate) fn unwound(segment: &Segment) {
    if ptr::eq(STOPPED_IN.load(SeqCst), segment) && owns_the_world() {
        reopen();
    }
}

/// The callback of `segment` returns. If it has stopped the world, the world stays stopped, and
/// the callback around it is the one that has to start it.
pub(crate) fn returned(segment: &Segment) {
    if ptr::eq(STOPPED_IN.load(SeqCst), segment) && owns_the_world() {
        STOPPED_IN.store(segment.prev.load(Relaxed), SeqCst);
    }
}

/// Opens the gate, and gives up the world.
pub(crate) fn reopen() {
    heavy_barrier();
    open();
    release_world();
}
