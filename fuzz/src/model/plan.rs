//! What a thread may do next, and whether it then waits in needm.

use super::{Does, HANDLERS, LEVELS, Level, Model, Pending, Thread, code};
use crate::arch;
use crate::operation::{Kind, Operation, THREADS};
use crate::worker::Command;

/// An operation with its operands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Call {
        size: u16,
        with_info: bool,
    },
    Return,
    Ccall,
    Panic(u8),
    Fault(u8),
    Overflow(u16),
    Jump {
        to: usize,
        quiet: bool,
    },
    Attach,
    Detach,
    Defer(Does, u8),
    Signal {
        drops_first: bool,
    },
    StopWorld,
    StartWorld,
    Safepoint,
    EachM,
    Spawn,
    /// The results of the child's callbacks, and of those of a thread that it makes.
    Fork {
        answer: i32,
        of_others: Option<i32>,
    },
    Stop,
    Start,
    Exit,
    RawExit,
    Mask(u64),
    SignalStack,
    CFault,
    Misuse(u8),
}

const MISUSES: u8 = 13;

/// SIGWINCH, which nothing else here uses.
const ONE_SIGNAL: u64 = 1 << 27;
/// All signals but those of faults, of the handlers here, of the C library, and the two that
/// cannot be blocked.
const MOST_SIGNALS: u64 = {
    let mut mask = !0;
    let kept = [4, 5, 7, 8, 11, 10, 12, 23, 32, 33, 9, 19];
    let mut i = 0;
    while i < kept.len() {
        mask &= !(1 << (kept[i] - 1));
        i += 1;
    }
    mask
};

impl Action {
    /// As worker.c expects it. `mask` is the thread's.
    pub(crate) fn command(self, mask: u64) -> Command {
        let plain = |kind, arg: i32, arg2: i32| Command { kind, arg, arg2, mask };
        match self {
            Self::Call { size, with_info } => {
                plain(Kind::Call, i32::from(size) << 1 | i32::from(with_info), 0)
            }
            Self::Return => plain(Kind::Return, 0, 0),
            Self::Ccall => plain(Kind::Ccall, 0, 0),
            Self::Panic(value) => plain(Kind::Panic, value.into(), 0),
            Self::Fault(kind) => plain(Kind::Fault, kind.into(), 0),
            Self::Overflow(step) => plain(Kind::Overflow, step.into(), 0),
            Self::Jump { to, quiet } => {
                plain(Kind::Jump, i32::try_from(to).expect("a level"), quiet.into())
            }
            Self::Attach => plain(Kind::Attach, 0, 0),
            Self::Detach => plain(Kind::Detach, 0, 0),
            Self::Defer(does, value) => {
                plain(Kind::Defer, i32::from(value) << 4 | i32::from(does as u8), 0)
            }
            Self::Signal { drops_first } => plain(Kind::Signal, 0, drops_first.into()),
            Self::StopWorld => plain(Kind::StopWorld, 0, 0),
            Self::StartWorld => plain(Kind::StartWorld, 0, 0),
            Self::Safepoint => plain(Kind::Safepoint, 0, 0),
            Self::EachM => plain(Kind::EachM, 0, 0),
            Self::Spawn => plain(Kind::Spawn, 0, 0),
            Self::Fork { answer, of_others } => plain(Kind::Fork, answer, of_others.unwrap_or(1)),
            Self::Stop => plain(Kind::Stop, 0, 0),
            Self::Start => plain(Kind::Start, 0, 0),
            Self::Exit => plain(Kind::Exit, 0, 0),
            Self::RawExit => plain(Kind::RawExit, 0, 0),
            Self::Mask(mask) => Command { kind: Kind::Mask, arg: 0, arg2: 0, mask },
            Self::SignalStack => plain(Kind::SignalStack, 0, 0),
            Self::CFault => plain(Kind::CFault, 0, 0),
            Self::Misuse(how) => plain(Kind::Misuse, how.into(), 0),
        }
    }
}

impl Model {
    /// What `operation` means here; `None` if it makes no sense, or the model cannot tell what
    /// comes of it.
    pub(crate) fn plan(&self, operation: Operation) -> Option<Action> {
        let Operation { thread, kind, choice } = operation;
        let own = &self.threads[thread];
        let top = self.top(thread);
        let (in_call, in_c) = (matches!(top, Level::Call(_)), matches!(top, Level::C));
        let in_handler = matches!(top, Level::Handler { .. });
        let outside = own.levels.len() == 1;
        let room = own.levels.len() < LEVELS - 1;
        let low = choice & 7;
        let action = match kind {
            Kind::Call if room => {
                let size = [0, 0, 0, 1, 7, 8, 64, 1000][usize::from(low)];
                Action::Call { size, with_info: choice & 8 == 0 }
            }
            Kind::Return => Action::Return,
            Kind::Ccall if room && !(in_handler && self.on_g(thread)) => Action::Ccall,
            Kind::Panic if in_call || in_c => Action::Panic(choice),
            Kind::Fault if in_call => Action::Fault(low),
            // Whether a deferred function may then call back depends on how much stack is left.
            // And at that depth abandoned callbacks seem to enclose the running one.
            Kind::Overflow
                if in_call
                    && own.abandoned.is_empty()
                    && !self.has_deferred(thread, Does::Calls) =>
            {
                Action::Overflow([40, 256, 1000, 3500][usize::from(low & 3)])
            }
            Kind::Jump if !outside => self.plan_jump(thread, choice)?,
            // It may make an M, and the hook `m_new` waits for the world.
            Kind::Attach if self.is_closed_for(thread) => return None,
            Kind::Attach if !in_handler => Action::Attach,
            Kind::Detach if !in_handler => Action::Detach,
            Kind::Defer if !in_handler => {
                use Does::{Calls, Defers, Faults, Notes, Panics, Recovers};
                let does = [Notes, Recovers, Panics, Faults, Calls, Defers, Notes, Recovers];
                Action::Defer(does[usize::from(low)], choice >> 3)
            }
            Kind::Signal
                if room && self.handlers(thread) < HANDLERS && !self.loses_its_thread() =>
            {
                Action::Signal { drops_first: !own.abandoned.is_empty() }
            }
            // The model does not know several stoppers that take turns.
            // With hooks, whatever binds or unbinds an M would wait for the world
            // (tests/c/world_hooks.c): this model does not follow that.
            Kind::StopWorld if self.config.hooks => return None,
            Kind::StopWorld if !self.is_closed_for(thread) || self.is_owner_dead() => {
                Action::StopWorld
            }
            Kind::StartWorld => Action::StartWorld,
            Kind::Safepoint if !in_handler => Action::Safepoint,
            Kind::EachM if own.abandoned.is_empty() => Action::EachM,
            Kind::Spawn if !in_handler && self.owner.is_none() => Action::Spawn,
            Kind::Fork => self.plan_fork(thread),
            Kind::Stop if !in_handler => Action::Stop,
            Kind::Start if !in_handler => Action::Start,
            // An exit that leaves callbacks runs what they have deferred, for which it waits until
            // the world is started.
            Kind::Exit if self.is_inside(thread) && self.is_closed_for(thread) => return None,
            Kind::Exit => Action::Exit,
            // The model does not know in which order two exits are noticed; under an emulator
            // they are noticed late.
            Kind::RawExit if self.unnoticed.is_none() && !self.emulated => Action::RawExit,
            Kind::Mask if outside => {
                Action::Mask([0, ONE_SIGNAL, MOST_SIGNALS][usize::from(low % 3)])
            }
            Kind::SignalStack if outside && own.fresh => Action::SignalStack,
            Kind::CFault if !self.on_g(thread) && !self.loses_its_thread() => Action::CFault,
            Kind::Misuse => {
                let how = choice % MISUSES;
                let known = match how {
                    6 => self.owner != Some(thread),
                    7 => self.started,
                    12 => !in_handler,
                    _ => true,
                };
                known.then_some(Action::Misuse(how))?
            }
            _ => return None,
        };
        let waits = self.waits(thread, action).is_some();
        let fits = !waits || !self.any_waits_at_gate();
        (fits && !self.races(thread, action)).then_some(action)
    }

    /// Whether the result depends on which thread is first. For example, a thread that
    /// continues because of it makes a spare while this one still unbinds Ms.
    fn races(&self, thread: usize, action: Action) -> bool {
        // A stopper waits for one thread after the other: when it notices an exit is not known.
        let dead_runs = self.unnoticed.as_ref().is_some_and(|unnoticed| unnoticed.runs);
        let waits = matches!(self.waits(thread, action), Some(Pending::Quiet));
        let is_stopped =
            self.threads.iter().any(|other| matches!(other.pending, Some(Pending::Quiet)));
        let dies = matches!(action, Action::RawExit) && is_stopped && self.runs(thread);
        let others_run = (0..THREADS).any(|other| other != thread && self.runs(other));
        // An owner lets a waiter continue when it notices its own jump.
        let at_gate = matches!(self.waits(thread, action), Some(Pending::Gate(_)));
        let abandoned =
            |owner: usize| self.threads.get(owner).is_some_and(|t| !t.abandoned.is_empty());
        let owner_notices = at_gate && self.owner.is_some_and(abandoned);
        if waits && dead_runs || dies && others_run || owner_notices {
            return true;
        }
        let owes = |other: &Thread| other.waits_for.is_some_and(|(m, _)| self.ms[m].owes_spare);
        if matches!(action, Action::StartWorld | Action::RawExit) || !self.threads.iter().any(owes)
        {
            return false;
        }
        let mut then = self.clone();
        if then.exits(thread, action) {
            then.exited(thread, action);
        } else {
            then.apply(thread, action, None);
        }
        self.owner.is_some() && then.owner.is_none()
    }

    fn is_owner_dead(&self) -> bool {
        self.unnoticed.as_ref().is_some_and(|unnoticed| unnoticed.owns_the_world)
    }

    /// Whether a thread that returns from a handler has another thread's thread pointer.
    fn loses_its_thread(&self) -> bool {
        self.emulated && arch::own().qemu_mixes_up_threads
    }

    /// Whether the innermost callback has deferred such a function.
    fn has_deferred(&self, thread: usize, does: Does) -> bool {
        let Level::Call(call) = self.top(thread) else { return false };
        call.deferred.iter().any(|(deferred, _)| *deferred == does)
    }

    fn plan_jump(&self, thread: usize, choice: u8) -> Option<Action> {
        let levels = &self.threads[thread].levels;
        let to = usize::from(choice & 15) % (levels.len() - 1);
        let to_g = matches!(levels[to], Level::Call(_))
            || matches!(levels[to], Level::Handler { on_signal_stack: false })
                && levels[..to].iter().any(|level| matches!(level, Level::Call(_)));
        // Back on a G, needm asks the gate at its next call only.
        if to_g && self.is_closed_for(thread) {
            return None;
        }
        let waited_for = self.owner == Some(thread) && self.any_waits_at_gate();
        // There it counts as running until then, and a handler's temporary M goes back earlier
        // or later.
        let own = &self.threads[thread];
        let is_temporary =
            |level: &Level| matches!(level, Level::Call(call) if own.held.first() != Some(&call.m));
        let on_g = !self.runs(thread)
            || !own.abandoned.is_empty()
            || levels[to..].iter().any(is_temporary);
        let quiet = choice & 16 != 0 && !waited_for && !(to_g && on_g);
        Some(Action::Jump { to, quiet })
    }

    fn plan_fork(&self, thread: usize) -> Action {
        if !self.started {
            return Action::Fork { answer: code::NOT_STARTED, of_others: None };
        }
        // In the child there is no other thread.
        let mut child = self.clone();
        child.drop_abandoned(thread);
        let max = if self.config.max_ms == 0 { usize::MAX } else { self.config.max_ms as usize };
        let held = child.threads[thread].held.len();
        let may_take = |held: usize| if held < max { 0 } else { code::TIMED_OUT };
        let takes = child.would_bind(thread);
        let answer = if takes { may_take(held) } else { 0 };
        let stays = takes && held == 0 && !self.config.per_call;
        let of_others = may_take(held + usize::from(stays));
        let owns = child.owner == Some(thread);
        Action::Fork { answer, of_others: (!owns).then_some(of_others) }
    }

    /// What the thread would wait for in `action`; `None` if it would not.
    pub(crate) fn waits(&self, thread: usize, action: Action) -> Option<Pending> {
        let closed = self.is_closed_for(thread) && !self.is_owner_dead();
        let at_gate = match action {
            Action::Call { .. } if self.started && closed => {
                let mut then = self.clone();
                then.drop_abandoned(thread);
                then.place(thread).is_ok_and(|place| !place.passes)
            }
            Action::Return | Action::Panic(_) => closed && matches!(self.top(thread), Level::C),
            Action::Safepoint => closed && self.on_g(thread),
            _ => false,
        };
        if at_gate {
            return Some(Pending::Gate(action));
        }
        let others_run = || (0..THREADS).any(|other| other != thread && self.runs(other));
        let stops = matches!(action, Action::StopWorld)
            && self.started
            && self.owner != Some(thread)
            && others_run();
        stops.then_some(Pending::Quiet)
    }
}
