// SPDX-License-Identifier: MIT OR Apache-2.0
//! needm and dropm: binds an M to this thread, and unbinds it.
//!
//! The M is published as needm's last step and withdrawn as dropm's first. So a signal
//! handler that calls back in between sees a thread without an M, and binds another, on top
//! of what is bound to the thread. The end of the handler's callback unbinds that one again, unless C has
//! jumped out of it: then a later call of needm's does (`abandoned.rs`).
//!
//! The rebind fast path is in `arch/<arch>/entry.S`. It does the same steps in the same order, for
//! the M that this thread had last, if binding it takes no hook, no check and no fence: `tls.rs`
//! says when that is so.
//!
//! # Safety
//! Pointers to Ms lead to rows of a table. `needm_stop` unmaps no row while any record is live or
//! being dismantled (`lifecycle.rs`). A thread that calls a function here has a live record. An M
//! that assembly passes is from such a record, too.
#![allow(unsafe_code)] // an M from assembly

use crate::barrier;
use crate::error::Error;
use crate::m::M;
use crate::os;
use crate::pool;
use crate::pool::{EXTRA, is_temporary, unbinds_on_exit};
use crate::segment_end::drop_segment;
use crate::state;
use crate::sync::{Relaxed, SeqCst, compiler_fence};
use crate::thread;
use crate::thread_record::Thread;
use crate::tls::Tls;
use crate::tools;
use core::iter::successors;
use core::ptr;

mod acquire;

crate::arch::upcalls! {
    "needm_dropm" => dropm_rebound,
}

/// This thread's M, unless it is of an earlier start of needm: then its row is still reserved for
/// this thread, but is no M any more.
pub(crate) fn current(tls: &Tls) -> Option<&'static M> {
    let thread = tls.thread()?;
    tls.m().filter(|m| pool::is_held_by(m, thread))
}

/// Why an M is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// For a callback.
    Callback,
    /// For a callback, which can do without another M.
    Fiber,
    /// For the thread, by `attach`.
    Attach,
}

/// Binds an M to this thread, and publishes it in the place of the current one: `seen`, if there is one.
/// `None` if that is no longer so, because a handler has called back, and C has jumped out of the callback:
/// the caller looks again what this thread is inside. Callbacks come from about `at`.
#[inline(never)] // as for `dropm`
pub(crate) fn needm(
    tls: &Tls,
    want: Want,
    seen: Option<&M>,
    at: usize,
) -> Result<Option<&'static M>, Error> {
    loop {
        let thread = thread::ready_record(tls, at, want != Want::Attach)?;
        let was_in_transfer = thread.begin_transfer();
        let taken = match thread.is_current_epoch() {
            Some(true) => acquire_m(tls, thread, want, seen).map(Some),
            Some(false) => Ok(None),
            None => Err(Error::NotStarted),
        };
        if let Ok(Some(Acquired::Fresh(m))) = taken
            && state::settings().hooks().minit.is_some()
        {
            thread.in_hook(true, || state::settings().hooks().minit(m));
        }
        thread.end_transfer(was_in_transfer);
        match taken? {
            Some(Acquired::Bound(m)) => return Ok(Some(m)),
            Some(Acquired::Left) => return Ok(None),
            Some(Acquired::Fresh(m))
                if tls.publish(m.prev_current(), Some(m), bound_epoch_for(thread, m)) =>
            {
                if !is_temporary(m) {
                    tls.set_rebind_epoch(rebind_epoch_for(thread, m));
                }
                return Ok(Some(m));
            }
            // A handler has published another M.
            Some(Acquired::Fresh(m)) => thread.unhold(m),
            None => {}
        }
    }
}

#[derive(Clone, Copy)]
enum Acquired {
    Fresh(&'static M),
    /// A handler has called back meanwhile, and its M is still bound to this thread.
    Bound(&'static M),
    /// So is its callback's record, out of which C has jumped.
    Left,
}

fn acquire_m(
    tls: &Tls,
    thread: &'static Thread,
    want: Want,
    seen: Option<&M>,
) -> Result<Acquired, Error> {
    loop {
        let mut current = tls.m();
        if let Some(stale) = current.filter(|m| !pool::is_held_by(m, thread)) {
            tls.publish(Some(stale), None, 0);
            current = None;
        }
        if let Some(bound) = current.filter(|m| m.segment().is_none()) {
            return Ok(Acquired::Bound(bound));
        }
        if current.map(ptr::from_ref) != seen.map(ptr::from_ref) {
            return Ok(Acquired::Left);
        }
        // Read after `current`, because an M is bound before it is published. In the other order,
        // a handler in between could bind an M that is seen as published but not as bound.
        compiler_fence(SeqCst);
        let held = thread.held().filter(|m| pool::is_held_by(m, thread));
        let per_call = want == Want::Callback && state::settings().binds_calls();
        let again = if per_call && held.is_none() { EXTRA.rebind(thread) } else { None };
        let m = match again {
            Some(m) => m,
            None => EXTRA.acquire(thread, held.is_some(), want != Want::Fiber)?,
        };
        if state::settings().scrubs_stacks() {
            m.scrub_for(ptr::from_ref(thread).cast_mut().cast());
        }
        if let Some(current) = current {
            // The callback there may come to its end while `m` is bound: it was the callback of a handler, or of a
            // fiber, that was left.
            pool::keep_off_rebind_path(current);
        }
        m.prev_current
            .store(current.map_or(ptr::null_mut(), |m| ptr::from_ref(m).cast_mut()), Relaxed);
        m.prev_bound_epoch.store(tls.bound_epoch(), Relaxed);
        if thread.hold(tls, m, held, current).is_ok() {
            return Ok(Acquired::Fresh(m));
        }
        // A handler has called back since, and its M is bound now.
        EXTRA.release(m);
    }
}

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
pub(crate) fn gate_of(m: &M) -> u32 {
    state::gate_of(m.epoch.load(Relaxed))
}

/// The gate's value for which this thread is allowed the rebind fast path; 0 if it is not.
fn rebind_epoch_for(thread: &Thread, m: &M) -> u32 {
    let settings = state::settings();
    let hooks = settings.hooks();
    let plain = hooks.minit.is_none() && hooks.unminit.is_none() && !settings.scrubs_stacks();
    if plain && settings.binds_calls() && fast_path_allowed(thread) { gate_of(m) } else { 0 }
}

/// Whether a callback needs no fence, no check of the handler stack, and no report to a sanitizer.
fn fast_path_allowed(thread: &Thread) -> bool {
    !barrier::enters_with_fence()
        && !thread.ready.needs_checks()
        && !thread.ready.blocks_faults()
        && thread.notice.is_settled()
        && !tools::WATCH_SWITCHES
}

/// Unbinds this thread's current M.
#[inline(never)] // one place from which the host is called: tests/nosplit/lists.rs
pub(crate) fn dropm(tls: &Tls, m: &M) {
    let epoch = if m.prev_current().is_some() { m.prev_bound_epoch.load(Relaxed) } else { 0 };
    if !tls.publish(Some(m), m.prev_current(), epoch) {
        // A handler has left an M on it.
        let on_m = |above: &&M| above.prev_current().is_some_and(|below| ptr::eq(below, m));
        if let Some(above) = successors(tls.m(), |m| m.prev_current()).find(on_m) {
            above.prev_current.store(m.prev_current.load(Relaxed), Relaxed);
            above.prev_bound_epoch.store(epoch, Relaxed);
        }
    }
    let thread = tls.thread();
    // Also where there is no hook: `needm_stop` waits for threads that say this, so the M stays
    // mapped if needm is still open afterwards.
    let was_in_hook =
        thread.map(|thread| thread.begin_hook(state::settings().hooks().unminit.is_some()));
    // If needm is being stopped and does not wait for this M, the M may be unmapped by now.
    let stays = state::is_open() || pool::unbinds_on_exit(m);
    if stays {
        // What C has jumped out of, a handler's also of the last moment.
        while let Some(left) = m.segment() {
            drop_segment(m, left);
        }
        state::settings().hooks().unminit(m);
    }
    if let Some((thread, was_in_hook)) = thread.zip(was_in_hook) {
        thread.end_hook(was_in_hook);
    }
    match thread.filter(|_| stays) {
        Some(thread) => thread.return_m(m),
        None if stays => EXTRA.release(m),
        None => {}
    }
    // This was a handler's callback. The callback which that handler has interrupted may have been
    // asked to end meanwhile.
    let asked = |m: &M| m.segment().is_some_and(|segment| segment.request.is_posted());
    if thread.is_some() && tls.m().is_some_and(asked) {
        os::interrupt::send_here();
    }
}

/// From `needm_entry`, rebind path, where assembly cannot unbind the M by its one store: the gate
/// has closed meanwhile, or the M is not on the list, and only a push brings it back there, or a handler has
/// left a callback, on it or on an M that it has bound meanwhile.
extern "C" fn dropm_rebound(m: *const M) {
    // SAFETY: assembly has just bound this M to this thread, so its row is mapped.
    let (tls, m) = (Tls::current(), unsafe { &*m });
    let left = || {
        let thread = tls.thread()?;
        thread.held().filter(|left| !ptr::eq(*left, m) && pool::is_held_by(left, thread))
    };
    if tls.m().is_some_and(|current| ptr::eq(current, m))
        && m.prev_current().is_none()
        && let Some(left) = left()
    {
        // It was published before `m` was, in its place.
        m.prev_bound_epoch.store(0, Relaxed);
        m.prev_current.store(ptr::from_ref(left).cast_mut(), Relaxed);
    }
    dropm(tls, m);
}

impl Thread {
    /// Notes that `m` is bound to this thread now, unless a handler has bound an M since `held` and
    /// `current` were read.
    pub(crate) fn hold(
        &self,
        tls: &Tls,
        m: &'static M,
        held: Option<&'static M>,
        current: Option<&'static M>,
    ) -> Result<(), ()> {
        let held = held.map_or(ptr::null_mut(), |m| ptr::from_ref(m).cast_mut());
        let fresh = ptr::from_ref(m).cast_mut();
        if !held.is_null() {
            // It may have been given back from below others that handlers had left.
            self.unchain(m, ptr::null_mut());
        }
        m.prev_held.store(held, Relaxed);
        self.note_known_stack(m);
        compiler_fence(SeqCst);
        self.m.store(fresh, Relaxed);
        compiler_fence(SeqCst);
        // Not before: a handler that finds no M bound to this thread binds one, which is its last one then,
        // and `m`, which may have been that, becomes nobody's.
        m.thread.store(ptr::from_ref(self).cast_mut().cast(), Relaxed);
        compiler_fence(SeqCst);
        // A handler before that store may have bound an M, which is published now. A handler after
        // it has seen `m`, has bound one on top, and has unbound that again, unless it was left.
        let now = tls.m();
        if now.map(ptr::from_ref) != current.map(ptr::from_ref) {
            self.m.store(now.map_or(held, |now| ptr::from_ref(now).cast_mut()), Relaxed);
            self.unchain(m, held);
            m.prev_held.store(ptr::null_mut(), Relaxed);
            m.prev_current.store(ptr::null_mut(), Relaxed);
            m.thread.store(ptr::null_mut(), Relaxed);
            return Err(());
        }
        // `last` is the M to rebind. If another M is bound below this one, that stays bound for
        // longer, and is the last one.
        if held.is_null() {
            // Two steps will do: a handler that calls back in between finds `m` bound, and binds
            // its own M on top, for which it does not come here.
            let before = self.last.load(Relaxed);
            self.last.store(fresh, Relaxed);
            // SAFETY: only rows of the table of Ms are ever stored there, which are
            // unmapped only if no record is live; this thread's is.
            if let Some(before) = unsafe { before.as_ref() }.filter(|b| !ptr::eq(*b, m)) {
                EXTRA.release_last(before, self);
            }
        }
        Ok(())
    }

    /// Unbinds `m`, which was bound and not published, unless needm was stopped meanwhile, and it is none any
    /// more.
    fn unhold(&self, m: &'static M) {
        if pool::is_held_by(m, self) {
            self.return_one(m);
        }
    }
}
