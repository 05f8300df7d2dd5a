//! Who gets which M.

use super::{Level, Limbo, M, Model, Wrong, code};

/// Where a callback goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) m: usize,
    pub(crate) taken: bool,
    /// Callback code of this M runs already: the gate is not asked.
    pub(crate) passes: bool,
}

impl Model {
    /// What a start makes.
    pub(crate) fn start(&mut self) {
        self.started = true;
        for _ in 0..self.config.seed_ms {
            self.make_spare();
        }
    }

    /// What a stop undoes; `stopper` gives back what it holds.
    pub(crate) fn stop(&mut self, stopper: Option<usize>) {
        if let Some(thread) = stopper {
            self.give_all(thread);
        }
        self.notice();
        self.forgotten += self.held();
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
        self.ms.push(M { id: None, held, listed: false, owes: held, attached: false });
        self.ms.len() - 1
    }

    fn put(&mut self, m: usize) {
        if !self.ms[m].listed {
            self.ms[m].listed = true;
            self.list.push(m);
        }
    }

    fn make_spare(&mut self) {
        if self.may_make() {
            let m = self.make(false);
            self.put(m);
        }
    }

    /// Who has taken the last M makes a spare.
    pub(crate) fn pay(&mut self, m: usize) {
        if std::mem::take(&mut self.ms[m].owes) && self.list.is_empty() && !self.is(Wrong::Spare) {
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
                self.ms[m].owes = self.list.is_empty();
                return Some(m);
            }
        }
    }

    /// An M off the list, or made for want of one.
    pub(crate) fn take_off_the_list(&mut self) -> Result<usize, i32> {
        self.notice();
        match self.pop() {
            Some(m) => Ok(m),
            None if self.may_make() => Ok(self.make(true)),
            None => {
                self.counts.timeouts += 1;
                Err(code::TIMED_OUT)
            }
        }
    }

    fn take(&mut self, thread: usize, for_callback: bool) -> Result<usize, i32> {
        let own = &self.threads[thread];
        let borrows = !own.held.is_empty();
        let again = own.last.filter(|m| !self.ms[*m].held);
        let m = match again {
            Some(m) if for_callback && self.config.per_call && !borrows => {
                self.ms[m].held = true;
                m
            }
            _ => self.take_off_the_list()?,
        };
        self.threads[thread].held.push(m);
        if !borrows {
            let before = self.threads[thread].last.replace(m);
            if let Some(before) = before.filter(|before| !self.ms[*before].held) {
                self.put(before);
            }
        }
        Ok(m)
    }

    /// Where the next callback of this thread goes. An M is taken if need be.
    pub(crate) fn place(&mut self, thread: usize) -> Result<Place, i32> {
        if let Some(m) = self.threads[thread].held.last().copied() {
            let inside = self.inside(thread, m);
            let on_g = self.on_g(thread);
            match inside {
                None => return Ok(Place { m, taken: false, passes: false }),
                Some((_, runs)) if on_g || !runs => {
                    return Ok(Place { m, taken: false, passes: runs });
                }
                // A handler elsewhere: nobody knows how deep this G is in use.
                Some(_) => {}
            }
        }
        let m = self.take(thread, true)?;
        Ok(Place { m, taken: true, passes: false })
    }

    /// As `place`, if that would take an M.
    pub(crate) fn would_take(&self, thread: usize) -> bool {
        let held = self.threads[thread].held.last();
        let inside = held.and_then(|m| self.inside(thread, *m));
        let elsewhere = inside.is_some_and(|(_, runs)| runs && !self.on_g(thread));
        held.is_none() || elsewhere
    }

    pub(crate) fn attach(&mut self, thread: usize) -> Result<(), i32> {
        let m = match self.threads[thread].held.last() {
            Some(m) => *m,
            None => self.take(thread, false)?,
        };
        self.ms[m].attached = true;
        self.pay(m);
        Ok(())
    }

    /// An M that is nobody's now.
    pub(crate) fn give(&mut self, m: usize) {
        let own = &mut self.ms[m];
        (own.held, own.attached) = (false, false);
        self.put(m);
    }

    /// Gives back the innermost M that a thread holds.
    pub(crate) fn give_back(&mut self, thread: usize) {
        if let Some(m) = self.threads[thread].held.pop() {
            self.give(m);
        }
    }

    pub(crate) fn give_all(&mut self, thread: usize) {
        while !self.threads[thread].held.is_empty() {
            self.give_back(thread);
        }
    }

    /// Whether an M goes back when its outermost callback ends.
    fn goes_back(&self, thread: usize, m: usize) -> bool {
        let borrowed = self.threads[thread].held.first() != Some(&m);
        borrowed || self.config.per_call && !self.ms[m].attached && !self.is(Wrong::Keep)
    }

    /// A callback that took an M is over.
    pub(crate) fn over(&mut self, thread: usize, m: usize, taken: bool) {
        if taken && self.goes_back(thread, m) {
            self.give_back(thread);
        }
    }

    /// The kernel notices what the thread has jumped out of.
    pub(crate) fn settle(&mut self, thread: usize) {
        while let Some(level) = self.threads[thread].ghosts.pop() {
            if let Level::Call(call) = level {
                self.unwound(thread, call.id);
                if !self.is(Wrong::Jump) {
                    self.over(thread, call.m, call.taken);
                }
            }
        }
    }

    /// The kernel notices that a thread has ended by the raw system call.
    pub(crate) fn notice(&mut self) {
        if self.is(Wrong::End) {
            return;
        }
        let Some(Limbo { held, owns_the_world, .. }) = self.limbo.take() else { return };
        if owns_the_world {
            self.go_on();
        }
        for m in held.into_iter().rev() {
            self.give(m);
            self.counts.reclaimed += 1;
        }
    }
}
