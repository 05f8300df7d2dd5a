//! Runs a case: each operation on its thread, and compares what the thread saw with the
//! model.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::model::{Action, Expected, Model, Wrong, code};
use crate::operation::{Case, Kind, Operation, THREADS};
use crate::worker::{self, Report};

/// How a case is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// The rule of the model that is wrong on purpose.
    pub wrong: Option<Wrong>,
    /// Print each operation as it is run.
    pub aloud: bool,
}

/// How often each operation was run. Those that made no sense are not counted.
pub type Done = BTreeMap<Kind, u64>;

/// Whether an emulator runs this.
fn emulated() -> bool {
    std::env::var_os("NEEDM_RUNNER").is_some_and(|words| !words.is_empty())
}

/// The process's mappings, without those that grow by themselves.
fn maps() -> Vec<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let grows = |line: &&str| line.ends_with("[heap]") || line.ends_with("[stack]");
    maps.lines().filter(|line| !grows(line)).map(String::from).collect()
}

/// The bytes of these mappings: their number changes when neighbours are merged.
fn bytes(maps: &[String]) -> u64 {
    let address = |word: &str| u64::from_str_radix(word, 16).unwrap_or(0);
    let size = |line: &String| {
        let (from, rest) = line.split_once('-').unwrap_or_default();
        address(rest.split(' ').next().unwrap_or_default()) - address(from)
    };
    maps.iter().map(size).sum()
}

/// Runs each kind of thread once, so that the C library has mapped all that it keeps.
fn warm_up() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let config = Case::read(&[]).config;
        worker::begin(&config, emulated());
        let all = 0..THREADS;
        all.clone().for_each(worker::make);
        worker::start();
        worker::command(0, Action::Spawn.command(0));
        worker::wait(0).expect("the operation ends");
        all.clone().for_each(|thread| worker::command(thread, Action::Exit.command(0)));
        all.for_each(worker::join);
        worker::stop();
        worker::end();
    });
}

struct Runner {
    model: Model,
    before: worker::Stats,
    history: String,
    aloud: bool,
    hooks: bool,
    emulated: bool,
    done: Done,
}

/// Runs a case on threads of its own. An error says where needm differed from the model, and
/// the sequence that led there; the process is then in an unknown state.
pub fn run(case: &Case, run: Run) -> Result<Done, String> {
    warm_up();
    let emulated = emulated();
    worker::begin(&case.config, emulated);
    let maps_before = maps();
    let mut runner = Runner {
        model: Model::new(case.config, run.wrong, emulated),
        before: worker::stats(),
        history: String::new(),
        aloud: run.aloud,
        hooks: case.config.hooks,
        emulated,
        done: Done::new(),
    };
    runner.tell(&format!("{:?}", case.config));
    runner.all(case).map_err(|error| format!("{}{error}", runner.history))?;
    let maps_after = maps();
    if !emulated && bytes(&maps_after) != bytes(&maps_before) {
        let new: Vec<_> = maps_after.iter().filter(|map| !maps_before.contains(map)).collect();
        let gone: Vec<_> = maps_before.iter().filter(|map| !maps_after.contains(map)).collect();
        return Err(format!("{}mappings added: {new:#?}, removed: {gone:#?}", runner.history));
    }
    worker::end();
    Ok(runner.done)
}

impl Runner {
    fn tell(&mut self, line: &str) {
        if self.aloud {
            eprintln!("{line}");
        }
        let _ = writeln!(self.history, "{line}");
    }

    fn all(&mut self, case: &Case) -> Result<(), String> {
        let started = worker::start();
        if started != 0 {
            return Err(format!("needm_start: {started}"));
        }
        for operation in &case.operations {
            self.one(*operation)?;
        }
        self.end_all()?;
        let stopped = worker::stop();
        let expected = if self.model.is_started() { 0 } else { code::NOT_STARTED };
        if stopped != expected {
            return Err(format!("the last needm_stop: {stopped}, want {expected}"));
        }
        if stopped == code::NOT_STARTED && (worker::start(), worker::stop()) != (0, 0) {
            return Err("needm does not start and stop once more".into());
        }
        Ok(())
    }

    /// Runs one operation, if it makes sense, and what waited for it.
    fn one(&mut self, operation: Operation) -> Result<(), String> {
        let Operation { thread, kind, .. } = operation;
        if self.model.is_pending(thread) {
            return Ok(());
        }
        if !self.model.is_alive(thread) {
            worker::make(thread);
            self.model.make_thread(thread);
            self.tell(&format!("{thread} starts"));
        }
        let Some(action) = self.model.plan(operation) else { return Ok(()) };
        self.tell(&format!("{thread} {action:?}"));
        *self.done.entry(kind).or_default() += 1;
        self.act(thread, action).map_err(|error| format!("{thread} {action:?}: {error}"))
    }

    fn act(&mut self, thread: usize, action: Action) -> Result<(), String> {
        let exits = self.model.exits(thread, action);
        let waits = self.model.waits(thread, action).is_some();
        worker::command(thread, action.command(self.model.mask(thread)));
        if exits {
            worker::join(thread);
            self.model.exited(thread, action);
        } else if waits {
            self.model.begin_waiting(thread, action);
            self.tell("  waits");
            if !worker::is_blocked(thread) {
                return Err("does not wait".into());
            }
        } else {
            let report = worker::wait(thread).ok_or("the operation does not end")?;
            self.sync();
            let expected = self.model.apply(thread, action, Some(&report));
            self.compare(thread, &report, &expected)?;
        }
        while let Some(released) = self.model.next_released() {
            self.tell(&format!("  {released} continues"));
            let report = worker::wait(released).ok_or_else(|| format!("{released} still waits"))?;
            self.sync();
            let expected = self.model.end_waiting(released);
            self.compare(released, &report, &expected)
                .map_err(|error| format!("{released} continued: {error}"))?;
        }
        self.sync();
        self.compare_counts()
    }

    /// needm may notice an exit at any time: the model follows.
    fn sync(&mut self) {
        if worker::stats().reclaimed - self.before.reclaimed > self.model.counts.reclaimed {
            self.model.notice_exit();
        }
    }

    fn compare(
        &mut self,
        thread: usize,
        report: &Report,
        expected: &Expected,
    ) -> Result<(), String> {
        if let Some(wrong) = report.wrong() {
            return Err(format!("{wrong} (child {:#x})", report.child));
        }
        let got = (report.event, report.code);
        let want = (expected.event, expected.code);
        if got != want {
            return Err(format!("event and code {got:?}, want {want:?}"));
        }
        if report.log() != expected.log {
            return Err(format!("deferred functions {:?}, want {:?}", report.log(), expected.log));
        }
        if let Some(want) = expected.info {
            let info = report.info;
            let right = match want {
                None => info.kind == 1,
                Some(want) => {
                    // Linux says of a guard that it keeps in page tables that nothing is mapped
                    // there (SEGV_MAPERR), of others that access is refused (SEGV_ACCERR).
                    let is_code = info.code == want.code
                        || want.kind == code::OVERFLOW && [1, 2].contains(&info.code);
                    (info.kind, info.signo, info.value) == (want.kind, want.signo, want.value)
                        && (self.emulated || is_code)
                }
            };
            if !right {
                return Err(format!("info {info:?}, want {want:?}"));
            }
        }
        if report.quiet != 0 {
            return Ok(());
        }
        self.model.is_on(thread, report.m)?;
        if let Some(visited) = &expected.visited {
            let want = self.model.bits(visited);
            // Callbacks of an exited thread are shown until needm notices the exit.
            if report.visited & !self.model.bits_unnoticed() != want {
                return Err(format!("needm_each_m shows {:#b}, want {want:#b}", report.visited));
            }
        }
        if expected.own_signal_stack && report.signal_stack != self.model.signal_stack(thread) {
            return Err(format!("signal stack {}", report.signal_stack));
        }
        Ok(())
    }

    /// Compares the statistics, when no operation runs.
    fn compare_counts(&self) -> Result<(), String> {
        let stats = worker::stats();
        let before = self.before; // they count from the start of the process
        let (made, held, bound) = self.model.made_held_bound();
        let c = self.model.counts;
        let want =
            [made, made - held, held, c.reclaimed, c.timeouts, c.panics, c.faults, c.overflows];
        let got = [
            stats.total,
            stats.idle,
            stats.bound,
            stats.reclaimed - before.reclaimed,
            stats.timeouts - before.timeouts,
            stats.panics - before.panics,
            stats.faults - before.faults,
            stats.overflows - before.overflows,
        ];
        if got != want {
            return Err(format!(
                "[total, idle, bound, reclaimed, timeouts, panics, faults, overflows] {got:?}, want {want:?}"
            ));
        }
        let hooks = worker::hooks();
        let hooks = (hooks.0, if self.hooks { hooks.1 } else { bound });
        if hooks != (made, bound) {
            return Err(format!(
                "Ms made and bound, by the hooks, {hooks:?}, want {:?}",
                (made, bound)
            ));
        }
        Ok(())
    }

    /// Has all threads exit, after which nothing of needm may be left.
    fn end_all(&mut self) -> Result<(), String> {
        for _ in 0..4 * THREADS {
            for thread in 0..THREADS {
                let operation = |kind| Operation { thread, kind, choice: 0 };
                if !self.model.is_alive(thread) || self.model.is_pending(thread) {
                    continue;
                }
                if self.model.owns_the_world(thread) {
                    self.one(operation(Kind::StartWorld))?;
                }
                if !self.model.is_outside(thread) {
                    self.one(operation(Kind::Jump))?;
                }
                if self.model.is_outside(thread) && !self.model.is_pending(thread) {
                    self.one(operation(Kind::Return))?;
                }
            }
        }
        match (0..THREADS).find(|thread| self.model.is_alive(*thread)) {
            Some(thread) => Err(format!("{thread} does not exit")),
            None => Ok(()),
        }
    }
}
