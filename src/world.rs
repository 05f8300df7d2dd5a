//! The world gate: stopping all callback code, and letting it go on.
//!
//! The gate is one 32-bit word: twice the number of the kernel's start, plus one
//! while the gate is closed. Who comes in says "running" in its M and then reads
//! the gate; who closes the gate and then reads each M either sees that, or has
//! the entry see the closed gate. That is a store and a load that
//! must not pass each other on both sides. The closing side pays for both with
//! `membarrier`, a barrier on every running thread; where the system has none,
//! entries go by the slow path, which has a fence ([`order`], `needm::pass`).
//!
//! Leaving is the same: "running" is withdrawn, then the gate is read; whoever finds
//! it closed wakes the stopper. Two more barriers on the closing side, once all Ms are
//! at rest and before the gate is opened, order what callback code reads and writes
//! against what is done in the stopped world; the assembly's way in and out has none.
#![allow(unsafe_code)] // the gate is defined in assembly, and segments are on stacks

use core::ffi::c_int;
use core::ptr;

use crate::arch::needm_gate;
use crate::callback;
use crate::ccall;
use crate::error::Error;
use crate::extra;
use crate::m::{M, MS, Segment};
use crate::os::thread as system;
use crate::runtime;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, Relaxed, SeqCst, compiler_fence, fence};
use crate::thread::{self, Thread};
use crate::tls::Tls;
use crate::tools;

const CLOSED: u32 = 1;

/// Changes when the world is given up: what stoppers sleep on until their turn.
static TURN: AtomicU32 = AtomicU32::new(0);
/// The thread that stops the world, has it stopped, or starts it: its handlers' callbacks
/// pass the gate as its own do. Who ends as the owner is owner no more: [`disown`].
static OWNER: AtomicPtr<Thread> = AtomicPtr::new(ptr::null_mut());
/// Whether the owner is about to stop the kernel: then its handlers' callbacks are refused.
static FOR_GOOD: AtomicBool = AtomicBool::new(false);
/// The owner's callback in which it has stopped the world, if it was in one.
static STOPPED_IN: AtomicPtr<Segment> = AtomicPtr::new(ptr::null_mut());
/// Changes when a thread leaves while the gate is closed: what a stopper sleeps on.
static LEFT: AtomicU32 = AtomicU32::new(0);

/// How long one sleep is at most, so that nothing depends on a single wake-up.
const LOOK_AGAIN: u64 = 10_000_000;

fn gate() -> &'static AtomicU32 {
    // SAFETY: defined in arch/<arch>/tls.S, aligned, and all of it atomic.
    unsafe { &needm_gate.value }
}

/// The gate's value now.
pub(crate) fn value() -> u32 {
    gate().load(SeqCst)
}

/// Whether a gate's value is one that lets nobody in.
pub(crate) fn is_closed(value: u32) -> bool {
    value & CLOSED != 0
}

/// Opens the gate for the first time of a start.
pub(crate) fn open(value: u32) {
    tools::release(tools::Order::Started);
    gate().store(value, SeqCst);
    wake_all();
}

/// Has everybody who waits at the gate look again: it is open, or the kernel is stopped.
pub(crate) fn wake_all() {
    system::wake(gate(), u32::MAX >> 1);
}

/// Closes the gate; when this returns, every thread that is running says so.
pub(crate) fn close() {
    gate().fetch_or(CLOSED, SeqCst);
    fence(SeqCst);
    heavy_barrier();
}

/// The other side of [`order`], and of every plain store before a look elsewhere.
pub(crate) fn heavy_barrier() {
    if !runtime::settings().enters_with_fence() {
        system::barrier();
    }
}

/// Between a plain store and a look at what another thread wrote ("running" and the
/// gate, an M given back and the waiters): ordered by that thread's
/// [`heavy_barrier`], or by a fence.
pub(crate) fn order() {
    if runtime::settings().enters_with_fence() {
        fence(SeqCst);
    } else {
        compiler_fence(SeqCst);
    }
}

/// Says that `m` runs, once the gate lets it. False if the kernel was stopped.
///
/// Must not be called with the G's stack in use below the segment's `gsp`: it
/// may sleep here while a collector reads that stack.
pub(crate) fn enter(m: &M) -> bool {
    m.set_running(true);
    order();
    let entered = !is_closed(value()) || enter_closed(m);
    tools::acquire(tools::Order::Started);
    entered
}

#[cold]
fn enter_closed(m: &M) -> bool {
    if owns_the_world() {
        return !FOR_GOOD.load(SeqCst) || {
            leave(m);
            false
        };
    }
    // Callback code that this thread's handler has interrupted does not run while
    // the handler waits here, and its stopper must not wait for it.
    let interrupted = || {
        core::iter::successors(m.below(), |below| below.below()).filter(|below| below.is_inside())
    };
    let was_running = interrupted().filter(|below| below.is_running()).count();
    let mark = |running| interrupted().take(was_running).for_each(|m| m.set_running(running));
    loop {
        let seen = value();
        if !is_closed(seen) {
            mark(true);
            m.set_running(true);
            order();
            if value() == seen {
                return true;
            }
        }
        mark(false);
        leave(m);
        if !runtime::is_open() {
            mark(true);
            return false;
        }
        look_after_the_owner();
        let _ = system::wait(gate(), seen | CLOSED, Some(LOOK_AGAIN));
    }
}

/// Says that `m` runs no callback code.
pub(crate) fn leave(m: &M) {
    tools::release(tools::Order::Left);
    m.set_running(false);
    order();
    if is_closed(value()) {
        left();
    }
}

/// Wakes the stopper. `needm_left` for assembly.
pub(crate) extern "C" fn left() {
    LEFT.fetch_add(1, SeqCst);
    system::wake(&LEFT, u32::MAX >> 1);
}

/// Whether this thread has the world stopped: it may go on running callbacks.
pub(crate) fn owns_the_world() -> bool {
    Tls::current().thread().is_some_and(is_owner)
}

fn is_owner(thread: &Thread) -> bool {
    ptr::eq(OWNER.load(SeqCst), thread)
}

/// Makes `own` the owner, if there is none.
fn take_the_world(own: &Thread) -> bool {
    let own = ptr::from_ref(own).cast_mut();
    OWNER.compare_exchange(ptr::null_mut(), own, SeqCst, SeqCst).is_ok()
}

/// As [`take_the_world`], to stop the kernel.
pub(crate) fn take_for_good(own: &Thread) -> bool {
    look_after_the_owner();
    let taken = take_the_world(own);
    if taken {
        FOR_GOOD.store(true, SeqCst);
    }
    taken
}

/// Lets another thread own the world.
pub(crate) fn release_the_world() {
    FOR_GOOD.store(false, SeqCst);
    STOPPED_IN.store(ptr::null_mut(), SeqCst);
    OWNER.store(ptr::null_mut(), SeqCst);
    TURN.fetch_add(1, SeqCst);
    system::wake(&TURN, u32::MAX >> 1);
}

/// `thread` has ended, or is about to: what it has stopped goes on.
pub(crate) fn disown(thread: &Thread) {
    if is_owner(thread) {
        go_on();
    }
}

/// Looks whether the owner has ended without a word.
fn look_after_the_owner() {
    // SAFETY: records stay mapped while a thread that has one may look at others; who
    // wants the world has one.
    if let Some(owner) = unsafe { OWNER.load(SeqCst).as_ref() } {
        thread::notice_end_of(owner);
    }
}

/// The callback of `segment` is unwound, or was jumped out of. If it has stopped the
/// world, nobody else is left who would start it again.
pub(crate) fn unwound(segment: &Segment) {
    if ptr::eq(STOPPED_IN.load(SeqCst), segment) && owns_the_world() {
        go_on();
    }
}

/// The callback of `segment` returns. If it has stopped the world, it leaves it so, and it
/// is its caller's to start.
pub(crate) fn returned(segment: &Segment) {
    if ptr::eq(STOPPED_IN.load(SeqCst), segment) && owns_the_world() {
        STOPPED_IN.store(segment.prev.load(Relaxed), SeqCst);
    }
}

/// Waits until nobody but this thread runs callback code; the gate is closed.
fn wait_until_quiet(own: &Thread) {
    for m in MS.iter().filter(|m| !ptr::eq(own, m.thread.load(SeqCst))) {
        loop {
            let seen = LEFT.load(SeqCst);
            if !m.is_running() {
                break;
            }
            // A thread that died in a callback, or had jumped out of one, says nothing.
            // SAFETY: as in `look_after_the_owner`.
            if let Some(thread) = unsafe { m.thread.load(SeqCst).as_ref() } {
                thread::notice_end_of(thread);
            }
            let _ = system::wait(&LEFT, seen, Some(LOOK_AGAIN));
        }
    }
}

/// Whether this M has callbacks under way, not counting one being entered.
pub(crate) fn in_callback(m: &M) -> bool {
    extra::is_ready(m) && m.is_inside()
}

/// Runs `work` with this thread counted as out: on its system stack, all its
/// registers on the G's, if it runs callback code now.
fn parked(mut work: impl FnMut()) {
    match callback::running_segment(Tls::current()) {
        Some((m, segment)) => ccall::on_g0(m, segment, &mut work),
        None => work(),
    }
}

/// See [`crate::stop_the_world`].
pub(crate) fn stop() -> Result<(), Error> {
    if !runtime::is_open() {
        return Err(Error::NotStarted);
    }
    if owns_the_world() {
        return Err(Error::Already);
    }
    let tls = Tls::current();
    let own = thread::known(tls)?;
    // While it waits for its turn, this thread must not keep another stopper
    // waiting for it.
    if !take_the_world(own) {
        parked(|| {
            loop {
                let turn = TURN.load(SeqCst);
                if take_the_world(own) {
                    break;
                }
                look_after_the_owner();
                let _ = system::wait(&TURN, turn, Some(LOOK_AGAIN));
            }
        });
    }
    if !runtime::is_open() {
        release_the_world();
        return Err(Error::NotStarted);
    }
    if let Some((m, segment)) = callback::current_segment(tls) {
        // So that its plain return is noticed.
        m.soil();
        STOPPED_IN.store(ptr::from_ref(segment).cast_mut(), SeqCst);
    }
    close();
    wait_until_quiet(own);
    heavy_barrier();
    tools::acquire(tools::Order::Left);
    Ok(())
}

/// See [`crate::Stopped`].
pub(crate) fn start() -> Result<(), Error> {
    if !owns_the_world() {
        return Err(Error::Invalid);
    }
    go_on();
    Ok(())
}

fn go_on() {
    heavy_barrier();
    open(value() & !CLOSED);
    release_the_world();
}

/// See [`crate::safepoint`].
pub(crate) fn safepoint() {
    if !is_closed(gate().load(Relaxed)) || owns_the_world() {
        return;
    }
    // Going out and coming in again is what stops.
    parked(|| ());
}

/// See [`crate::Stopped::each_m`]. From a callback the visits are made from the system
/// stack, so that this M too has its registers where the others have theirs.
pub(crate) fn each_m(mut visit: impl FnMut(&M, usize, usize) -> c_int) -> Result<c_int, Error> {
    if !owns_the_world() {
        return Err(Error::Invalid);
    }
    let mut answer = 0;
    parked(|| {
        let visits =
            MS.iter().filter(|m| in_callback(m)).map(|m| visit(m, live_from(m), m.stack.hi()));
        answer = visits.into_iter().find(|answer| *answer != 0).unwrap_or(0);
    });
    Ok(answer)
}

/// The lowest address that may be in use on the stack of an M that does not run. Of
/// callback code that a handler has interrupted nobody knows where it is: all of it.
fn live_from(m: &M) -> usize {
    match m.segment().map_or(0, |inner| inner.gsp.load(SeqCst)) {
        0 => m.stack.lo(),
        gsp => gsp,
    }
}

/// In a forked child: nobody else has the world stopped, nor starts or stops the kernel.
pub(crate) fn fork_child() {
    if !OWNER.load(SeqCst).is_null() && !owns_the_world() {
        OWNER.store(ptr::null_mut(), SeqCst);
        STOPPED_IN.store(ptr::null_mut(), SeqCst);
        FOR_GOOD.store(false, SeqCst);
        gate().fetch_and(!CLOSED, SeqCst);
    }
    if !runtime::is_open() {
        gate().fetch_or(CLOSED, SeqCst);
    }
}
