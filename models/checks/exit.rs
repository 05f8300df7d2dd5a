//! Threads that exit, and what notices it.

use super::case::{
    Case, MARKS, ROWS, SAYS_NOTHING, TELLS, Work, assert_none_is_held, bind, exits_by_the_room,
    nothing, set_max, start_needm, use_m,
};
use super::work::{call_back, use_own_m};
use crate::arch::entry::open_rebind_path;
use crate::arch::needm_sp;
use crate::m::MS;
use crate::needm::{self, Want};
use crate::os::system;
use crate::pool::{self, EXTRA};
use crate::sync::{Relaxed, SeqCst};
use crate::thread::reap;
use crate::thread_record::THREADS;
use crate::tls::Tls;
use crate::{lifecycle, running, state, thread, world};
use std::vec::Vec;

/// Threads keep their M between callbacks.
const BOUND: Case = Case { host: MARKS, binds_calls: false, ms: 2, max: 2, preemptions: 2 };

/// The same where a thread's exit is only noticed by a thread that asks.
const SAYS_NOTHING_BOUND: Case = Case { host: SAYS_NOTHING, ..BOUND };

/// The same with more preemptions, where that can be afforded.
const CLOSER: Case = Case { preemptions: 3, ..BOUND };

/// The same with fewer, for three threads that do much.
const COARSER: Case = Case { preemptions: 1, ..BOUND };

/// Threads give their M back after each callback.
const CALLS: Case = Case { binds_calls: true, ..BOUND };

// What threads do.

/// It has an M, and no other thread gets it.
fn lives(tls: &'static Tls) {
    let m = bind(tls);
    use_m(m);
    let own = tls.thread().expect("it has a record");
    assert!(pool::is_held_by(m, own), "the M is another's");
    own.ready.room.use_stack();
}

fn exits(tls: &'static Tls) {
    lives(tls);
    system::exits();
}

fn returns(tls: &'static Tls) {
    lives(tls);
    system::returns();
}

fn is_done_by_the_room(tls: &'static Tls) {
    lives(tls);
    exits_by_the_room(tls);
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

/// Twice, the second time on the fast path if the M is still there.
fn rebinds_and_exits(tls: &'static Tls) {
    calls(tls);
    open_rebind_path(tls);
    assert!(call_back(use_own_m), "a callback is refused");
    system::exits();
}

/// The first steps of `needm`, in which the thread is ended.
fn exits_while_taking(tls: &'static Tls) {
    let own = thread::record(tls).expect("there is a record");
    own.begin_transfer();
    use_m(EXTRA.acquire(own, false, true).expect("waiting has no end here"));
    system::exits();
}

fn reaps(_: &'static Tls) {
    reap::reap_all();
}

fn reaps_the_next(_: &'static Tls) {
    reap::reap_next();
}

/// In a callback.
fn exits_inside(tls: &'static Tls) {
    assert!(running::enter(bind(tls)));
    system::exits();
}

fn calls_inside(tls: &'static Tls) {
    let m = bind(tls);
    assert!(running::enter(m));
    running::leave(m);
    needm::dropm(tls, m);
}

fn stops_the_world(_: &'static Tls) {
    world::stop(None).expect("it is open");
    world::start().expect("it is stopped");
}

fn stops_the_world_and_exits(_: &'static Tls) {
    world::stop(None).expect("it is open");
    system::exits();
}

/// A callback, if needm is not stopped first.
fn comes(tls: &'static Tls) {
    let m = needm::needm(tls, Want::Callback, needm::current(tls), needm_sp()).ok().flatten();
    if let Some(m) = m.filter(|m| running::enter(m)) {
        use_m(m);
        running::leave(m);
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

fn stops_needm(_: &'static Tls) {
    // Refused while a callback is under way.
    let _ = lifecycle::stop();
    system::time_passes();
}

// Before and after.

/// The number of the threads that come before the others, and of the first that comes after.
const BEFORE: usize = 4;

/// A thread has exited, and none has looked.
fn one_has_exited() {
    exits(system::become_one(BEFORE));
    system::become_one(0);
}

fn one_has_exited_that_had_its_m() {
    calls_and_exits(system::become_one(BEFORE));
    system::become_one(0);
}

/// All threads have exited: their Ms and records are there for others, each for one.
fn all_is_back() {
    reap::reap_all();
    assert_none_is_held();
    for m in MS.iter().filter(|m| pool::is_ready(m)) {
        assert!(m.listed.load(SeqCst), "M {} is no thread's, and not on the list", m.index());
    }
    all_that_is_there_serves();
}

fn all_that_is_there_serves() {
    let (_, idle, _) = EXTRA.count();
    let records = THREADS.len();
    let mut had = Vec::new();
    for number in 0..records {
        let tls = system::become_one(BEFORE + number as usize);
        system::starts_anew();
        let own = thread::record(tls).expect("there is a record");
        assert!(!had.contains(&own.index()), "a record is two threads'");
        assert!(!own.is_in_transfer());
        had.push(own.index());
    }
    assert_eq!(THREADS.len(), records, "a record is lost");
    had.clear();
    for number in 0..idle.min(records.into()) {
        let m = bind(system::become_one(BEFORE + usize::try_from(number).expect("a few")));
        assert!(!had.contains(&m.index()), "an M is two threads'");
        had.push(m.index());
    }
}

fn one_m_was_reclaimed() {
    all_is_back();
    assert_eq!(EXTRA.reclaimed.load(Relaxed), 1);
}

/// Those that live exit, and then all is back.
fn all_come_back() {
    for number in 1..BEFORE {
        system::become_one(number);
        system::exits();
    }
    system::become_one(0);
    all_is_back();
}

/// needm can be started again, and has as many rows as ever.
fn all_starts_again() {
    if !state::is_open() {
        // Threads whose exits none has noticed keep their rows until one does.
        start_needm(1, 3, false);
    }
    all_come_back();
    for number in BEFORE..BEFORE + ROWS {
        system::become_one(number);
        system::exits();
    }
    system::become_one(0);
    reap::reap_all();
    set_max(3);
    let (made, ..) = EXTRA.count();
    EXTRA.seed(3 - u32::try_from(made).expect("a few")).expect("rows for them");
    assert_eq!(EXTRA.count(), (3, 3, 0), "a row is lost");
}

// What holds.

/// Whichever thread notices, and however many do.
pub fn a_dead_threads_m_is_reclaimed_once() {
    CLOSER.explore_hosts(nothing, [exits, reaps], one_m_was_reclaimed);
    CLOSER.explore_hosts(one_has_exited, [reaps, reaps], one_m_was_reclaimed);
    let works: [Work; 3] = [reaps, reaps, reaps_the_next];
    BOUND.explore(one_has_exited, works, one_m_was_reclaimed);
    SAYS_NOTHING_BOUND.explore(one_has_exited, works, one_m_was_reclaimed);
}

/// Whenever in its life others look.
pub fn a_living_threads_m_is_never_reclaimed() {
    CLOSER.explore_hosts(nothing, [lives, reaps], all_come_back);
    for case in [BOUND, SAYS_NOTHING_BOUND] {
        case.explore(nothing, [lives, lives, reaps], all_come_back);
        case.explore(nothing, [lives, stops_the_world, reaps], all_come_back);
    }
}

/// While others still look at what it was.
pub fn a_record_serves_the_next_thread() {
    CLOSER.explore_hosts(one_has_exited, [lives, reaps], all_come_back);
    BOUND.explore_hosts(one_has_exited, [lives, lives], all_come_back);
    for host in [MARKS, SAYS_NOTHING] {
        let case = Case { host, ..COARSER };
        case.explore(one_has_exited, [lives, reaps, reaps_the_next], all_come_back);
    }
}

/// A thread that says that it exits, and others that notice it.
pub fn exit_and_reaping_agree() {
    CLOSER.explore_hosts(nothing, [returns, reaps], all_come_back);
    CLOSER.explore_hosts(nothing, [is_done_by_the_room, reaps], all_come_back);
    CALLS.explore_hosts(nothing, [calls_and_returns, reaps], all_come_back);
    COARSER.explore(nothing, [returns, lives, reaps], all_come_back);
    let case = Case { host: TELLS, preemptions: 1, ..CALLS };
    case.explore(nothing, [calls_and_returns, calls, reaps], all_come_back);
}

/// On the list, or with a thread that has exited.
pub fn a_waiter_finds_what_a_dead_thread_left() {
    let one = Case { ms: 1, max: 1, ..CALLS };
    CALLS.explore_hosts(nothing, [rebinds_and_exits, calls], all_come_back);
    for dies in [exits_while_taking, exits, calls_and_exits, calls_and_returns] {
        one.explore_hosts(nothing, [dies, calls], all_come_back);
    }
    one.explore_hosts(one_has_exited, [calls, reaps], all_come_back);
    one.explore_hosts(one_has_exited_that_had_its_m, [calls, calls], all_come_back);
    let one = Case { preemptions: 1, ..one };
    one.explore(nothing, [exits, calls, calls], all_come_back);
    let one = Case { host: SAYS_NOTHING, ..one };
    one.explore(nothing, [exits_while_taking, calls, calls], all_come_back);
}

/// A thread that has stopped the world and exits lets it go on; one that exits in a callback is
/// not waited for.
pub fn the_world_goes_on_without_the_dead() {
    BOUND.explore_hosts(nothing, [stops_the_world_and_exits, stops_the_world], all_come_back);
    BOUND.explore_hosts(nothing, [stops_the_world_and_exits, calls_inside], all_come_back);
    BOUND.explore_hosts(nothing, [exits_inside, stops_the_world], all_come_back);
    let works: [Work; 3] = [stops_the_world_and_exits, stops_the_world, calls_inside];
    COARSER.explore(nothing, works, all_come_back);
}

/// While threads begin, and exit by themselves or are found to have exited.
pub fn needm_stops_while_threads_exit() {
    BOUND.explore_hosts(nothing, [comes_and_returns, stops_needm], all_starts_again);
    BOUND.explore_hosts(one_has_exited, [comes_and_exits, stops_needm], all_starts_again);
    let works: [Work; 3] = [comes_and_returns, comes_and_exits, stops_needm];
    COARSER.explore(nothing, works, all_starts_again);
}
