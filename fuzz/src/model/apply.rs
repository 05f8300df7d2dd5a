//! What each operation must result in.

use super::ms::Place;
use super::{Action, Call, Counts, Does, Level, Model, Pending, Unnoticed, Wrong, code};
use crate::worker::{self, CAME_BACK, DONE, ENTERED, Entry, JUMPED, Report};

const SIGSEGV: i32 = 11;

/// A panic, as the caller of its callback is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panic {
    pub(crate) kind: i32,
    pub(crate) signo: i32,
    /// `si_code`, which is not compared under an emulator.
    pub(crate) code: i32,
    pub(crate) value: usize,
}

/// What a thread must report.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) event: i32,
    pub(crate) code: i32,
    pub(crate) log: Vec<Entry>,
    /// What the caller of a callback must find in its info; `Some(None)`: it is unchanged.
    pub(crate) info: Option<Option<Panic>>,
    /// What `needm_each_m` must have shown.
    pub(crate) visited: Option<Vec<usize>>,
    /// Whether the thread's signal stack must be its own again.
    pub(crate) own_signal_stack: bool,
}

fn came_back(code: i32) -> Expected {
    Expected { event: CAME_BACK, code, ..Expected::default() }
}

fn done(code: i32) -> Expected {
    Expected { event: DONE, code, ..Expected::default() }
}

fn entered() -> Expected {
    Expected { event: ENTERED, ..Expected::default() }
}

fn fault(kind: u8) -> Panic {
    let (signo, code) = worker::fault_kind(kind);
    Panic { kind: code::FAULT, signo, code, value: 0 }
}

impl Model {
    /// The thread waits in `action`, after what comes before the wait.
    pub(crate) fn begin_waiting(&mut self, thread: usize, action: Action) {
        let Some(pending) = self.waits(thread, action) else { return };
        self.threads[thread].fresh = false;
        if matches!(action, Action::Call { .. }) {
            self.drop_abandoned(thread);
            if let Ok(place) = self.place(thread) {
                self.threads[thread].waits_for = Some((place.m, place.bound_here));
            }
        }
        if matches!(action, Action::Panic(_)) {
            self.counts.panics += 1;
        }
        if matches!(pending, Pending::Quiet) {
            self.drop_abandoned(thread);
            self.owner = Some(thread);
        }
        self.threads[thread].pending = Some(pending);
    }

    /// The wait is over: what the operation must result in.
    pub(crate) fn end_waiting(&mut self, thread: usize) -> Expected {
        match self.threads[thread].pending.take() {
            Some(Pending::Gate(Action::Call { with_info, .. })) => {
                let (m, bound_here) = self.threads[thread].waits_for.take().unwrap_or_default();
                self.enter(thread, Place { m, bound_here, passes: false }, with_info)
            }
            Some(Pending::Gate(action)) => {
                if matches!(action, Action::Panic(_)) {
                    self.counts.panics -= 1; // `begin_waiting` has counted it
                }
                self.apply(thread, action, None)
            }
            Some(Pending::Quiet) => self.stopped(thread),
            None => Expected::default(),
        }
    }

    /// A new thread.
    pub(crate) fn make_thread(&mut self, thread: usize) {
        let own = &mut self.threads[thread];
        *own = super::Thread {
            alive: true,
            fresh: true,
            levels: vec![Level::Out],
            ..Default::default()
        };
    }

    /// Whether the thread exits by this.
    pub(crate) fn exits(&self, thread: usize, action: Action) -> bool {
        match action {
            Action::Return => self.is_outside(thread),
            Action::Exit | Action::RawExit => true,
            _ => false,
        }
    }

    /// The thread has exited.
    pub(crate) fn exited(&mut self, thread: usize, action: Action) {
        let runs = self.runs(thread);
        let owns_the_world = self.owner == Some(thread);
        if matches!(action, Action::RawExit) {
            let held = std::mem::take(&mut self.threads[thread].held);
            if owns_the_world || !held.is_empty() {
                self.unnoticed = Some(Unnoticed { held, runs, owns_the_world });
            }
            if owns_the_world {
                self.owner = Some(super::DEAD);
            }
        } else {
            if owns_the_world {
                self.start_world();
            }
            self.unbind_all(thread);
        }
        self.threads[thread] = super::Thread::default();
    }

    /// What `action` must result in, if the thread does not wait in it.
    pub(crate) fn apply(
        &mut self,
        thread: usize,
        action: Action,
        report: Option<&Report>,
    ) -> Expected {
        if !matches!(action, Action::Mask(_) | Action::SignalStack) {
            self.threads[thread].fresh = false;
        }
        let drops_later = match action {
            Action::Return => !matches!(self.top(thread), Level::Call(_)),
            Action::Jump { .. } | Action::StopWorld | Action::StartWorld => true,
            _ => false,
        };
        if !drops_later {
            self.drop_abandoned(thread);
        }
        let mut expected = self.act(thread, action, report);
        if !matches!(action, Action::Jump { quiet: true, .. }) {
            self.drop_abandoned(thread);
        }
        if !matches!(
            action,
            Action::Return | Action::Panic(_) | Action::Fault(_) | Action::Overflow(_)
        ) {
            expected.info = None;
        }
        expected
    }

    fn act(&mut self, thread: usize, action: Action, report: Option<&Report>) -> Expected {
        match action {
            Action::Call { with_info, .. } => self.call(thread, with_info),
            Action::Return => self.returns(thread),
            Action::Ccall => {
                if !matches!(self.top(thread), Level::Call(_)) {
                    return came_back(code::INVALID);
                }
                self.threads[thread].levels.push(Level::C);
                entered()
            }
            Action::Panic(value) => {
                let value = usize::from(value);
                self.unwind(thread, Panic { kind: code::PANIC, signo: 0, code: 0, value })
            }
            Action::Fault(kind) => self.unwind(thread, fault(kind)),
            Action::Overflow(_) => {
                let panic = Panic { kind: code::OVERFLOW, signo: SIGSEGV, code: 2, value: 0 };
                self.unwind(thread, panic)
            }
            Action::Jump { to, .. } => {
                let own = &mut self.threads[thread];
                let mut abandoned = own.levels.split_off(to + 1);
                abandoned.append(&mut own.abandoned);
                own.abandoned = abandoned;
                Expected { event: JUMPED, ..Expected::default() }
            }
            Action::Attach if !self.started => done(code::NOT_STARTED),
            Action::Attach if self.is_inside(thread) => done(0),
            Action::Attach => done(self.attach(thread).err().unwrap_or(0)),
            Action::Detach if !self.started => done(code::NOT_STARTED),
            Action::Detach if self.is_inside(thread) => done(code::BUSY),
            Action::Detach => {
                let held = !self.threads[thread].held.is_empty();
                self.unbind(thread);
                Expected { own_signal_stack: held, ..done(0) }
            }
            Action::Defer(does, value) => self.defer(thread, does, value),
            Action::Signal { .. } => {
                let on_signal_stack = report.is_some_and(|report| report.on_signal_stack != 0);
                self.threads[thread].levels.push(Level::Handler { on_signal_stack });
                entered()
            }
            Action::StopWorld if !self.started => done(code::NOT_STARTED),
            Action::StopWorld if self.owner == Some(thread) => done(code::ALREADY),
            Action::StopWorld => self.stopped(thread),
            Action::StartWorld if self.owner == Some(thread) => {
                self.start_world();
                done(0)
            }
            Action::StartWorld => done(code::INVALID),
            Action::EachM if self.owner == Some(thread) => {
                let inside = |m: &usize| {
                    (0..crate::operation::THREADS).any(|t| self.inside(t, *m).is_some())
                };
                let visited = (0..self.ms.len()).filter(inside).collect();
                Expected { visited: Some(visited), ..done(0) }
            }
            Action::EachM => done(code::INVALID),
            Action::Spawn => self.spawn(),
            Action::Stop => self.stops(thread),
            Action::Start if self.started => done(code::ALREADY),
            Action::Start => {
                self.start();
                done(0)
            }
            Action::Mask(mask) => {
                self.threads[thread].mask = mask;
                done(0)
            }
            Action::SignalStack => {
                self.threads[thread].brings_signal_stack = true;
                Expected { own_signal_stack: true, ..done(0) }
            }
            Action::Misuse(how) => done(self.misuse(thread, how)),
            Action::Safepoint
            | Action::Fork { .. }
            | Action::CFault
            | Action::Exit
            | Action::RawExit => done(0),
        }
    }

    fn call(&mut self, thread: usize, with_info: bool) -> Expected {
        if !self.started {
            return came_back(code::NOT_STARTED);
        }
        match self.place(thread) {
            Ok(place) => self.enter(thread, place, with_info),
            Err(error) => came_back(error),
        }
    }

    fn enter(&mut self, thread: usize, place: Place, with_info: bool) -> Expected {
        let Place { m, bound_here, .. } = place;
        let outer = self.inside(thread, m).map(|(id, _)| id);
        self.calls += 1;
        let call = Call { id: self.calls, m, bound_here, outer, deferred: Vec::new(), with_info };
        self.threads[thread].levels.push(Level::Call(call));
        self.make_owed_spare(m);
        entered()
    }

    fn returns(&mut self, thread: usize) -> Expected {
        if !matches!(self.top(thread), Level::Call(_)) {
            self.threads[thread].levels.pop();
            return came_back(0);
        }
        self.end_of_call(thread, None)
    }

    fn unwind(&mut self, thread: usize, panic: Panic) -> Expected {
        if matches!(self.top(thread), Level::C) {
            self.threads[thread].levels.pop();
        }
        self.count(panic);
        self.end_of_call(thread, Some(panic))
    }

    fn count(&mut self, panic: Panic) {
        let Counts { panics, faults, overflows, .. } = &mut self.counts;
        *(match panic.kind {
            code::PANIC => panics,
            code::FAULT => faults,
            _ => overflows,
        }) += 1;
    }

    /// The innermost callback runs its deferred functions, and ends.
    fn end_of_call(&mut self, thread: usize, mut panic: Option<Panic>) -> Expected {
        let Some(Level::Call(mut call)) = self.threads[thread].levels.pop() else {
            return Expected::default();
        };
        let mut log = Vec::new();
        let mut recovered = false;
        let mut unwinds = panic.is_some();
        if self.is(Wrong::Order) {
            call.deferred.reverse();
        }
        while let Some((does, value)) = call.deferred.pop() {
            let value = usize::from(value);
            let mut entry = Entry { kind: does as i32, code: 0, value };
            let mut next = None;
            match does {
                Does::Notes => {}
                Does::Recovers => {
                    let found = panic.filter(|_| !recovered);
                    entry.code = found.map_or(0, |panic| panic.kind);
                    entry.value = found.map_or(0, |panic| panic.value);
                    recovered |= found.is_some();
                }
                Does::Panics => next = Some(Panic { kind: code::PANIC, signo: 0, code: 0, value }),
                Does::Faults => next = Some(fault(0)),
                Does::Calls => entry.value = 1,
                Does::Defers => call.deferred.push((Does::Notes, value as u8)),
            }
            log.push(entry);
            if let Some(next) = next {
                self.count(next);
                (panic, recovered, unwinds) = (Some(next), false, true);
            }
        }
        if unwinds {
            self.unwound(thread, call.id);
        } else if self.is_stopped_in(thread, call.id) {
            self.stopped_in = call.outer;
        }
        self.end_call_on(thread, call.m, call.bound_here);
        let left = panic.filter(|_| !recovered || self.is(Wrong::Recover));
        let info = left.filter(|_| call.with_info);
        Expected { log, info: Some(info), ..came_back(left.map_or(0, |panic| panic.kind)) }
    }

    fn defer(&mut self, thread: usize, does: Does, value: u8) -> Expected {
        for level in self.threads[thread].levels.iter_mut().rev() {
            match level {
                Level::C => {}
                Level::Call(call) => {
                    call.deferred.push((does, value));
                    return done(0);
                }
                _ => break,
            }
        }
        done(code::INVALID)
    }

    /// The thread has stopped the world.
    fn stopped(&mut self, thread: usize) -> Expected {
        if self.owner == Some(super::DEAD)
            || self.unnoticed.as_ref().is_some_and(|unnoticed| unnoticed.runs)
        {
            self.notice_exit();
        }
        self.drop_abandoned(thread);
        self.owner = Some(thread);
        let m = self.threads[thread].held.last();
        let inside = m.and_then(|m| self.inside(thread, *m));
        self.stopped_in = inside.filter(|(_, runs)| !runs || self.on_g(thread)).map(|(id, _)| id);
        done(0)
    }

    fn spawn(&mut self) -> Expected {
        if !self.started {
            return done(code::NOT_STARTED);
        }
        match self.acquire() {
            Ok(m) => {
                self.make_owed_spare(m);
                self.counts.faults += 1;
                self.release(m);
                done(0)
            }
            Err(error) => done(error),
        }
    }

    fn stops(&mut self, thread: usize) -> Expected {
        if !self.started {
            return done(code::NOT_STARTED);
        }
        if self.is_inside(thread) || self.owner.is_some_and(|owner| owner != super::DEAD) {
            return done(code::BUSY);
        }
        self.notice_exit();
        if (0..crate::operation::THREADS).any(|thread| self.is_inside(thread)) {
            return done(code::BUSY);
        }
        self.stop(Some(thread));
        Expected { own_signal_stack: true, ..done(0) }
    }

    fn misuse(&self, thread: usize, how: u8) -> i32 {
        match how {
            3 | 12 if !self.started => code::NOT_STARTED,
            3 => code::OVERFLOW,
            7 => code::ALREADY,
            12 if self.is_inside(thread) => code::BUSY,
            12 if !self.threads[thread].held.is_empty() => 0,
            _ => code::INVALID,
        }
    }
}
