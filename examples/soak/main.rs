//! Everything at once, at random: threads that call back, fault, overflow, panic, recover,
//! nest, are jumped over, run fibers, stop the world, attach, get signals, fork, and exit in three
//! ways, while needm is stopped and started. A crash reporter lies over its handlers, and in the
//! middle a sandbox arrives.
//!
//! `cargo run --release --example soak -- SECONDS [SEED]` says on standard
//! error each second how far it is, and at the end prints an account that must add up. It
//! exits with a failure if that does not. With the same seed threads make the same choices.
//!
//! # Safety
//! The functions of `foreign.c` are declared as there. What they call may run on any thread,
//! and on the handler's side at any instruction.

#[path = "../../tests/arch/table.rs"]
mod arch;
mod work;

use std::ffi::c_int;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use needm::{Binding, Config, Error};
use work::{ACCOUNT, Random};

unsafe extern "C" {
    // examples/soak/foreign.c
    fn soak_thread(
        work: extern "C" fn(u64),
        number: u64,
        ending: c_int,
        running: *mut c_int,
    ) -> c_int;
    fn soak_handle(call: extern "C" fn());
    fn soak_handle_no_more();
    fn soak_report();
    fn soak_sandbox() -> c_int;
}

/// Threads at once.
const THREADS: i32 = 12;

static SEED: AtomicU64 = AtomicU64::new(0);
static RUNNING: AtomicI32 = AtomicI32::new(0);

extern "C" fn live(number: u64) {
    work::live(SEED.load(Relaxed), number);
}

/// Whether an emulator runs this.
fn emulated() -> bool {
    static EMULATED: LazyLock<bool> =
        LazyLock::new(|| std::env::var_os("NEEDM_RUNNER").is_some_and(|words| !words.is_empty()));
    *EMULATED
}

/// Whether a thread that returns from a handler has another thread's thread pointer.
fn handlers_lose_their_thread() -> bool {
    emulated() && arch::own().qemu_mixes_up_threads
}

fn config(random: &mut Random) -> Config {
    let binding = if random.below(2) == 0 { Binding::Thread } else { Binding::Call };
    // So many that no fiber's callback has to share an M.
    let max_ms = if random.below(4) == 0 { 128 } else { 0 };
    Config { binding, max_ms, ..Config::default() }
}

fn rss() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0) * 4
}

fn wait_for_all() -> Result<(), String> {
    let start = Instant::now();
    while RUNNING.load(SeqCst) > 0 {
        if start.elapsed() > Duration::from_secs(60) {
            return Err(format!("{} threads do not exit", RUNNING.load(SeqCst)));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Stops needm while threads exist: false if one of them is in a callback.
fn stop() -> Result<bool, String> {
    match needm::stop() {
        Ok(()) => Ok(true),
        Err(Error::Busy) => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

fn soak(seconds: u64, seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed, 0);
    SEED.store(seed, Relaxed);
    let _ = &*ACCOUNT; // made before a handler uses it
    if !handlers_lose_their_thread() {
        // SAFETY: `on_signal` calls back and counts, which is allowed at any instruction.
        unsafe { soak_handle(work::on_signal) };
    }
    needm::start(config(&mut random)).map_err(|error| error.to_string())?;
    // SAFETY: the reporter forwards to the handlers of before.
    unsafe { soak_report() };
    let start = Instant::now();
    let (mut made, mut starts, mut said) = (0, 1, 0);
    let mut in_sandbox = emulated(); // qemu-user has no filters
    while start.elapsed() < Duration::from_secs(seconds) {
        if RUNNING.load(SeqCst) < THREADS {
            made += 1;
            // The C library does not see raw exits, and keeps the stacks of those threads: they
            // become rarer, or memory runs out.
            let rarity = if made < 50_000 { 100 } else { 2_500 };
            let ending = match random.below(rarity) {
                0 => 2,
                other => c_int::from(other % 2 == 0),
            };
            // SAFETY: `live` may run on any thread; `RUNNING` is a static int, which C changes
            // atomically.
            let refused = unsafe { soak_thread(live, made, ending, RUNNING.as_ptr()) };
            if refused != 0 {
                return Err(format!("thread {made} cannot be made: error {refused}"));
            }
        } else {
            std::thread::yield_now();
        }
        if !in_sandbox && start.elapsed() > Duration::from_secs(seconds) / 2 {
            in_sandbox = true;
            // SAFETY: what it refuses, callers of Linux do without.
            let refused = unsafe { soak_sandbox() };
            if refused != 0 {
                eprintln!("soak: no sandbox: error {refused}");
            }
        }
        if random.below(500) == 0 && stop()? {
            starts += 1;
            needm::start(config(&mut random)).map_err(|error| error.to_string())?;
        }
        if start.elapsed().as_secs() > said {
            said += 1;
            let stats = needm::stats();
            eprintln!(
                "soak: {said} of {seconds} s: {} callbacks, {} faults, {made} threads, {} Ms, {} KB",
                ACCOUNT.ran.load(Relaxed),
                ACCOUNT.faults.load(Relaxed) + ACCOUNT.overflows.load(Relaxed),
                stats.ms_total,
                rss()
            );
        }
    }
    wait_for_all()?;
    let stats = needm::stats();
    println!("{made} threads, {starts} starts of needm, {} Ms in the last", stats.ms_total);
    let end = Instant::now();
    while !stop()? {
        if end.elapsed() > Duration::from_secs(10) {
            return Err(format!("needm does not stop: {:?}", needm::stats()));
        }
    }
    // SAFETY: it may be called at any time.
    unsafe { soak_handle_no_more() };
    // A thread that does not count as running any more may still exit, and a handler interrupt that.
    while ACCOUNT.answered() != ACCOUNT.asked.load(Relaxed) && end.elapsed().as_secs() < 10 {
        std::thread::yield_now();
    }
    Ok(())
}

/// Prints the account, and checks that it adds up.
fn account() -> Result<(), String> {
    let of = |count: &AtomicU64| count.load(Relaxed);
    let a = &*ACCOUNT;
    println!(
        "{} callbacks called, {} ran, {} refused, {} without room on a signal stack; {} stops, {} forks, {} waits of fibers",
        of(&a.asked),
        of(&a.ran),
        of(&a.refused),
        of(&a.cramped),
        of(&a.stops),
        of(&a.forks),
        of(&a.waited)
    );
    let pairs = [
        ("callbacks", a.answered(), of(&a.asked)),
        ("faults", of(&a.faults), of(&a.faults_met)),
        ("overflows", of(&a.overflows), of(&a.overflows_met)),
        ("panics", of(&a.panics), of(&a.panics_met)),
        ("jumps", of(&a.jumps), of(&a.jumps_met)),
    ];
    for (what, raised, met) in pairs {
        println!("{what}: {raised} caused, {met} reported");
    }
    println!("{} recovered, {} wrong results", of(&a.recovered), of(&a.wrong));
    let adds_up = of(&a.wrong) == 0 && pairs.iter().all(|(_, raised, met)| raised == met);
    adds_up.then_some(()).ok_or_else(|| "the account does not add up".into())
}

/// The time, as a seed.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs())
}

fn asked() -> Result<(u64, u64), String> {
    const USAGE: &str = "usage: soak SECONDS [SEED]";
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |word: &String| word.parse().map_err(|_| format!("{word}: {USAGE}"));
    match words.as_slice() {
        [seconds] => Ok((number(seconds)?, now())),
        [seconds, seed] => Ok((number(seconds)?, number(seed)?)),
        _ => Err(USAGE.into()),
    }
}

fn run(seconds: u64, seed: u64) -> Result<(), String> {
    eprintln!("soak: {seconds} s of random operations on up to {THREADS} threads");
    println!("seed {seed}");
    soak(seconds, seed)?;
    account()
}

fn main() -> ExitCode {
    let ended = asked().and_then(|(seconds, seed)| run(seconds, seed));
    if let Err(error) = ended {
        eprintln!("soak: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use std::env::var;

    /// For 5 seconds, unless `NEEDM_SOAK_SECONDS` and `NEEDM_SOAK_SEED` say otherwise.
    #[test]
    fn everything_at_once_adds_up() {
        let asked = |name: &str| var(name).ok().map(|word| word.parse().expect("a number"));
        let seconds = asked("NEEDM_SOAK_SECONDS").unwrap_or(5);
        assert_eq!(
            super::run(seconds, asked("NEEDM_SOAK_SEED").unwrap_or_else(super::now)),
            Ok(())
        );
    }
}
