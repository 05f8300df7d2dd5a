//! What must be true of the kernel: a model of it, one operation at a time.
//!
//! It knows each thread's levels (its own stack, callbacks, C that they called, handlers),
//! each M's holder, the extra list, and who has the world stopped. `plan` says what may be
//! done next, `apply` what must come of it, `ms` who gets which M.

mod apply;
mod ms;
mod plan;

pub(crate) use apply::Expected;
pub(crate) use plan::Action;

use crate::operation::{Config, THREADS};

/// Levels of a thread at most; as in worker.h.
const LEVELS: usize = 12;
/// Handlers among them at most.
const HANDLERS: usize = 3;

/// The owner of the world that has ended, unnoticed.
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

/// A rule that is wrong on purpose: the corpus must find each.
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
    /// Their names, and what they claim.
    pub const ALL: [(&'static str, Self, &'static str); 8] = [
        ("first", Self::First, "the M that was given back first is taken first"),
        ("spare", Self::Spare, "the taker of the last M makes no spare"),
        ("keep", Self::Keep, "an M is kept at the end of a per-call callback"),
        ("order", Self::Order, "deferred functions run first in, first out"),
        ("recover", Self::Recover, "a recovered callback returns its panic's kind"),
        ("jump", Self::Jump, "a callback that was jumped out of keeps its M"),
        ("end", Self::End, "a raw exit's M is not found again"),
        ("world", Self::World, "a callback that is unwound leaves its world stopped"),
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

/// A callback under way.
#[derive(Clone, Debug)]
struct Call {
    id: u64,
    m: usize,
    /// Its M was taken for it.
    taken: bool,
    /// The callback around it on the same G.
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

/// What a thread waits for in the kernel.
#[derive(Clone, Debug)]
pub(crate) enum Pending {
    /// The world, to go on with this.
    Gate(Action),
    /// Others, to have the world stopped.
    Quiet,
}

#[derive(Clone, Debug, Default)]
struct Thread {
    alive: bool,
    /// It has done nothing yet that the kernel knows of.
    fresh: bool,
    levels: Vec<Level>,
    /// What it has jumped out of and the kernel has not noticed yet: inside of `levels`.
    ghosts: Vec<Level>,
    /// What it holds, the outermost first.
    held: Vec<usize>,
    last: Option<usize>,
    pending: Option<Pending>,
    /// The M that the callback at the gate is to run on, and whether it was taken for it.
    waits_for: Option<(usize, bool)>,
    brings_signal_stack: bool,
    mask: u64,
}

/// A thread that has ended by the raw system call, and whose end was not noticed yet.
#[derive(Clone, Debug)]
struct Limbo {
    held: Vec<usize>,
    runs: bool,
    owns_the_world: bool,
}

#[derive(Clone, Debug)]
struct M {
    /// Its number, once it was seen.
    id: Option<u64>,
    held: bool,
    listed: bool,
    owes: bool,
    attached: bool,
}

/// What the statistics count since the process began.
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
    /// The extra list, the next to be taken last.
    list: Vec<usize>,
    threads: [Thread; THREADS],
    limbo: Option<Limbo>,
    /// Who has the world stopped, or is about to.
    owner: Option<usize>,
    stopped_in: Option<u64>,
    pub(crate) counts: Counts,
    /// Ms that threads held when the kernel was stopped: `unminit` was not called for them.
    forgotten: u64,
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
            limbo: None,
            owner: None,
            stopped_in: None,
            counts: Counts::default(),
            forgotten: 0,
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

    /// Threads hold as many Ms.
    fn held(&self) -> u64 {
        self.ms.iter().filter(|m| m.held).count() as u64
    }

    /// All levels of a thread that the kernel knows of.
    fn view(&self, thread: usize) -> impl DoubleEndedIterator<Item = &Level> {
        self.threads[thread].levels.iter().chain(&self.threads[thread].ghosts)
    }

    /// Of a thread's M: its innermost callback's number, and whether that runs; `None` outside.
    fn inside(&self, thread: usize, m: usize) -> Option<(u64, bool)> {
        let levels: Vec<_> = self.view(thread).collect();
        let of_m = |level: &&Level| matches!(level, Level::Call(call) if call.m == m);
        let at = levels.iter().rposition(of_m)?;
        let Level::Call(call) = levels[at] else { return None };
        Some((call.id, !matches!(levels.get(at + 1), Some(Level::C))))
    }

    /// Whether callback code of a thread runs, as far as the kernel knows.
    fn runs(&self, thread: usize) -> bool {
        let own = &self.threads[thread];
        let waits = own.pending.is_some();
        !waits && own.held.iter().any(|m| matches!(self.inside(thread, *m), Some((_, true))))
    }

    fn is_inside(&self, thread: usize) -> bool {
        self.view(thread).any(|level| matches!(level, Level::Call(_)))
    }

    /// Whether code of the innermost level is on a G.
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

    fn somebody_waits_at_the_gate(&self) -> bool {
        self.threads.iter().any(|thread| matches!(thread.pending, Some(Pending::Gate(_))))
    }

    /// The world goes on.
    fn go_on(&mut self) {
        self.owner = None;
        self.stopped_in = None;
    }

    fn is_stopped_in(&self, thread: usize, call: u64) -> bool {
        self.owner == Some(thread) && self.stopped_in == Some(call)
    }

    /// The callback was unwound, or jumped out of.
    fn unwound(&mut self, thread: usize, call: u64) {
        if self.is_stopped_in(thread, call) && !self.is(Wrong::World) {
            self.go_on();
        }
    }

    /// Whoever waits for something that is so now: goes on, and is to be heard.
    pub(crate) fn next_released(&mut self) -> Option<usize> {
        let waits_for_quiet =
            |thread: &usize| matches!(self.threads[*thread].pending, Some(Pending::Quiet));
        if let Some(stopper) = (0..THREADS).find(waits_for_quiet) {
            if (0..THREADS).any(|thread| thread != stopper && self.runs(thread)) {
                return None;
            }
            if self.limbo.as_ref().is_some_and(|limbo| limbo.runs) {
                self.notice();
            }
            return Some(stopper);
        }
        let waiter = (0..THREADS)
            .find(|thread| matches!(self.threads[*thread].pending, Some(Pending::Gate(_))))?;
        if self.limbo.as_ref().is_some_and(|limbo| limbo.owns_the_world) {
            self.notice();
        }
        (!self.is_closed_for(waiter)).then_some(waiter)
    }
}

/// What a report is compared with.
impl Model {
    pub(crate) fn mask(&self, thread: usize) -> u64 {
        self.threads[thread].mask
    }

    /// `needm_self` on this thread must be the M with this number, 0 for none.
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

    /// Likewise of Ms that a dead thread holds.
    pub(crate) fn bits_in_limbo(&self) -> u64 {
        self.limbo.as_ref().map_or(0, |limbo| self.bits(&limbo.held))
    }

    /// What the thread's signal stack must be: none, or its own.
    pub(crate) fn signal_stack(&self, thread: usize) -> i32 {
        self.threads[thread].brings_signal_stack.into()
    }

    /// Ms made, and held; and how many the hooks must take for held.
    pub(crate) fn made_held_taken(&self) -> (u64, u64, u64) {
        let held = self.held();
        (self.ms.len() as u64, held, held + self.forgotten)
    }
}
