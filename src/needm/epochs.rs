// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which fast paths a thread's callbacks may take: what `tls.rs` keeps, to be compared with the gate's value.

use crate::barrier;
use crate::m::M;
use crate::pool::unbinds_on_exit;
use crate::state;
use crate::sync::Relaxed;
use crate::thread_record::Thread;
use crate::tls::Tls;
use crate::tools;

/// The gate's value for which `m`, bound to `thread`, is allowed the bound fast path; 0 if it is
/// not. If needm was stopped since `m` was made, the gate has another value by now.
pub(crate) fn bound_epoch_for(thread: &Thread, m: &M) -> u32 {
    if unbinds_on_exit(m) || !fast_path_allowed(thread) {
        return 0;
    }
    // If a handler has bound it, the stack of the code that it has interrupted was not known then.
    thread.note_known_stack(m);
    gate_of(m)
}

/// Allows the current M, `m`, on which no callback is under way, the bound fast path, if it may take it.
pub(crate) fn allow_fast_path(tls: &Tls, m: &M) {
    if let Some(thread) = tls.thread() {
        tls.set_bound_epoch(bound_epoch_for(thread, m));
    }
}

/// As [`bound_epoch_for`], while a callback may be under way on `m`.
pub(crate) fn epoch_of(thread: &Thread, m: &M) -> u32 {
    if unbinds_on_exit(m) || !fast_path_allowed(thread) { 0 } else { gate_of(m) }
}

/// The gate's value while it is open in the start of needm in which `m` was made.
fn gate_of(m: &M) -> u32 {
    state::gate_of(m.epoch.load(Relaxed))
}

/// The gate's value for which this thread is allowed the rebind fast path; 0 if it is not.
pub(super) fn rebind_epoch_for(thread: &Thread, m: &M) -> u32 {
    let settings = state::settings();
    let hooks = settings.hooks();
    let plain = hooks.minit.is_none() && hooks.unminit.is_none() && !settings.scrubs_stacks();
    if plain && settings.binds_calls() && fast_path_allowed(thread) { gate_of(m) } else { 0 }
}

/// Whether a callback needs no fence, no check of the handler stack, and no report to a sanitizer.
pub(super) fn fast_path_allowed(thread: &Thread) -> bool {
    !barrier::enters_with_fence()
        && !thread.ready.needs_checks()
        && !thread.ready.blocks_faults()
        && thread.notice.is_settled()
        && !tools::WATCH_SWITCHES
}
