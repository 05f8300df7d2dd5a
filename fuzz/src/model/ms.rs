//! Which M a thread gets, and when an M goes back to the extra list.

use super::{Level, M, Model, Unnoticed, Wrong, code};

/// Where a callback runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) m: usize,
    pub(crate) bound_here: bool,
    /// Whether callback code already runs on this M: then it passes a closed gate.
    pub(crate) passes: bool,
}

impl Model {
    /// needm starts.
    pub(crate) fn start(&mut self) {
        self.started = true;
        for _ in 0..self.config.seed_ms {
            self.make_spare();
        }
    }

    /// needm stops; `stopper` first unbinds what it holds.
    pub(crate) fn stop(&mut self, stopper: Option<usize>) {
        if let Some(thread) = stopper {
            self.unbind_all(thread);
        }
        self.notice_exit();
        self.never_unbound += self.held();
        for thread in &mut self.threads {
            thread.held.clear();
            thread.last = None;
        }
        self.ms.clear();
        self.list.clear();
        self.started = false;
    }

    fn may_make(&self) -> bool {
        self.config.max_ms == 0 || self.ms.len() < self.config.max_ms as usize
    }

    fn make(&mut self, held: bool) -> usize {
        self.ms.push(M { id: None, held, listed: false, owes_spare: held, attached: false });
        self.ms.len() - 1
    }

    fn enlist(&mut self, m: usize) {
        if !self.ms[m].listed {
            self.ms[m].listed = true;
            self.list.push(m);
        }
    }

    fn make_spare(&mut self) {
        if self.may_make() {
            let m = self.make(false);
            self.enlist(m);
        }
    }

    /// The thread that acquired the last M makes a spare.
    pub(crate) fn make_owed_spare(&mut self, m: usize) {
        if std::mem::take(&mut self.ms[m].owes_spare)
            && self.list.is_empty()
            && !self.is(Wrong::Spare)
        {
            self.make_spare();
        }
    }

    fn pop(&mut self) -> Option<usize> {
        loop {
            let m = if self.is(Wrong::First) && !self.list.is_empty() {
                self.list.remove(0)
            } else {
                self.list.pop()?
            };
            self.ms[m].listed = false;
            if !self.ms[m].held {
                self.ms[m].held = true;
                self.ms[m].owes_spare = self.list.is_empty();
                return Some(m);
            }
        }
    }

    /// The next M of the extra list, or a new one if it is empty.
    pub(crate) fn acquire(&mut self) -> Result<usize, i32> {
        self.notice_exit();
        match self.pop() {
            Some(m) => Ok(m),
            None if self.may_make() => Ok(self.make(true)),
            None => {
                self.counts.timeouts += 1;
                Err(code::TIMED_OUT)
            }
        }
    }

    fn bind(&mut self, thread: usize, for_callback: bool) -> Result<usize, i32> {
        let own = &self.threads[thread];
        let is_temporary = !own.held.is_empty();
        let last = own.last.filter(|m| !self.ms[*m].held);
        let m = match last {
            Some(m) if for_callback && self.config.per_call && !is_temporary => {
                self.ms[m].held = true;
                m
            }
            _ => self.acquire()?,
        };
        self.threads[thread].held.push(m);
        if !is_temporary {
            let before = self.threads[thread].last.replace(m);
            if let Some(before) = before.filter(|before| !self.ms[*before].held) {
                self.enlist(before);
            }
        }
        Ok(m)
    }

    /// Where the next callback of this thread runs. Binds an M if needed.
    pub(crate) fn place(&mut self, thread: usize) -> Result<Place, i32> {
        if let Some(m) = self.threads[thread].held.last().copied() {
            let inside = self.inside(thread, m);
            let on_g = self.on_g(thread);
            match inside {
                None => return Ok(Place { m, bound_here: false, passes: false }),
                Some((_, runs)) if on_g || !runs => {
                    return Ok(Place { m, bound_here: false, passes: runs });
                }
                // A handler off the G: how much of the G is in use is unknown.
                Some(_) => {}
            }
        }
        let m = self.bind(thread, true)?;
        Ok(Place { m, bound_here: true, passes: false })
    }

    /// Whether `place` would bind an M.
    pub(crate) fn would_bind(&self, thread: usize) -> bool {
        let held = self.threads[thread].held.last();
        let inside = held.and_then(|m| self.inside(thread, *m));
        let elsewhere = inside.is_some_and(|(_, runs)| runs && !self.on_g(thread));
        held.is_none() || elsewhere
    }

    pub(crate) fn attach(&mut self, thread: usize) -> Result<(), i32> {
        let m = match self.threads[thread].held.last() {
            Some(m) => *m,
            None => self.bind(thread, false)?,
        };
        self.ms[m].attached = true;
        self.make_owed_spare(m);
        Ok(())
    }

    /// An M goes back to the extra list.
    pub(crate) fn release(&mut self, m: usize) {
        let own = &mut self.ms[m];
        (own.held, own.attached) = (false, false);
        self.enlist(m);
    }

    /// Unbinds the innermost M that a thread holds.
    pub(crate) fn unbind(&mut self, thread: usize) {
        if let Some(m) = self.threads[thread].held.pop() {
            self.release(m);
        }
    }

    pub(crate) fn unbind_all(&mut self, thread: usize) {
        while !self.threads[thread].held.is_empty() {
            self.unbind(thread);
        }
    }

    /// Whether an M is unbound when its outermost callback ends.
    fn unbinds_on_exit(&self, thread: usize, m: usize) -> bool {
        let is_temporary = self.threads[thread].held.first() != Some(&m);
        is_temporary || self.config.per_call && !self.ms[m].attached && !self.is(Wrong::Keep)
    }

    /// A callback has ended for which an M may have been bound.
    pub(crate) fn end_call_on(&mut self, thread: usize, m: usize, bound_here: bool) {
        if bound_here && self.unbinds_on_exit(thread, m) {
            self.unbind(thread);
        }
    }

    /// needm notices what the thread has jumped out of.
    pub(crate) fn drop_abandoned(&mut self, thread: usize) {
        while let Some(level) = self.threads[thread].abandoned.pop() {
            if let Level::Call(call) = level {
                self.unwound(thread, call.id);
                if !self.is(Wrong::Jump) {
                    self.end_call_on(thread, call.m, call.bound_here);
                }
            }
        }
    }

    /// needm notices that a thread has exited by the raw system call.
    pub(crate) fn notice_exit(&mut self) {
        if self.is(Wrong::End) {
            return;
        }
        let Some(Unnoticed { held, owns_the_world, .. }) = self.unnoticed.take() else { return };
        if owns_the_world {
            self.start_world();
        }
        for m in held.into_iter().rev() {
            self.release(m);
            self.counts.reclaimed += 1;
        }
    }
}
