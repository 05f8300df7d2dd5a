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

use crate::error::Error;
use crate::m::M;
use crate::os;
use crate::pool;
use crate::pool::EXTRA;
use crate::segment_end::drop_segment;
use crate::state;
use crate::sync::{Relaxed, SeqCst, compiler_fence};
use crate::thread;
use crate::thread_record::Thread;
use crate::tls::Tls;
use core::iter::successors;
use core::ptr;

mod acquire;
mod change;
mod epochs;

pub(crate) use change::{Change, begin_change, end_change};
pub(crate) use epochs::{allow_fast_path, bound_epoch_for, epoch_of};

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

/// Unbinds this thread's current M.
#[inline(never)] // one place from which the host is called: tests/nosplit/lists.rs
pub(crate) fn dropm(tls: &Tls, m: &M) {
    if pool::is_left_behind(m) {
        return;
    }
    let change = begin_change(tls);
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
    end_change(tls, change, None);
    // This was a handler's callback. The callback which that handler has interrupted may have been
    // asked to end meanwhile.
    let asked = |m: &M| m.segment().is_some_and(|segment| segment.request.is_posted());
    if thread.is_some() && tls.m().is_some_and(asked) {
        os::interrupt::send_here();
    }
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
