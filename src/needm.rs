//! needm and dropm: this thread takes an M, and gives it back.
//!
//! The M is published as needm's last step and withdrawn as dropm's first, so a
//! signal handler that calls back in between sees a thread without an M and borrows
//! another. What it borrows lies over what the thread holds, and goes back at the
//! end of its callback.
//!
//! The steady path of per-call binding is in `arch/<arch>/entry.S` and does the same
//! steps in the same order, for an M that was this thread's last and needs nothing
//! but to be taken: `tls.rs` says when it may.
#![allow(unsafe_code)] // an M from assembly

use core::ptr;

use crate::callback::is_inside;
use crate::error::Error;
use crate::extra::{self, EXTRA};
use crate::m::M;
use crate::runtime;
use crate::settle;
use crate::sync::{Relaxed, SeqCst, compiler_fence};
use crate::thread::{self, Thread};
use crate::tls::Tls;
use crate::tools;
use crate::trim;

/// Why an M is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// For a callback.
    Callback,
    /// For the thread, by `attach`.
    Attach,
}

/// Takes an M for this thread and publishes it over whatever is.
#[inline(never)] // as for `dropm`
pub(crate) fn needm(tls: &Tls, want: Want) -> Result<&'static M, Error> {
    loop {
        let thread = thread::current(tls, want == Want::Callback)?;
        let was_taking = thread.begin_taking();
        let taken = match thread.knows_what_is() {
            Some(true) => take(tls, thread, want).map(Some),
            Some(false) => Ok(None),
            None => Err(Error::NotStarted),
        };
        if let Ok(Some(Taken::Fresh(m))) = taken {
            runtime::settings().hooks().minit(m);
        }
        thread.end_taking(was_taking);
        match taken? {
            Some(Taken::Bound(m)) => return Ok(m),
            Some(Taken::Fresh(m)) if tls.publish(m.over(), Some(m), pass(thread, m)) => {
                if !is_borrowed(m) {
                    tls.take_again_at(again(thread, m));
                }
                return Ok(m);
            }
            _ => {}
        }
    }
}

#[derive(Clone, Copy)]
enum Taken {
    Fresh(&'static M),
    /// A handler has called back meanwhile, and its M is this thread's now.
    Bound(&'static M),
}

fn take(tls: &Tls, thread: &'static Thread, want: Want) -> Result<Taken, Error> {
    loop {
        let mut over = tls.m();
        if let Some(stale) = over.filter(|m| !extra::is_held_by(m, thread)) {
            tls.publish(Some(stale), None, 0);
            over = None;
        }
        if let Some(bound) = over.filter(|m| m.segment().is_none()) {
            return Ok(Taken::Bound(bound));
        }
        // After what is published, which is held before: else a handler that comes in between
        // and binds an M leaves one that is published and not seen to be held.
        compiler_fence(SeqCst);
        let below = thread.held().filter(|m| extra::is_held_by(m, thread));
        let per_call = want == Want::Callback && runtime::settings().binds_calls();
        let again = if per_call && below.is_none() { EXTRA.take_again(thread) } else { None };
        let m = match again {
            Some(m) => m,
            None => EXTRA.take(thread, below.is_some())?,
        };
        m.over.store(over.map_or(ptr::null_mut(), |m| ptr::from_ref(m).cast_mut()), Relaxed);
        m.over_pass.store(tls.pass(), Relaxed);
        if thread.hold(tls, m, below, over).is_ok() {
            return Ok(Taken::Fresh(m));
        }
        // A handler has called back since, and its M is bound now.
        EXTRA.give(m);
        if let Some(bound) = tls.m().filter(|bound| bound.segment().is_none()) {
            return Ok(Taken::Bound(bound));
        }
    }
}

/// What lets a bound M take the steady path. Of the start of the kernel that the M is of,
/// which may be over by now.
pub(crate) fn pass(thread: &Thread, m: &M) -> u32 {
    if goes_back(m) || !needs_no_look(thread) {
        return 0;
    }
    // If a handler has bound it, that may have been before this was known.
    thread.tell_of_signal_stack(m);
    gate_of(m)
}

fn gate_of(m: &M) -> u32 {
    runtime::gate_of(m.epoch.load(Relaxed))
}

/// What lets this thread's last M be taken again on the steady path.
fn again(thread: &Thread, m: &M) -> u32 {
    let settings = runtime::settings();
    let hooks = settings.hooks();
    let plain = settings.binds_calls() && hooks.minit.is_none() && hooks.unminit.is_none();
    if plain && needs_no_look(thread) { gate_of(m) } else { 0 }
}

/// Whether neither the gate nor the thread's signal stack wants the slow path.
fn needs_no_look(thread: &Thread) -> bool {
    !runtime::settings().enters_with_fence() && thread.sig.trusted() && !tools::WATCH_SWITCHES
}

/// Whether the callback that took `m` gives it back in any case.
fn is_borrowed(m: &M) -> bool {
    !m.below.load(Relaxed).is_null()
}

/// Whether `m` goes back when its outermost callback ends.
pub(crate) fn goes_back(m: &M) -> bool {
    is_borrowed(m) || runtime::settings().binds_calls() && !m.attached.load(Relaxed)
}

/// Gives this thread's current M back.
#[inline(never)] // one place from which the host is called: tests/nosplit/lists.rs
pub(crate) fn dropm(tls: &Tls, m: &M) {
    let pass = if m.over().is_some() { m.over_pass.load(Relaxed) } else { 0 };
    tls.publish(Some(m), m.over(), pass);
    runtime::settings().hooks().unminit(m);
    match tls.thread() {
        Some(thread) => thread.give_back(m),
        None => EXTRA.give(m),
    }
}

/// From `needm_entry`: the last M was taken again, and the gate is closed.
pub(crate) extern "C" fn unclaim(m: *const M) {
    // SAFETY: this thread has just taken it.
    dropm(Tls::current(), unsafe { &*m });
}

/// Takes an M for this thread now, with the one page of its stack touched that any
/// callback uses.
pub(crate) fn attach_ready() -> Result<(), Error> {
    loop {
        attach()?;
        match prefault(1) {
            Err(Error::Busy) => return Ok(()),
            // The kernel was stopped and started in between.
            Err(Error::Invalid) => {}
            other => return other,
        }
    }
}

/// Touches the uppermost `bytes` of this thread's G ahead.
pub(crate) fn prefault(bytes: usize) -> Result<(), Error> {
    if !runtime::is_open() {
        return Err(Error::NotStarted);
    }
    let tls = Tls::current();
    if is_inside(tls) {
        return Err(Error::Busy);
    }
    let m = settle::current(tls).ok_or(Error::Invalid)?;
    m.stack.prefault(bytes);
    Ok(())
}

/// Takes an M for this thread now.
pub(crate) fn attach() -> Result<(), Error> {
    if !runtime::is_open() {
        return Err(Error::NotStarted);
    }
    let tls = Tls::current();
    if is_inside(tls) {
        return Ok(());
    }
    let m = match settle::current(tls) {
        Some(m) => m,
        None => needm(tls, Want::Attach)?,
    };
    m.attached.store(true, Relaxed);
    if m.owes.load(Relaxed) != 0 {
        m.owes.store(0, Relaxed);
        EXTRA.newextram();
    }
    if let Some(thread) = tls.thread() {
        tls.let_pass(pass(thread, m));
    }
    Ok(())
}

/// Gives this thread's M back now.
pub(crate) fn detach() -> Result<(), Error> {
    if !runtime::is_open() {
        return Err(Error::NotStarted);
    }
    let tls = Tls::current();
    if is_inside(tls) {
        return Err(Error::Busy);
    }
    let Some(thread) = tls.thread() else { return Ok(()) };
    let was_taking = thread.begin_taking();
    let m = if runtime::is_open() { settle::current(tls) } else { None };
    if let Some(m) = m {
        tls.take_again_at(0);
        trim::given(m, thread);
        dropm(tls, m);
    }
    thread.end_taking(was_taking);
    if m.is_some() {
        // A handler that calls back in the midst of this counts on the signal stack.
        distrust(tls, thread);
        thread.sig.unminit();
        distrust(tls, thread);
    }
    Ok(())
}

/// Has this thread's next callback look at its signal stack.
fn distrust(tls: &Tls, thread: &Thread) {
    thread.sig.distrust();
    tls.let_pass(0);
    tls.take_again_at(0);
}
