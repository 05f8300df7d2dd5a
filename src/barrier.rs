//! The asymmetric fence: two threads that each store one word and then load the other's.
//!
//! A callback stores one word and then loads a second one. A thread that stops the world, or
//! waits for an M, stores the second word and then loads the first. At least one of the two
//! must see the other's store. Callbacks are frequent and have no fence; the rare side runs a
//! barrier on all threads. Where the system has no such barrier, both sides have a fence.

use crate::os::barrier;
use crate::state;
use crate::sync::{SeqCst, compiler_fence, fence};

/// The rare side, between its store and its load. Orders the store and the load of every other
/// thread as well: those around [`order`], and those of the fast path. Does nothing where the
/// other side has a fence.
pub(crate) fn heavy_barrier() {
    if !state::settings().enters_with_fence() {
        barrier::run();
    }
}

/// The frequent side, between its store and its load ("running" and the gate; an unbound M and
/// the number of waiters). A fence, or an order for the compiler alone where the other side has
/// [`heavy_barrier`].
pub(crate) fn order() {
    if state::settings().enters_with_fence() {
        fence(SeqCst);
    } else {
        compiler_fence(SeqCst);
    }
}
