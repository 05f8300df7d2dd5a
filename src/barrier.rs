// SPDX-License-Identifier: MIT OR Apache-2.0
//! The asymmetric fence: two threads that each store one word and then load the other's.
//!
//! A callback stores one word and then loads a second one. A thread that stops the world, or
//! waits for an M, stores the second word and then loads the first. At least one of the two
//! must see the other's store. Callbacks are frequent and have no fence; the rare side runs a
//! barrier on all threads. Where the system has no such barrier, both sides have a fence.
//!
//! The system may refuse the barrier later, when a sandbox is put up. Then all threads change to
//! fences: the gate's value gets the bit [`FENCED`], which no thread has in its copy of it, so that
//! each callback takes the slow path. Callbacks that are on a fast path just then have no fence.
//! The rare side outlasts them: it sleeps for much longer than a processor keeps a store to itself.
//!
//! # Safety
//! The gate is a static that assembly defines, of atomics only, and is never unmapped.
#![allow(unsafe_code)] // a word that is defined in assembly

use crate::arch::needm_gate;
use crate::os::barrier;
use crate::os::wait::wait;
use crate::sync::{AtomicU32, Relaxed, SeqCst, compiler_fence, fence};

/// The bit of the gate's value that forbids the fast paths.
pub(crate) const FENCED: u32 = 2;

/// How the two sides are ordered.
static MODE: AtomicU32 = AtomicU32::new(BY_FENCES);

/// Both sides have a fence.
const BY_FENCES: u32 = 0;
/// The rare side runs the system's barrier.
const BY_BARRIER: u32 = 1;
/// Both sides have a fence, and the system refuses its barrier since this start of needm.
const REFUSED: u32 = 2;

/// How long the rare side sleeps in place of a barrier that is refused, in nanoseconds. Stores
/// leave a processor within a microsecond.
const OUTLASTING: u64 = 50_000;

/// The same for the first time, when threads are on the fast paths.
const OUTLASTING_FAST_PATHS: u64 = 5_000_000;

/// Finds out what the system has. Only for `lifecycle::start`, before the gate is opened.
pub(crate) fn begin() {
    let has_barrier = barrier::register() && barrier::run();
    MODE.store(if has_barrier { BY_BARRIER } else { BY_FENCES }, SeqCst);
}

/// Whether each callback has a fence of its own.
pub(crate) fn enters_with_fence() -> bool {
    MODE.load(Relaxed) != BY_BARRIER
}

/// The rare side, between its store and its load. Orders the store and the load of every other
/// thread as well: those around [`order`], and those of the fast path. Does nothing where the
/// other side has had a fence all along.
pub(crate) fn heavy_barrier() {
    match MODE.load(SeqCst) {
        BY_BARRIER if barrier::run() => {}
        BY_BARRIER => {
            MODE.store(REFUSED, SeqCst);
            forbid_fast_paths();
            fence(SeqCst);
            sleep(OUTLASTING_FAST_PATHS);
        }
        REFUSED => {
            // The thread that has learned of it may not have come so far yet.
            forbid_fast_paths();
            sleep(OUTLASTING);
        }
        _ => {}
    }
}

/// Keeps all threads off the fast paths if the barrier is refused. After each store to the gate's
/// value, because it may undo what [`heavy_barrier`] has done on another thread.
pub(crate) fn forbid_fast_paths() {
    if MODE.load(SeqCst) == REFUSED {
        // SAFETY: defined in arch/<arch>/tls.S, aligned, and all of it atomic.
        unsafe { &needm_gate.value }.fetch_or(FENCED, SeqCst);
    }
}

fn sleep(nanos: u64) {
    let never = AtomicU32::new(0);
    wait(&never, 0, Some(nanos));
    fence(SeqCst);
}

/// The frequent side, between its store and its load ("running" and the gate; an unbound M and
/// the number of waiters). A fence, or an order for the compiler alone where the other side has
/// [`heavy_barrier`].
pub(crate) fn order() {
    if enters_with_fence() {
        // model: a_gate_without_a_fence
        fence(SeqCst);
    } else {
        compiler_fence(SeqCst);
    }
}
