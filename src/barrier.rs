//! (to be written)
#![allow(unsafe_code)]

use crate::os::thread as system;
use crate::state;
use crate::sync::{SeqCst, compiler_fence, fence};

/// The other side of [`order`], and of every plain store before a look elsewhere.
pub(crate) fn heavy_barrier() {
    if !state::settings().enters_with_fence() {
        system::barrier();
    }
}

/// Between a plain store and a look at what another thread wrote ("running" and the
/// gate, an M given back and the waiters): ordered by that thread's
/// [`heavy_barrier`], or by a fence.
pub(crate) fn order() {
    if state::settings().enters_with_fence() {
        fence(SeqCst);
    } else {
        compiler_fence(SeqCst);
    }
}
