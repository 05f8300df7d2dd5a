// SPDX-License-Identifier: MIT OR Apache-2.0
//! On which M a callback goes that takes the slow path, and where on its G.
//!
//! # Where a nested callback goes
//! | the thread is | the new segment goes |
//! | --- | --- |
//! | in C that a callback called | below the saved stack pointer of the stack that it called from |
//! | on the G itself, or on a further stack (`stacks.rs`) | below the caller's frame there |
//! | elsewhere, while callback code runs | on another M's G: how deep this one is in use is not known |
//!
//! The last is a signal handler on a signal stack, or a fiber.

use crate::abandoned;
use crate::error::Error;
use crate::fibers;
use crate::gate;
use crate::m::M;
use crate::needm;
use crate::needm::{Change, Want};
use crate::segment::{IN_DOUBT, Segment};
use crate::sync::Relaxed;
use crate::thread;
use crate::thread_record::Thread;
use crate::tls::Tls;
use core::iter::successors;

/// So many Ms of other fibers are looked at before another is bound for one.
const MOST_LOOKED_AT: usize = 8;

/// Where a callback goes: its M, below which address its G is free, the segment around it.
pub(super) struct Place {
    pub(super) m: &'static M,
    pub(super) below: usize,
    pub(super) outer: Option<&'static Segment>,
    /// The M was bound for this callback.
    pub(super) bound_here: bool,
    /// The caller is known to be no handler on a signal stack.
    pub(super) is_known: bool,
    /// The M was bound by this change, which is over once the callback has begun.
    pub(super) change: Option<Change>,
}

/// The same as [`find_place`], for a callback that has a frame to copy, and else would take the bound path:
/// under the conditions of that, there is nothing to find.
pub(super) fn plain_place(tls: &Tls, at: usize) -> Option<Place> {
    let m = tls.m().filter(|_| tls.bound_epoch() == gate::value())?;
    (m.is_idle() && m.known.holds(at)).then(|| Place { is_known: true, ..Place::base(m, false) })
}

/// Where the callback goes that is made at `at`. What was jumped out of is dropped already. `None` if a
/// handler has left more of that meanwhile. `trusts`: where no M is left for a fiber, the callback nests.
pub(super) fn find_place(tls: &Tls, at: usize, trusts: bool) -> Result<Option<Place>, Error> {
    let seen = needm::current(tls);
    if let Some(m) = seen {
        recheck_handler_stack(tls, m, at)?;
        let Some(segment) = m.segment() else {
            if m.prev_current().is_some() {
                abandoned::drop_gone_fiber(tls, 1);
            }
            if let Some(thread) = tls.thread().filter(|_| !m.known.holds(at)) {
                // It comes from elsewhere than the last one. Or the M is kept off the fast paths, for
                // the callback that is over: `interrupt.rs`.
                thread.note_known_stack(m);
            }
            return Ok(Some(Place::base(m, false)));
        };
        let outer = Some(segment);
        if m.holds(at) {
            // Callback code runs there, below all segments: nothing is in use below `at`.
            let below = at;
            return Ok(Some(Place {
                m,
                below,
                outer,
                bound_here: false,
                is_known: false,
                change: None,
            }));
        }
        let gsp = segment.gsp.load(Relaxed);
        // Of a stack that the host has not declared, it is not known how much is left.
        if m.holds(gsp) {
            return in_c(tls, m, segment, at, trusts);
        }
    }
    bind(tls, Want::Callback, seen, at)
}

/// Binds an M for the callback.
fn bind(tls: &Tls, want: Want, seen: Option<&M>, at: usize) -> Result<Option<Place>, Error> {
    thread::record(tls)?;
    let change = needm::begin_change(tls);
    let bound = needm::needm(tls, want, seen, at);
    if !matches!(bound, Ok(Some(_))) {
        needm::end_change(tls, change, None);
    }
    Ok(bound?.map(|m| Place { change, ..Place::base(m, true) }))
}

/// Where the callback goes that C at `at` makes, while the innermost callback of the current M, `m`, is
/// in C: below that, if it is the C that this one has called.
fn in_c(
    tls: &Tls,
    m: &'static M,
    segment: &'static Segment,
    at: usize,
    trusts: bool,
) -> Result<Option<Place>, Error> {
    let below = |m: &'static M, segment: &'static Segment| {
        let below = segment.gsp.load(Relaxed);
        Ok(Some(Place {
            m,
            below,
            outer: Some(segment),
            bound_here: false,
            is_known: false,
            change: None,
        }))
    };
    if !segment.is(IN_DOUBT) && fibers::is_its_c(tls, m, segment, at) {
        return below(m, segment);
    }
    if let Some(other) = fibers::whose_c(m, at)
        && let Some(segment) = other.segment()
    {
        fibers::make_current(tls, other);
        return below(other, segment);
    }
    abandoned::drop_gone_fiber(tls, MOST_LOOKED_AT);
    match bind(tls, Want::Fiber, needm::current(tls), at) {
        // None is left: this fiber's callback has to end before the other goes on.
        Err(Error::TimedOut | Error::NoMemory) if trusts => below(m, segment),
        other => other,
    }
}

impl Place {
    /// For the outermost callback of an M.
    fn base(m: &'static M, bound_here: bool) -> Self {
        Self { m, below: m.stack.top(), outer: None, bound_here, is_known: false, change: None }
    }
}

/// Checks a handler stack that has to be checked: also if the thread may have changed it, because a
/// callback is made at `at`, which is on a stack that is not known.
fn recheck_handler_stack(tls: &Tls, m: &M, at: usize) -> Result<(), Error> {
    let to_check = |thread: &&Thread| {
        let known = m.holds(at) || thread.ready.knows(at);
        !known || thread.ready.needs_checks() || !thread.notice.is_settled()
    };
    let Some(thread) = tls.thread().filter(to_check) else { return Ok(()) };
    let known = thread.ready.known();
    thread::prepare(tls, thread, at, true)?;
    if thread.ready.known() != known {
        // Not known any more: what the Ms have that are to go on, on other stacks.
        successors(tls.m(), |m| m.prev_current()).for_each(|m| m.known.len.store(0, Relaxed));
    }
    if !thread.ready.needs_checks() && m.segment().is_none() {
        tls.set_bound_epoch(needm::bound_epoch_for(thread, m));
    }
    Ok(())
}
