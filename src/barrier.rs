//! The order between a plain store of one thread and what another then sees.
//!
//! Threads that call back often store a word and then look at another one; a thread that
//! stops the world, or waits for an M, does it the other way round. The two must not pass
//! each other. The rare side runs a barrier on all threads; where the system has none, both
//! sides have a fence.

use crate::os::barrier;
use crate::state;
use crate::sync::{SeqCst, compiler_fence, fence};

/// The other side of [`order`], and of every plain store before a look elsewhere.
pub(crate) fn heavy_barrier() {
    if !state::settings().enters_with_fence() {
        barrier::run();
    }
}

/// Between a plain store and a look at what another thread wrote ("running" and the
/// gate, an M given back and the waiters): ordered by that thread's
/// [`heavy_barrier`], or by a fence.
pub(crate) fn order() {
    if state::settings().enters_with_fence() {
        // model: a_gate_without_a_fence
        fence(SeqCst);
    } else {
        compiler_fence(SeqCst);
    }
}
