// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes Ms, unmakes them when needm is stopped, and sorts them out in a forked child.
//!
//! # Safety
//! The stack of an M is unmapped only when no thread is in a callback on it or may enter one:
//! the M is new, or needm is stopped.
#![allow(unsafe_code)] // unmapping stacks

use crate::error::Error;
use crate::m::{M, MS};
use crate::pool::{
    Extra, HELD, LEFT_BEHIND, LISTED, OWNER_SHIFT, READY, held_by, held_from, is_held,
    is_left_behind, is_ready, trim, waiters,
};
use crate::state;
use crate::sync::{AtomicUsize, Relaxed, SeqCst, compiler_fence};
use crate::thread_record::{THREADS, Thread};
use crate::tools;
use core::ptr;

/// The row, plus one, of the M that a start of needm is making; and of the one that a stop is unmaking. They stay
/// where that was jumped out of.
static SEEDING: AtomicUsize = AtomicUsize::new(0);
static UNMAKING: AtomicUsize = AtomicUsize::new(0);

/// The M in the row that is noted there.
fn noted_in(note: &AtomicUsize) -> Option<&'static M> {
    let row = note.load(Relaxed).checked_sub(1);
    row.and_then(|row| u32::try_from(row).ok()).and_then(|row| MS.get(row))
}

impl Extra {
    /// Makes an M, bound to `thread` or on the list; `None` if there are `max_ms` already.
    /// `making`: says which one that is, by its row plus one, until it is made.
    pub(crate) fn make(
        &self,
        thread: Option<&Thread>,
        making: Option<&AtomicUsize>,
    ) -> Result<Option<&'static M>, Error> {
        let settings = state::settings();
        let max = settings.max_ms();
        if self.made.fetch_update(SeqCst, Relaxed, |made| (made < max).then_some(made + 1)).is_err()
        {
            return Ok(None);
        }
        let made = self.make_one(thread, making);
        if made.is_err() {
            self.made.fetch_sub(1, SeqCst);
        }
        made.map(Some)
    }

    fn make_one(
        &self,
        thread: Option<&Thread>,
        making: Option<&AtomicUsize>,
    ) -> Result<&'static M, Error> {
        let settings = state::settings();
        let index = match self.blank.pop(&MS) {
            Some((index, _)) => index,
            None => MS.add().map_err(|_| Error::NoMemory)?,
        };
        let m = MS.get(index).ok_or(Error::NoMemory)?;
        let say = |row: usize| {
            compiler_fence(SeqCst);
            if let Some(making) = making {
                making.store(row, Relaxed);
            }
            compiler_fence(SeqCst);
        };
        say(index as usize + 1);
        if let Err(error) = m.stack.map(settings.stack_size(), settings.guard_size()) {
            say(0);
            self.blank.push(&MS, index);
            return Err(error);
        }
        m.set_local(ptr::null_mut());
        m.listed.store(false, Relaxed);
        m.epoch.store(state::epoch(), Relaxed);
        m.thread.store(ptr::null_mut(), Relaxed);
        m.prev_held.store(ptr::null_mut(), Relaxed);
        m.prev_current.store(ptr::null_mut(), Relaxed);
        m.fill(index);
        if !settings.hooks().m_new(m) {
            self.unmake(m, making);
            return Err(Error::NoMemory);
        }
        match thread {
            Some(thread) => m.state.store(READY | held_by(thread), SeqCst),
            None => {
                m.state.store(READY | LISTED, SeqCst);
                say(0);
                self.enlist(m);
            }
        }
        say(0);
        Ok(m)
    }

    /// Undoes what [`Extra::make`] was doing, if it does not go on: a fault, a panic or a jump has left it, or its
    /// hook.
    pub(crate) fn give_up(&self, making: &AtomicUsize) {
        match noted_in(making).filter(|m| !is_ready(m)) {
            Some(m) => {
                self.unmake(m, Some(making));
                self.made.fetch_sub(1, SeqCst);
                self.wake();
            }
            None => making.store(0, Relaxed),
        }
    }

    /// Undoes what [`Extra::make`] did, except for the count. The row of a bound M stays reserved
    /// for its thread. May be repeated after a jump out of it while `note` has the row.
    fn unmake(&self, m: &M, note: Option<&AtomicUsize>) {
        let stays = |state: u32| if state & HELD == 0 { 0 } else { state & !(READY | LISTED) };
        let before = m.state.fetch_update(SeqCst, Relaxed, |state| Some(stays(state)));
        trim::forget(m.index());
        tools::stack_gone(m.stack.lo()..m.stack.hi(), &m.fiber);
        // SAFETY: the M is new, or needm is stopped, so nothing runs on it; and it is not READY,
        // so no callback enters it.
        unsafe { m.stack.unmap() };
        compiler_fence(SeqCst);
        // Before the push: what is pushed twice makes a circle of the list.
        if let Some(note) = note {
            note.store(0, Relaxed);
        }
        compiler_fence(SeqCst);
        if before.is_ok_and(|before| stays(before) == 0) {
            self.blank.push(&MS, m.index());
        }
    }

    /// `m`, which this thread has, and has taken out of its chain, is no M any more: its row and its G stay for the code
    /// of callbacks that are left behind there.
    pub(crate) fn leave_behind(&self, m: &M) {
        trim::forget(m.index());
        m.thread.store(ptr::null_mut(), Relaxed);
        m.state.store(LEFT_BEHIND, SeqCst);
        self.made.fetch_sub(1, SeqCst);
        self.wake();
    }

    /// Frees the rows that a stop of needm has left reserved for `thread`: those of starts
    /// other than `epoch`, or all.
    pub(crate) fn retire(&self, thread: &Thread, epoch: Option<u32>) {
        let own = held_by(thread);
        let is_old = |m: &&M| epoch.is_none_or(|epoch| m.epoch.load(Relaxed) != epoch);
        for m in MS.iter().filter(is_old) {
            if m.state.compare_exchange(own, 0, SeqCst, Relaxed).is_ok() {
                self.blank.push(&MS, m.index());
            }
        }
    }

    /// Makes `count` Ms for the list.
    pub(crate) fn seed(&self, count: u32) -> Result<(), Error> {
        (0..count).try_for_each(|_| self.make(None, Some(&SEEDING)).map(drop))
    }

    /// Unmaps the stack of every M, and leaves its row blank.
    ///
    /// Only for `lifecycle.rs`, when no thread is in a callback or enters one. May be repeated after a jump out of it,
    /// or out of [`Extra::seed`].
    pub(crate) fn end(&self) {
        self.give_up(&SEEDING);
        // Its hook has been called already.
        if let Some(m) = noted_in(&UNMAKING) {
            self.unmake(m, Some(&UNMAKING));
        }
        for m in MS.iter().filter(|m| is_ready(m)) {
            UNMAKING.store(m.index() as usize + 1, Relaxed);
            state::settings().hooks().m_free(m);
            self.unmake(m, Some(&UNMAKING));
        }
        self.made.store(0, SeqCst);
        self.forget_list();
        // A wait that was jumped out of right after it was counted is in no record.
        waiters().store(0, SeqCst);
    }

    fn forget_list(&self) {
        self.idle.clear();
        self.listed.store(0, SeqCst);
    }

    /// Forgets both lists, because the table's rows are about to be unmapped.
    pub(crate) fn forget_rows(&self) {
        self.forget_list();
        self.blank.clear();
    }

    /// In a forked child: frees the Ms of threads that do not exist here, and lists all free ones.
    /// A row in which a thread was just making an M is lost, because it looks like one in which
    /// `own` is making an M.
    pub(crate) fn rebuild(&self, own: Option<&Thread>) {
        let held = || own.into_iter().flat_map(|own| held_from(own.held(), own));
        self.forget_list();
        waiters().store(0, SeqCst);
        let mut made = 0;
        for index in (0..MS.len()).rev() {
            let Some(m) = MS.get(index) else { continue };
            if !is_ready(m) {
                let is_own = own.is_some_and(|own| m.state.load(Relaxed) == held_by(own));
                if is_held(m) && !is_own && !is_left_behind(m) {
                    m.state.store(0, Relaxed);
                    self.blank.push(&MS, index);
                }
                continue;
            }
            made += 1;
            m.listed.store(false, Relaxed);
            if held().any(|own| ptr::eq(own, m)) {
                m.state.fetch_and(!LISTED, Relaxed);
                continue;
            }
            if is_held(m) {
                self.reclaimed.fetch_add(1, Relaxed);
            }
            m.reset();
            m.prev_held.store(ptr::null_mut(), Relaxed);
            m.prev_current.store(ptr::null_mut(), Relaxed);
            m.thread.store(ptr::null_mut(), Relaxed);
            m.state.store(READY | LISTED, SeqCst);
            self.enlist(m);
        }
        self.made.store(made, SeqCst);
    }

    /// The same if this is a handler, or a hook of the host's, in the middle of a change that `own` makes, or that this
    /// thread makes to a record which it dismantles, and goes on with later. So what may be on its way to or from a
    /// record that is in use stays as it is, the list too. What is free and not on the list, [`Extra::sweep`] finds.
    pub(crate) fn rebuild_around(&self, own: Option<&Thread>) {
        waiters().store(own.map_or(0, |own| own.waits.load(Relaxed)), SeqCst);
        for m in MS.iter().filter(|m| is_held(m) && !is_left_behind(m)) {
            let state = m.state.load(Relaxed);
            if THREADS.get(state >> OWNER_SHIFT).is_some_and(Thread::is_in_use) {
                continue;
            }
            if state & READY == 0 {
                m.state.store(0, Relaxed);
                self.blank.push(&MS, m.index());
                continue;
            }
            self.reclaimed.fetch_add(1, Relaxed);
            m.reset();
            m.prev_held.store(ptr::null_mut(), Relaxed);
            m.prev_current.store(ptr::null_mut(), Relaxed);
            m.thread.store(ptr::null_mut(), Relaxed);
            self.release(m);
        }
    }
}
