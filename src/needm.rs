//! needm and dropm: how a thread comes by an M and gives it back.
//!
//! needm, each step with its because:
//! 1. The thread's record, because a fault needs a signal stack and an end must
//!    be noticed from now on (`thread/`).
//! 2. An M from the extra list; from here on no other thread has it.
//! 3. The record says that it is held, because from here on the thread may end.
//! 4. The host's minit.
//! 5. Publish, last: a handler that calls back before this sees a thread without
//!    an M, or with the one it had, and borrows another.
//!
//! dropm is the same reversed: unpublish first, unminit, as new, no longer held,
//! back on the list.
//!
//! An M is *bound* if it is the first that the thread holds and the binding is
//! to threads; *borrowed* if something was held or in progress already. What is
//! borrowed is given back by the callback that took it, in both bindings.

use core::ptr;

use crate::error::Error;
use crate::extra::EXTRA;
use crate::m::M;
use crate::runtime;
use crate::sync::Relaxed;
use crate::thread::{self, Thread};
use crate::tls::Tls;

/// Why an M is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// For a callback.
    Callback,
    /// For the thread, by `attach`.
    Attach,
}

/// Takes an M for this thread and publishes it over whatever is.
pub(crate) fn needm(tls: &Tls, want: Want) -> Result<&'static M, Error> {
    let thread = thread::current(tls, want == Want::Callback)?;
    loop {
        let (below, over) = (thread.held(), tls.m());
        let again = if want == Want::Callback && runtime::settings().binds_calls() {
            EXTRA.take_again(thread)
        } else {
            None
        };
        let m = match again {
            Some(m) => m,
            None => EXTRA.take(thread, below.is_some())?,
        };
        if thread.hold(tls, m, below, over).is_err() {
            // A handler has called back since, and its M is bound now.
            EXTRA.give(m);
            if let Some(bound) = tls.m().filter(|bound| bound.segment().is_none()) {
                return Ok(bound);
            }
            continue;
        }
        runtime::settings().hooks().minit(m);
        m.over.store(over.map_or(ptr::null_mut(), |m| ptr::from_ref(m).cast_mut()), Relaxed);
        m.over_pass.store(tls.pass(), Relaxed);
        tls.publish(Some(m), pass(thread, m));
        return Ok(m);
    }
}

/// What lets a bound M take the steady path.
pub(crate) fn pass(thread: &Thread, m: &M) -> u32 {
    let settings = runtime::settings();
    if is_borrowed(m) || settings.binds_calls() && !m.attached.load(Relaxed) {
        return 0;
    }
    if settings.enters_with_fence() || !thread.sig.trusted() {
        return 0;
    }
    runtime::epoch_open()
}

/// Whether the callback that took `m` gives it back in any case.
pub(crate) fn is_borrowed(m: &M) -> bool {
    !m.below.load(Relaxed).is_null()
}

/// Whether `m` goes back when its outermost callback ends.
pub(crate) fn goes_back(m: &M) -> bool {
    is_borrowed(m) || runtime::settings().binds_calls() && !m.attached.load(Relaxed)
}

/// Gives this thread's current M back.
pub(crate) fn dropm(tls: &Tls, m: &M) {
    let pass = if m.over().is_some() { m.over_pass.load(Relaxed) } else { 0 };
    tls.publish(m.over(), pass);
    runtime::settings().hooks().unminit(m);
    m.reset();
    if let Some(thread) = tls.thread() {
        thread.let_go(m);
    }
    EXTRA.give(m);
}
