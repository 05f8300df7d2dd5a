// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attaching: a thread binds an M ahead of its first callback, touches the memory that
//! callbacks will use, and unbinds the M again.

use crate::abandoned::{is_in_a_handler, undo_left_change};
use crate::arch::needm_sp;
use crate::error::Error;
use crate::gate;
use crate::needm;
use crate::needm::{Want, begin_change, bound_epoch_for, dropm, end_change, needm};
use crate::pool;
use crate::pool::{EXTRA, trim};
use crate::reconcile::{is_inside, is_inside_for_sure};
use crate::state;
use crate::sync::Relaxed;
use crate::thread;
use crate::thread::hook;
use crate::thread_record::Thread;
use crate::tls::Tls;

/// Binds an M to this thread now, with the one page of its stack touched that any
/// callback uses.
pub(crate) fn attach_ready() -> Result<(), Error> {
    loop {
        attach()?;
        match prefault(1) {
            Err(Error::Busy) => return Ok(()),
            // needm was stopped and started in between.
            Err(Error::Invalid) => {}
            other => return other,
        }
    }
}

/// Touches the uppermost `bytes` of this thread's G ahead.
pub(crate) fn prefault(bytes: usize) -> Result<(), Error> {
    if !state::is_open() {
        return Err(Error::NotStarted);
    }
    let tls = Tls::current();
    if is_inside_for_sure(tls) {
        return Err(Error::Busy);
    }
    let thread = tls.thread().ok_or(Error::Invalid)?;
    // From here on no other thread's stop unmaps the G.
    let was_in_transfer = thread.begin_transfer();
    let m = if state::is_open() { needm::current(tls) } else { None };
    if let Some(m) = m {
        m.stack.prefault(bytes);
    }
    thread.end_transfer(was_in_transfer);
    m.map(drop).ok_or(Error::Invalid)
}

/// Binds an M to this thread now.
pub(crate) fn attach() -> Result<(), Error> {
    if !state::is_open() {
        return Err(Error::NotStarted);
    }
    let tls = Tls::current();
    if hook::calls(tls) {
        return Err(Error::Busy);
    }
    undo_left_change(tls);
    let m = loop {
        let outside = || (!is_inside(tls)).then(|| needm::current(tls));
        match tls.undisturbed(outside) {
            None => return Ok(()),
            Some(Some(m)) => {
                m.attached.store(true, Relaxed);
                break m;
            }
            Some(None) if gate::is_closing() => return Err(Error::NotStarted),
            Some(None) => {
                thread::record(tls)?;
                let change = begin_change(tls);
                let bound = needm(tls, Want::Attach, None, needm_sp());
                let m = bound.as_ref().ok().copied().flatten();
                if let Some(m) = m {
                    m.attached.store(true, Relaxed);
                }
                end_change(tls, change, m);
                if let Some(m) = bound? {
                    break m;
                }
            }
        }
    };
    if m.owes_spare.load(Relaxed) {
        m.owes_spare.store(false, Relaxed);
        // If the hook is jumped out of, the next callback finds that, on the slow path.
        tls.set_bound_epoch(0);
        if let Some(thread) = tls.thread() {
            thread.in_hook(state::settings().hooks().m_new.is_some(), || EXTRA.newextram(None));
        }
    }
    if let Some(thread) = tls.thread() {
        if thread.ready.needs_checks() {
            // A handler was the first to look, and its return has put back the signal stack of before.
            thread::prepare(tls, thread, needm_sp(), false)?;
        }
        tls.set_bound_epoch(bound_epoch_for(thread, m));
    }
    Ok(())
}

/// Unbinds what this thread has bound now, and takes the signal stack off.
pub(crate) fn detach() -> Result<(), Error> {
    if !state::is_open() {
        return Err(Error::NotStarted);
    }
    let tls = Tls::current();
    if hook::calls(tls) || is_inside_for_sure(tls) {
        return Err(Error::Busy);
    }
    let Some(thread) = tls.thread() else { return Ok(()) };
    undo_left_change(tls);
    let change = begin_change(tls);
    let was_in_transfer = thread.begin_transfer();
    // More than one, if C has jumped out of callbacks below it.
    while state::is_open()
        && let Some(m) = needm::current(tls)
    {
        tls.set_rebind_epoch(0);
        dropm(tls, m);
        trim::note_returned(m, thread);
    }
    // C may have jumped out of a handler on the rebind path, which notes no change: the handler has found the M
    // claimed, and not published yet. But this may be such a handler, although none should call this.
    while state::is_open()
        && let Some(m) = thread.held().filter(|m| pool::is_held_by(m, thread))
        && !tls.has_interrupted_needm()
        && !is_in_a_handler(tls)
    {
        thread.return_one(m);
    }
    thread.end_transfer(was_in_transfer);
    end_change(tls, change, None);
    // Also without an M: with one for each call, the signal stack stays after it. Before and after: a
    // handler that calls back in between would otherwise find, or leave, a word which says that the old
    // handler stack need not be checked.
    check_again(tls, thread);
    thread.ready.release();
    check_again(tls, thread);
    Ok(())
}

/// Makes this thread's next callback check its handler stack.
fn check_again(tls: &Tls, thread: &Thread) {
    thread.ready.check_again(state::settings().needs());
    tls.set_bound_epoch(0);
    tls.set_rebind_epoch(0);
}
