// SPDX-License-Identifier: MIT OR Apache-2.0
//! Deferred functions that are taken back, so that they do not run.
//!
//! Which one it is, its place says, where only needm writes: the host's record, which may be an old one, only
//! leads there. One that is taken back keeps its place, as those of inner callbacks do theirs behind it, until it
//! is the last one of the innermost callback.
//!
//! A handler may do all of this at any point here, and in `defer.rs`: one step takes it back, and the places of
//! the last ones are given back only where no code is about to use the one behind them.
//!
//! # Safety
//! As many have been kept for a segment, from its first place on, as it says.
#![allow(unsafe_code)] // places of deferred functions

use crate::error::Error;
use crate::m::M;
use crate::pool;
use crate::reconcile;
use crate::segment::Segment;
use crate::thread_record::Thread;
use crate::tls::Tls;
use core::iter::successors;
use core::ptr;

/// Where a deferred function is kept, as the host's record says: the address of its M, and its number there.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    m: usize,
    index: usize,
}

impl Kept {
    pub(crate) fn at((m, index): (&M, usize)) -> Self {
        Self { m: address_of(m), index }
    }
}

/// Takes back what this thread has deferred with `record`, which says that it is `kept` there.
pub(crate) fn take_back(record: usize, kept: Kept) -> Result<(), Error> {
    let tls = Tls::current();
    let innermost = reconcile::current_segment(tls);
    let thread = tls.thread().ok_or(Error::Invalid)?;
    let m = pool::held_from(Thread::held(thread), thread).find(|m| address_of(m) == kept.m);
    let m = m.ok_or(Error::Invalid)?;
    let has_it = |inner: &&Segment| {
        let first = inner.first_deferred();
        (first..first + inner.deferred()).contains(&kept.index)
    };
    let segment = successors(m.segment(), |inner| inner.outer()).find(has_it);
    let segment = segment.ok_or(Error::Invalid)?;
    // SAFETY: it was kept for this segment, which says that it has it.
    if !unsafe { m.stack.take_back_deferred(kept.index, record) } {
        return Err(Error::Invalid);
    }
    if innermost.is_some_and(|(_, innermost)| ptr::eq(innermost, segment)) {
        give_back_places(m, segment);
    }
    Ok(())
}

/// Gives back the places of the last ones that were taken back, of the innermost callback.
fn give_back_places(m: &M, segment: &Segment) {
    // A handler without a callback of its own has interrupted what uses the place behind them.
    if segment.is_deferring() {
        return;
    }
    let first = segment.first_deferred();
    // SAFETY: it was kept for this segment, which says that it has it.
    let pending = |index: usize| unsafe { m.stack.deferred(first + index) }.is_some();
    let last = (0..segment.deferred()).rev().find(|index| pending(*index));
    segment.set_deferred(last.map_or(0, |last| last + 1), false);
}

fn address_of(m: &M) -> usize {
    ptr::from_ref(m).addr()
}
