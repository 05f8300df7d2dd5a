// SPDX-License-Identifier: MIT OR Apache-2.0
//! A change of which Ms a thread holds, and what is left of one that a handler has jumped out of.
//!
//! From before an M is claimed until a callback begins on it, and from before a callback's end until its M is
//! free, the M's thread says so in its record. Marks inside needm (`callback/inside.rs`) tell a later
//! call whether the code that said so goes on. If it does not, the M may be bound and not be published, or be
//! published with no callback whose end unbinds it: `undo_left_change` (`abandoned.rs`) unbinds it.
//!
//! The rebind fast path has no time to say so. It is forbidden during a change; but a callback that began on it before
//! may come to its end after one that was left. So nothing is undone in a handler, which may have interrupted
//! that path, with an M that only looks left.

use crate::m::M;
use crate::needm::epochs::{fast_path_allowed, rebind_epoch_for};
use crate::pool::is_temporary;
use crate::thread_record::Thread;
use crate::tls::Tls;

/// What [`end_change`] puts back.
#[derive(Clone, Copy)]
pub(crate) struct Change {
    thread: &'static Thread,
    rebind_epoch: u32,
}

/// This thread begins to bind an M or to unbind one. `None` if it is in a change already, which may be that
/// of code that a handler has interrupted; or if no later call could tell that it was left.
pub(crate) fn begin_change(tls: &Tls) -> Option<Change> {
    let thread = tls.thread().filter(|_| tls.inside() != 0)?;
    let rebind_epoch = tls.rebind_epoch();
    if thread.is_in_change() {
        return None;
    }
    // First: a handler that jumps away in between leaves a thread that takes the slow path once.
    tls.set_rebind_epoch(0);
    thread.mark_change();
    Some(Change { thread, rebind_epoch })
}

/// The change is over. `bound`: the M that it has bound, on which a callback runs by now, or which stays.
pub(crate) fn end_change(tls: &Tls, change: Option<Change>, bound: Option<&M>) {
    let Some(Change { thread, rebind_epoch }) = change else { return };
    thread.unmark_change();
    let epoch = match bound.filter(|m| !is_temporary(m)) {
        Some(m) => rebind_epoch_for(thread, m),
        None if fast_path_allowed(thread) => rebind_epoch,
        None => 0,
    };
    tls.set_rebind_epoch(epoch);
}
