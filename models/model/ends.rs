//! What holds when threads end, whoever notices it and in whatever order.

use loom::thread as model;

use crate::extra::{self, EXTRA};
use crate::m::{M, MS};
use crate::needm::{self, Want};
use crate::runtime::{self, BINDS_CALLS, MAX_MS};
use crate::sync::{self, Relaxed, SeqCst};
use crate::system::{self, Host};
use crate::table;
use crate::thread;
use crate::tls::Tls;
use crate::world;

/// A C library on a system that marks records; one without; a system without either.
const MARKS: Host = Host { keys: true, robust: true };
const TELLS: Host = Host { keys: true, robust: false };
const SAYS_NOTHING: Host = Host { keys: false, robust: false };

/// A kernel: on what, and how many Ms and preemptions there are at most.
#[derive(Clone, Copy)]
struct Case {
    host: Host,
    binds_calls: bool,
    ms: u32,
    max: u32,
    preemptions: usize,
}

/// Threads keep their M between callbacks.
const BOUND: Case = Case { host: MARKS, binds_calls: false, ms: 2, max: 2, preemptions: 2 };

/// The same where a thread's end is only noticed by who asks.
const SAYS_NOTHING_BOUND: Case = Case { host: SAYS_NOTHING, ..BOUND };

/// The same with more preemptions, where that can be afforded.
const CLOSER: Case = Case { preemptions: 3, ..BOUND };

/// Threads give their M back after each callback.
const CALLS: Case = Case { binds_calls: true, ..BOUND };

/// Rows of records, and of Ms.
const ROWS: usize = 3;

type Work = fn(&'static Tls);

/// Explores what `works` do at once as threads 1, 2, ..., after `before`, and whether `after`.
fn explore<const N: usize>(case: Case, before: fn(), works: [Work; N], after: fn()) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(case.preemptions);
    builder.max_branches = 50_000;
    builder.check(move || {
        start(case);
        before();
        sync::alone(false);
        let threads = works.into_iter().enumerate().map(|(number, work)| {
            model::spawn(move || work(system::become_one(number + 1)))
        });
        let threads: Vec<_> = threads.collect();
        for thread in threads {
            thread.join().expect("a thread");
        }
        sync::alone(true);
        system::become_one(0);
        after();
    });
}

/// A kernel that has just been started, for the second time: all that it consists of is there.
fn start(case: Case) {
    sync::fresh();
    sync::alone(true);
    system::boot(case.host);
    MS.touch();
    crate::arch::needm_gate.value.load(Relaxed);
    crate::arch::needm_gate.waiters.load(Relaxed);
    BINDS_CALLS.set(case.binds_calls);
    MAX_MS.store(3, Relaxed);
    runtime::start(3);
    EXTRA.wake_all();
    EXTRA.reclaimed.load(Relaxed);
    EXTRA.waits.load(Relaxed);
    EXTRA.timeouts.load(Relaxed);
    world::left();
    world::stop().expect("it is open");
    world::start().expect("it is stopped");
    thread::depart(Tls::current());
    for number in 1..=ROWS {
        bind(system::become_one(number));
    }
    for number in 1..=ROWS {
        let tls = system::become_one(number);
        needm::dropm(tls, tls.m().expect("it has one"));
    }
    for number in 1..=ROWS {
        thread::depart(system::become_one(number));
    }
    system::become_one(0);
    assert_eq!(runtime::stop(), Ok(false), "all have departed");
    MAX_MS.store(case.max, Relaxed);
    runtime::start(case.ms);
}

/// Has an M that stays, or that was the last one.
fn bind(tls: &Tls) -> &'static M {
    let m = needm::needm(tls, Want::Callback).expect("waiting has no end here");
    m.use_it();
    m
}

// What threads do.

/// It has an M, and nobody else gets it.
fn lives(tls: &'static Tls) {
    let m = bind(tls);
    m.use_it();
    let own = tls.thread().expect("it has a record");
    assert!(extra::is_held_by(m, own), "the M is another's");
    own.sig.use_it();
}

fn exits(tls: &'static Tls) {
    lives(tls);
    system::exits();
}

fn returns(tls: &'static Tls) {
    lives(tls);
    system::returns();
}

fn departs(tls: &'static Tls) {
    lives(tls);
    thread::depart(tls);
    system::exits();
}

/// A callback with an M that goes back after it.
fn calls(tls: &'static Tls) {
    let m = bind(tls);
    needm::dropm(tls, m);
}

fn calls_and_exits(tls: &'static Tls) {
    calls(tls);
    system::exits();
}

fn calls_and_returns(tls: &'static Tls) {
    calls(tls);
    system::returns();
}

/// The steps of `needm_entry` from `.Lrebind` to `.Lunbind` (`arch/<arch>/entry.S`).
fn calls_steadily_and_exits(tls: &'static Tls) {
    calls(tls);
    let own = tls.thread().expect("it has a record");
    let m = own.last().expect("it has had one");
    let (idle, claim) = (crate::layout::m::IDLE, extra::listed_and_held_by(own));
    if m.state.compare_exchange(idle, claim, SeqCst, Relaxed).is_ok() {
        m.use_it();
        if m.state.load(Relaxed) != claim {
            needm::dropm(tls, m);
        } else {
            m.state.store(idle, sync::Release);
            sync::fence(SeqCst);
            if crate::arch::needm_gate.waiters.load(Relaxed) != 0 {
                extra::wake();
            }
        }
    }
    system::exits();
}

/// The first steps of `needm`, in which the thread is ended.
fn exits_while_taking(tls: &'static Tls) {
    let own = thread::known(tls).expect("there is a record");
    own.begin_taking();
    EXTRA.take(own, false).expect("waiting has no end here").use_it();
    system::exits();
}

fn reclaims(_: &'static Tls) {
    thread::reclaim_all();
}

fn glances(_: &'static Tls) {
    thread::notice_ends();
}

/// In a callback.
fn exits_inside(tls: &'static Tls) {
    assert!(world::enter(bind(tls)));
    system::exits();
}

fn calls_inside(tls: &'static Tls) {
    let m = bind(tls);
    assert!(world::enter(m));
    world::leave(m);
    needm::dropm(tls, m);
}

fn stops_the_world(_: &'static Tls) {
    world::stop().expect("it is open");
    world::start().expect("it is stopped");
}

fn stops_the_world_and_exits(_: &'static Tls) {
    world::stop().expect("it is open");
    system::exits();
}

/// A callback, if the kernel is not stopped first.
fn comes(tls: &'static Tls) {
    if let Some(m) = needm::needm(tls, Want::Callback).ok().filter(|m| world::enter(m)) {
        m.use_it();
        world::leave(m);
    }
}

fn comes_and_returns(tls: &'static Tls) {
    comes(tls);
    system::returns();
}

fn comes_and_exits(tls: &'static Tls) {
    comes(tls);
    system::exits();
}

fn stops_the_kernel(_: &'static Tls) {
    // Refused while somebody is in a callback.
    let _ = runtime::stop();
}

// Before and after.

/// The number of the threads that come before the others, and of the first that comes after.
const BEFORE: usize = 4;

fn nobody() {}

/// A thread has ended, and nobody has looked.
fn one_has_ended() {
    exits(system::become_one(BEFORE));
    system::become_one(0);
}

fn one_has_ended_that_had_its_m() {
    calls_and_exits(system::become_one(BEFORE));
    system::become_one(0);
}

/// All threads have ended: their Ms and records are there for others, each for one.
fn all_is_back() {
    thread::reclaim_all();
    let (made, idle, held) = EXTRA.count();
    assert_eq!((idle, held), (made, 0), "an M is held");
    for m in MS.iter().filter(|m| extra::is_ready(m)) {
        assert!(m.listed.load(SeqCst), "M {} is nobody's, and not on the list", m.index());
    }
    all_that_is_there_serves();
}

fn all_that_is_there_serves() {
    let (_, idle, _) = EXTRA.count();
    let records = table::len();
    let mut had = Vec::new();
    for number in 0..records {
        let tls = system::become_one(BEFORE + number as usize);
        system::starts_anew();
        let own = thread::current(tls, false).expect("there is a record");
        assert!(!had.contains(&own.index()), "a record is two threads'");
        assert!(!own.is_on_its_way());
        had.push(own.index());
    }
    assert_eq!(table::len(), records, "a record is lost");
    had.clear();
    for number in 0..idle.min(records.into()) {
        let m = bind(system::become_one(BEFORE + number as usize));
        assert!(!had.contains(&m.index()), "an M is two threads'");
        had.push(m.index());
    }
}

fn one_m_was_reclaimed() {
    all_is_back();
    assert_eq!(EXTRA.reclaimed.load(Relaxed), 1);
}

/// Those that live end, and then all is back.
fn all_come_back() {
    for number in 1..BEFORE {
        system::become_one(number);
        system::exits();
    }
    system::become_one(0);
    all_is_back();
}

/// The kernel can be started again, and has as many rows as ever.
fn all_starts_again() {
    if !runtime::is_open() {
        // Threads whose ends nobody has noticed keep their rows until somebody does.
        runtime::start(1);
    }
    all_come_back();
    for number in BEFORE..BEFORE + ROWS {
        system::become_one(number);
        system::exits();
    }
    system::become_one(0);
    thread::reclaim_all();
    MAX_MS.store(3, Relaxed);
    let (made, ..) = EXTRA.count();
    EXTRA.seed(3 - u32::try_from(made).expect("a few")).expect("rows for them");
    assert_eq!(EXTRA.count(), (3, 3, 0), "a row is lost");
}

// What holds.

const HOSTS: [Host; 3] = [MARKS, TELLS, SAYS_NOTHING];

fn explore_hosts(case: Case, before: fn(), works: [Work; 2], after: fn()) {
    for host in HOSTS {
        explore(Case { host, ..case }, before, works, after);
    }
}

/// Whoever notices, and however many do.
pub(crate) fn an_ended_threads_m_is_taken_back_once() {
    explore_hosts(CLOSER, nobody, [exits, reclaims], one_m_was_reclaimed);
    explore_hosts(CLOSER, one_has_ended, [reclaims, reclaims], one_m_was_reclaimed);
    let works: [Work; 3] = [reclaims, reclaims, glances];
    explore(BOUND, one_has_ended, works, one_m_was_reclaimed);
    explore(SAYS_NOTHING_BOUND, one_has_ended, works, one_m_was_reclaimed);
}

/// Whenever in its life others look.
pub(crate) fn a_living_threads_m_is_never_taken_back() {
    explore_hosts(CLOSER, nobody, [lives, reclaims], all_come_back);
    for case in [BOUND, SAYS_NOTHING_BOUND] {
        explore(case, nobody, [lives, lives, reclaims], all_come_back);
        explore(case, nobody, [lives, stops_the_world, reclaims], all_come_back);
    }
}

/// While others still look at what it was.
pub(crate) fn a_record_serves_the_next_thread() {
    explore_hosts(CLOSER, one_has_ended, [lives, reclaims], all_come_back);
    explore_hosts(CLOSER, one_has_ended, [lives, lives], all_come_back);
    for case in [BOUND, SAYS_NOTHING_BOUND] {
        explore(case, one_has_ended, [lives, reclaims, glances], all_come_back);
    }
}

/// A thread that says that it ends, and others that notice it.
pub(crate) fn who_ends_and_who_reclaims_agree() {
    explore_hosts(CLOSER, nobody, [returns, reclaims], all_come_back);
    explore_hosts(CLOSER, nobody, [departs, reclaims], all_come_back);
    explore_hosts(CALLS, nobody, [calls_and_returns, reclaims], all_come_back);
    explore(BOUND, nobody, [returns, lives, reclaims], all_come_back);
    let case = Case { host: TELLS, ..CALLS };
    explore(case, nobody, [calls_and_returns, calls, reclaims], all_come_back);
}

/// On the list, or with a thread that has ended.
pub(crate) fn a_taker_finds_what_an_ended_thread_left() {
    let one = Case { ms: 1, max: 1, ..CALLS };
    for dies in [exits, calls_and_exits, exits_while_taking, calls_and_returns] {
        explore_hosts(one, nobody, [dies, calls], all_come_back);
    }
    explore_hosts(CALLS, nobody, [calls_steadily_and_exits, calls], all_come_back);
    explore_hosts(one, one_has_ended, [calls, reclaims], all_come_back);
    explore_hosts(one, one_has_ended_that_had_its_m, [calls, calls], all_come_back);
    explore(one, nobody, [exits, calls, calls], all_come_back);
    let one = Case { host: SAYS_NOTHING, preemptions: 1, ..one };
    explore(one, nobody, [exits_while_taking, calls, calls], all_come_back);
}

/// Who has stopped the world and ends lets it go on; who ends in a callback is not waited for.
pub(crate) fn the_world_goes_on_without_the_dead() {
    explore_hosts(BOUND, nobody, [stops_the_world_and_exits, stops_the_world], all_come_back);
    explore_hosts(BOUND, nobody, [stops_the_world_and_exits, calls_inside], all_come_back);
    explore_hosts(BOUND, nobody, [exits_inside, stops_the_world], all_come_back);
    let case = Case { preemptions: 1, ..BOUND };
    let works: [Work; 3] = [stops_the_world_and_exits, stops_the_world, calls_inside];
    explore(case, nobody, works, all_come_back);
}

/// While threads begin, and end by themselves or are found to have ended.
pub(crate) fn a_kernel_stops_while_threads_end() {
    explore_hosts(BOUND, nobody, [comes_and_returns, stops_the_kernel], all_starts_again);
    explore_hosts(BOUND, one_has_ended, [comes_and_exits, stops_the_kernel], all_starts_again);
    let works: [Work; 3] = [comes_and_returns, comes_and_exits, stops_the_kernel];
    explore(Case { preemptions: 1, ..BOUND }, nobody, works, all_starts_again);
}
