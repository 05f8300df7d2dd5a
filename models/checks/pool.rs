//! The list of idle Ms and the waiters, while threads live.

use super::case::{
    Case, MARKS, assert_none_is_held, bound, nothing, record, threads_have_records, use_m,
};
use super::work::{call_back, use_own_m};
use crate::arch::entry::open_rebind_path;
use crate::m::{M, MS};
use crate::needm::{self, Want};
use crate::os::system;
use crate::pool::EXTRA;
use crate::sync::{Relaxed, SeqCst};
use crate::thread_record::{THREADS, Thread};
use crate::tls::Tls;
use std::vec::Vec;

const CASE: Case = Case { host: MARKS, binds_calls: true, ms: 1, max: 1, preemptions: 3 };

fn row(index: u32) -> &'static M {
    MS.get(index).expect("a row")
}

fn pops_one_by_one(_: &'static Tls) {
    for _ in 0..2 {
        if let Some((index, _)) = EXTRA.idle.pop(&MS) {
            use_m(row(index));
        }
    }
}

fn pops_two_and_pushes_one(_: &'static Tls) {
    let (first, second) = (EXTRA.idle.pop(&MS), EXTRA.idle.pop(&MS));
    for (index, _) in [second, first].into_iter().flatten() {
        use_m(row(index));
    }
    if let Some((index, _)) = first {
        EXTRA.idle.push(&MS, index);
    }
    // It has the second, and no other thread may get it.
    if let Some((index, _)) = second {
        use_m(row(index));
    }
}

/// No row is popped by two at once, though one was popped, and is back in front of another
/// than before.
pub fn a_row_is_popped_by_one_at_a_time() {
    let case = Case { ms: 3, max: 3, preemptions: 4, ..CASE };
    case.explore(nothing, [pops_one_by_one, pops_two_and_pushes_one], nothing);
}

fn acquire(own: &Thread) -> &'static M {
    let m = EXTRA.acquire(own, false, true).expect("waiting has no end here");
    use_m(m);
    m
}

/// Binds an M from the list, whatever it had before, and unbinds it.
fn acquires_and_releases(tls: &'static Tls) {
    let m = acquire(record(tls));
    use_m(m);
    EXTRA.release(m);
}

/// Every M is free, and on the list or the last one of a thread.
fn nothing_is_lost() {
    assert_none_is_held();
    let lasts: Vec<_> = THREADS.iter().filter_map(Thread::last).map(M::index).collect();
    for m in MS.iter() {
        let is_listed = m.listed.load(SeqCst);
        assert!(is_listed || lasts.contains(&m.index()), "M {} is lost", m.index());
    }
    let own = record(Tls::current());
    for _ in 0..MS.len() {
        // From the list, as long as there is one; then wherever it is.
        let m = EXTRA.acquire(own, true, true).expect("there is one");
        assert!(!m.listed.load(SeqCst), "M {} only says that it is on the list", m.index());
    }
}

/// Of one M three threads make use, one after the other, and none waits for ever.
pub fn waiters_get_an_m() {
    CASE.explore(
        threads_have_records,
        [acquires_and_releases, acquires_and_releases],
        nothing_is_lost,
    );
    let case = Case { preemptions: 1, ..CASE };
    case.explore(threads_have_records, [acquires_and_releases; 3], nothing_is_lost);
}

/// Takes an M, and makes the spare that it owes the list.
fn keeps_and_makes_a_spare(tls: &'static Tls) {
    let m = acquire(record(tls));
    if m.owes_spare.load(Relaxed) {
        m.owes_spare.store(false, Relaxed);
        EXTRA.newextram(None);
    }
}

/// A thread that takes the last M makes a spare, and one for each thread that waits.
pub fn the_thread_that_takes_the_last_m_makes_a_spare() {
    let case = Case { max: 3, ..CASE };
    let works: [fn(&'static Tls); 2] = [keeps_and_makes_a_spare, keeps_and_makes_a_spare];
    case.explore(threads_have_records, works, || {
        let (_, idle, held) = EXTRA.count();
        assert!(held == 2 && idle >= 1);
    });
}

/// A callback that takes the rebind path if the thread's last M is still there.
fn rebinds(tls: &'static Tls) {
    open_rebind_path(tls);
    assert!(call_back(use_own_m), "a callback is refused");
}

/// Threads have records, and the first has had an M.
fn the_first_has_a_last_m() {
    threads_have_records();
    let tls = system::become_one(1);
    let m = bound(tls, Want::Callback);
    needm::dropm(tls, m);
    system::become_one(0);
}

/// A thread that rebinds its last M, and others that take it meanwhile, do not use it at once,
/// and lose none.
pub fn a_last_m_is_rebound_or_bound_by_another() {
    let case = Case { ms: 2, max: 2, ..CASE };
    case.explore(the_first_has_a_last_m, [rebinds, acquires_and_releases], nothing_is_lost);
}

/// `attach` and `detach`: an M from the list, whatever was the last one.
fn attaches(tls: &'static Tls) {
    let m = bound(tls, Want::Attach);
    use_m(m);
    needm::dropm(tls, m);
}

fn rebinds_and_attaches(tls: &'static Tls) {
    rebinds(tls);
    attaches(tls);
}

/// A last M is released for another, whichever thread has met it on the list meanwhile.
pub fn a_last_m_is_released_for_another() {
    let case = Case { ms: 3, max: 3, ..CASE };
    let works: [fn(&'static Tls); 2] = [rebinds_and_attaches, acquires_and_releases];
    case.explore(the_first_has_a_last_m, works, nothing_is_lost);
    let case = Case { preemptions: 2, ..case };
    let works: [fn(&'static Tls); 3] = [rebinds, acquires_and_releases, attaches];
    case.explore(the_first_has_a_last_m, works, nothing_is_lost);
}

/// A thread that waits for the only M gets it from one that unbinds it by a store.
pub fn a_store_wakes_a_waiter() {
    CASE.explore(the_first_has_a_last_m, [rebinds, acquires_and_releases], nothing_is_lost);
}
