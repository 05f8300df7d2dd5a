// SPDX-License-Identifier: MIT OR Apache-2.0
//! Further stacks: a callback continues on a stack of the host's, as coroutines, fibers and JITs
//! do. `part.rs` says which stack pointers are on it.
//!
//! The host says so, before or after it switches. From then on the callback has two stacks: the one
//! that it was on, to which the coroutine switches back, and the further one. needm knows the stack
//! pointer of the one that the callback is on. A visitor of the stopped world is shown all of the
//! other.
//!
//! | on a further stack | |
//! | --- | --- |
//! | a fault, a panic | the deferred functions run below the frame that raised it, on the further stack |
//! | it runs out | they run on the G's reserve |
//! | a callback inside | runs on the further stack, below the caller's frame |
//! | a ccall | goes to the thread's own stack, and comes back to the further one |
//!
//! # Safety
//! The host says that the bounds are a stack's, which stays mapped until it is left or the callback
//! is over, and that nothing but the callback runs there.

use crate::arch::needm_sp;
use crate::error::Error;
use crate::m::M;
use crate::needm;
use crate::os;
use crate::part::{Bounds, Entered, Part};
use crate::reconcile;
use crate::segment::Segment;
use crate::sync::{Relaxed, SeqCst, compiler_fence};
use crate::tls::Tls;
use core::ptr;

/// From here on the running callback continues on `[lo, hi)`: `needm_enter_stack`. Called on the
/// stack that it is on, or on the new one.
pub(crate) fn enter_stack(lo: usize, hi: usize) -> Result<Entered, Error> {
    let stack = Bounds { lo, hi };
    let (m, segment) = running_on(stack).ok_or(Error::Invalid)?;
    let may_be = lo != 0 && lo < hi && is_free(m, segment, stack);
    may_be.then_some(()).ok_or(Error::Invalid)?;
    // So that the fast path's return goes to Rust, which drops stacks that were not left.
    m.set_needs_cleanup();
    let part = m.next_part().ok_or(Error::NoMemory)?;
    let outer = m.part().map_or(ptr::null(), ptr::from_ref);
    loop {
        let entered = part.fill(stack, outer, segment, part.next_token());
        compiler_fence(SeqCst);
        m.part.store(ptr::from_ref(part).cast_mut(), SeqCst);
        compiler_fence(SeqCst);
        // From here on a handler's callback takes another record.
        if part.is(&entered) {
            os::thread::note_stack(needm_sp());
            return Ok(entered);
        }
        m.part.store(outer.cast_mut(), SeqCst);
    }
}

/// The running callback is back on the stack that it was on: `needm_leave_stack`.
pub(crate) fn leave_stack(entered: &Entered) -> Result<(), Error> {
    let (m, segment) = reconcile::running_segment(Tls::current()).ok_or(Error::Invalid)?;
    let matches = |part: &&Part| part.is(entered) && part.belongs_to(segment);
    let part = m.part().filter(matches).ok_or(Error::Invalid)?;
    let outer = part.outer().map_or(ptr::null(), ptr::from_ref);
    m.part.store(outer.cast_mut(), SeqCst);
    os::thread::note_stack(needm_sp());
    Ok(())
}

/// This thread's M and innermost segment, if callback code runs on its stacks here, or on one that
/// the host is just declaring.
fn running_on(stack: Bounds) -> Option<(&'static M, &'static Segment)> {
    let tls = Tls::current();
    let at = needm_sp();
    let known = reconcile::running_segment(tls);
    if known.is_some() || !stack.holds(at) {
        return known;
    }
    let m = needm::current(tls)?;
    let segment = m.segment().filter(|segment| segment.gsp.load(Relaxed) == 0)?;
    m.is_running().then_some((m, segment))
}

/// Whether a callback may continue on a stack: it overlaps no G of this thread's, and no caller waits
/// on it for a callback. It may be a further stack that this M has entered already, because
/// coroutines that switch to one another come back to theirs.
fn is_free(m: &M, innermost: &Segment, stack: Bounds) -> bool {
    let overlaps = |other: Bounds| stack != other && stack.overlaps(other);
    if m.parts().any(|part| overlaps(part.bounds())) {
        return false;
    }
    let mut held = Some(m);
    while let Some(m) = held {
        let (lo, hi) = m.stack.mapping();
        if stack.overlaps(Bounds { lo, hi }) {
            return false;
        }
        held = m.prev_current();
    }
    let mut segment = Some(innermost);
    while let Some(inner) = segment {
        let call = inner.call.load(Relaxed) as usize;
        if (stack.lo..stack.hi).contains(&call) && !m.holds(call) {
            return false;
        }
        segment = inner.outer();
    }
    true
}
