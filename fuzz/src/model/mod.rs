//! A model of needm: what must be true after each operation.
//!
//! It knows each thread's levels (its own stack, callbacks, C that they called, handlers),
//! which thread has each M, the extra list, and which thread has stopped the world. `plan`
//! says which operation may come next, `apply` what must come of it, `ms` which M a thread
//! gets.

mod apply;
mod ms;
mod plan;

pub(crate) use apply::Expected;
pub(crate) use plan::Action;

use crate::operation::{Config, THREADS};

/// The most levels of a thread; as in worker.h.
const LEVELS: usize = 12;
/// The most handlers among them.
const HANDLERS: usize = 3;

/// The owner of the world, if it has exited and needm has not noticed.
const DEAD: usize = usize::MAX;

/// Errors of include/needm.h.
pub(crate) mod code {
    pub(crate) const NOT_STARTED: i32 = -1;
    pub(crate) const ALREADY: i32 = -2;
    pub(crate) const INVALID: i32 = -3;
    pub(crate) const TIMED_OUT: i32 = -5;
    pub(crate) const BUSY: i32 = -6;
    pub(crate) const PANIC: i32 = -7;
    pub(crate) const FAULT: i32 = -8;
    pub(crate) const OVERFLOW: i32 = -9;
}

/// A rule of the model that is made wrong on purpose: the corpus must find each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // `Wrong::ALL` says what each is
pub enum Wrong {
    First,
    Spare,
    Keep,
    Order,
    Recover,
    Jump,
    End,
    World,
}

impl Wrong {
    /// The name of each on the command line, and what it claims.
    pub const ALL: [(&'static str, Self, &'static str); 8] = [
        ("first", Self::First, "the M that was unbound first is bound first"),
        ("spare", Self::Spare, "the thread that acquires the last M makes no spare"),
        ("keep", Self::Keep, "an M stays bound after a per-call callback"),
        ("order", Self::Order, "deferred functions run first in, first out"),
        ("recover", Self::Recover, "a recovered callback returns its panic's kind"),
        ("jump", Self::Jump, "a callback that was jumped out of keeps its M"),
        ("end", Self::End, "the M of a thread that exited raw is lost"),
        ("world", Self::World, "a callback that is unwound leaves the world stopped"),
    ];
}

/// What a deferred function does; as in worker.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Does {
    Notes,
    Recovers,
    Panics,
    Faults,
    Calls,
    Defers,
}

/// A callback that has not ended.
#[derive(Clone, Debug)]
struct Call {
    id: u64,
    m: usize,
    /// Whether its M was bound for it.
    bound_here: bool,
    /// The callback that encloses it on the same G.
    outer: Option<u64>,
    deferred: Vec<(Does, u8)>,
    with_info: bool,
}

#[derive(Clone, Debug)]
enum Level {
    Out,
    Call(Call),
    C,
    Handler { on_signal_stack: bool },
}

/// What a thread waits for in needm.
#[derive(Clone, Debug)]
pub(crate) enum Pending {
    /// The start of the world, to continue with this.
    Gate(Action),
    /// Other threads, to stop the world.
    Quiet,
}

#[derive(Clone, Debug, Default)]
struct Thread {
    alive: bool,
    /// It has not called needm yet.
    fresh: bool,
    levels: Vec<Level>,
    /// Levels that it has jumped out of, which needm has not noticed: inside of `levels`.
    abandoned: Vec<Level>,
    /// The Ms that it holds, the outermost first.
    held: Vec<usize>,
    last: Option<usize>,
    pending: Option<Pending>,
    /// The M that the callback at the gate is to run on, and whether it was bound for it.
    waits_for: Option<(usize, bool)>,
    brings_signal_stack: bool,
    mask: u64,
}

/// A thread that has exited by the raw system call, which needm has not noticed.
#[derive(Clone, Debug)]
struct Unnoticed {
    held: Vec<usize>,
    runs: bool,
    owns_the_world: bool,
}

#[derive(Clone, Debug)]
struct M {
    /// Its number, once a thread has reported it.
    id: Option<u64>,
    held: bool,
    listed: bool,
    owes_spare: bool,
    attached: bool,
}

/// What the statistics must have counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) reclaimed: u64,
    pub(crate) timeouts: u64,
    pub(crate) panics: u64,
    pub(crate) faults: u64,
    pub(crate) overflows: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    config: Config,
    wrong: Option<Wrong>,
    emulated: bool,
    started: bool,
    ms: Vec<M>,
    /// The extra list: the last is the next to be acquired.
    list: Vec<usize>,
    threads: [Thread; THREADS],
    unnoticed: Option<Unnoticed>,
    /// The thread that has stopped the world, or is about to.
    owner: Option<usize>,
    stopped_in: Option<u64>,
    pub(crate) counts: Counts,
    /// Ms that threads held when needm was stopped: `unminit` was not called for them.
    never_unbound: u64,
    calls: u64,
}

impl Model {
    pub(crate) fn new(config: Config, wrong: Option<Wrong>, emulated: bool) -> Self {
        let mut new = Self {
            config,
            wrong,
            emulated,
            started: false,
            ms: Vec::new(),
            list: Vec::new(),
            threads: Default::default(),
            unnoticed: None,
            owner: None,
            stopped_in: None,
            counts: Counts::default(),
            never_unbound: 0,
            calls: 0,
        };
        new.start();
        new
    }

    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    pub(crate) fn is_alive(&self, thread: usize) -> bool {
        self.threads[thread].alive
    }

    pub(crate) fn is_started(&self) -> bool {
        self.started
    }

    pub(crate) fn is_pending(&self, thread: usize) -> bool {
        self.threads[thread].pending.is_some()
    }

    pub(crate) fn is_outside(&self, thread: usize) -> bool {
        self.threads[thread].levels.len() == 1
    }

    pub(crate) fn owns_the_world(&self, thread: usize) -> bool {
        self.owner == Some(thread)
    }

    /// How many Ms threads hold.
    fn held(&self) -> u64 {
        self.ms.iter().filter(|m| m.held).count() as u64
    }

    /// All levels of a thread, as needm sees them.
    fn view(&self, thread: usize) -> impl DoubleEndedIterator<Item = &Level> {
        self.threads[thread].levels.iter().chain(&self.threads[thread].abandoned)
    }

    /// The number of the innermost callback on a thread's M, and whether it runs; `None` if
    /// there is none.
    fn inside(&self, thread: usize, m: usize) -> Option<(u64, bool)> {
        let levels: Vec<_> = self.view(thread).collect();
        let of_m = |level: &&Level| matches!(level, Level::Call(call) if call.m == m);
        let at = levels.iter().rposition(of_m)?;
        let Level::Call(call) = levels[at] else { return None };
        Some((call.id, !matches!(levels.get(at + 1), Some(Level::C))))
    }

    /// Whether callback code of a thread runs, as needm sees it.
    fn runs(&self, thread: usize) -> bool {
        let own = &self.threads[thread];
        let waits = own.pending.is_some();
        !waits && own.held.iter().any(|m| matches!(self.inside(thread, *m), Some((_, true))))
    }

    fn is_inside(&self, thread: usize) -> bool {
        self.view(thread).any(|level| matches!(level, Level::Call(_)))
    }

    /// Whether the innermost level runs on a G.
    fn on_g(&self, thread: usize) -> bool {
        for level in self.threads[thread].levels.iter().rev() {
            match level {
                Level::Call(_) => return true,
                Level::Handler { on_signal_stack: false } => {}
                _ => return false,
            }
        }
        false
    }

    fn top(&self, thread: usize) -> &Level {
        self.threads[thread].levels.last().unwrap_or(&Level::Out)
    }

    fn handlers(&self, thread: usize) -> usize {
        let levels = self.threads[thread].levels.iter();
        levels.filter(|level| matches!(level, Level::Handler { .. })).count()
    }

    /// Whether the world is stopped for this thread, or about to be.
    fn is_closed_for(&self, thread: usize) -> bool {
        self.owner.is_some_and(|owner| owner != thread)
    }

    fn any_waits_at_gate(&self) -> bool {
        self.threads.iter().any(|thread| matches!(thread.pending, Some(Pending::Gate(_))))
    }

    /// The world starts.
    fn start_world(&mut self) {
        self.owner = None;
        self.stopped_in = None;
    }

    fn is_stopped_in(&self, thread: usize, call: u64) -> bool {
        self.owner == Some(thread) && self.stopped_in == Some(call)
    }

    /// The callback was unwound, or jumped out of.
    fn unwound(&mut self, thread: usize, call: u64) {
        if self.is_stopped_in(thread, call) && !self.is(Wrong::World) {
            self.start_world();
        }
    }

    /// A waiting thread that may continue now.
    pub(crate) fn next_released(&mut self) -> Option<usize> {
        let waits_for_quiet =
            |thread: &usize| matches!(self.threads[*thread].pending, Some(Pending::Quiet));
        if let Some(stopper) = (0..THREADS).find(waits_for_quiet) {
            if (0..THREADS).any(|thread| thread != stopper && self.runs(thread)) {
                return None;
            }
            if self.unnoticed.as_ref().is_some_and(|unnoticed| unnoticed.runs) {
                self.notice_exit();
            }
            return Some(stopper);
        }
        let waiter = (0..THREADS)
            .find(|thread| matches!(self.threads[*thread].pending, Some(Pending::Gate(_))))?;
        if self.unnoticed.as_ref().is_some_and(|unnoticed| unnoticed.owns_the_world) {
            self.notice_exit();
        }
        (!self.is_closed_for(waiter)).then_some(waiter)
    }
}

/// What a report must agree with.
impl Model {
    pub(crate) fn mask(&self, thread: usize) -> u64 {
        self.threads[thread].mask
    }

    /// Checks that `needm_self` on this thread, an M's number or 0 for none, is the M it holds.
    pub(crate) fn is_on(&mut self, thread: usize, id: u64) -> Result<(), String> {
        let Some(m) = self.threads[thread].held.last().copied() else {
            return if id == 0 { Ok(()) } else { Err(format!("M {id}, want none")) };
        };
        let known = self.ms[m].id;
        let is_new = known.is_none() && id != 0 && self.ms.iter().all(|m| m.id != Some(id));
        if known == Some(id) || is_new {
            self.ms[m].id = Some(id);
            return Ok(());
        }
        let all: Vec<_> = self.ms.iter().map(|m| m.id).collect();
        Err(format!("M {id}, want {known:?}, the {m}th of {all:?}"))
    }

    /// The numbers of these Ms, as worker.c notes them.
    pub(crate) fn bits(&self, ms: &[usize]) -> u64 {
        ms.iter().filter_map(|m| self.ms[*m].id).fold(0, |bits, id| bits | 1 << (id % 64))
    }

    /// The same for the Ms of a thread whose exit was not noticed.
    pub(crate) fn bits_unnoticed(&self) -> u64 {
        self.unnoticed.as_ref().map_or(0, |unnoticed| self.bits(&unnoticed.held))
    }

    /// What the thread's signal stack must be: none, or its own.
    pub(crate) fn signal_stack(&self, thread: usize) -> i32 {
        self.threads[thread].brings_signal_stack.into()
    }

    /// How many Ms exist, how many are held, and how many the hooks must count as bound.
    pub(crate) fn made_held_bound(&self) -> (u64, u64, u64) {
        let held = self.held();
        (self.ms.len() as u64, held, held + self.never_unbound)
    }
}
