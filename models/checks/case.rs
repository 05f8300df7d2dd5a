//! A case: on what system needm is started, with which settings, and what threads do then.

use super::explore;
use crate::arch::needm_sp;
use crate::m::M;
use crate::needm::{self, Want};
use crate::os::system::{self, Host};
use crate::pool;
use crate::settings::Settings;
use crate::sync::{mappings, words};
use crate::thread_record::Thread;
use crate::tls::Tls;
use crate::{lifecycle, state, thread};
use std::vec::Vec;

/// A C library on a system that marks records; one without; a system without either.
pub(super) const MARKS: Host = Host { keys: true, robust: true };
pub(super) const TELLS: Host = Host { keys: true, robust: false };
pub(super) const SAYS_NOTHING: Host = Host { keys: false, robust: false };
pub(super) const HOSTS: [Host; 3] = [MARKS, TELLS, SAYS_NOTHING];

/// Rows of records, and of Ms.
pub(super) const ROWS: usize = 3;

/// What a thread does. It is one of the numbers 1, 2, ...
pub(super) type Work = fn(&'static Tls);

/// How needm is started, and how many preemptions an execution has at most.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) host: Host,
    pub(super) binds_calls: bool,
    pub(super) ms: u32,
    pub(super) max: u32,
    pub(super) preemptions: usize,
}

impl Case {
    /// Explores what `works` do at once as threads 1, 2, ..., after `before`, and whether
    /// `after` holds.
    pub(super) fn explore<const N: usize>(self, before: fn(), works: [Work; N], after: fn()) {
        explore::explore(self.preemptions, move || {
            system::boot(self.host);
            start(self);
            before();
            words::others_begin();
            let threads = works.into_iter().enumerate().map(|(number, work)| {
                loom::thread::spawn(move || work(system::become_one(number + 1)))
            });
            let threads: Vec<_> = threads.collect();
            for thread in threads {
                thread.join().expect("a thread");
            }
            words::alone_again();
            system::become_one(0);
            after();
        });
    }

    /// The same on each kind of host.
    pub(super) fn explore_hosts<const N: usize>(self, before: fn(), works: [Work; N], after: fn()) {
        for host in HOSTS {
            Self { host, ..self }.explore(before, works, after);
        }
    }
}

/// Starts needm.
pub(super) fn start_needm(ms: u32, max: u32, binds_calls: bool) {
    let settings = Settings { seed_ms: ms, max_ms: max, binds_calls, ..Settings::DEFAULT };
    lifecycle::start(settings).expect("needm starts");
}

/// Changes the most Ms that there may be, while no other thread runs.
pub(super) fn set_max(max: u32) {
    assert!(words::is_alone());
    let settings = Settings { max_ms: max, ..Settings::DEFAULT };
    state::settings().set(&settings.checked().expect("settings that make sense"));
}

/// needm for the second time: what it learns of threads is known.
fn start(case: Case) {
    start_needm(3, 3, case.binds_calls);
    for number in 1..=ROWS {
        bind(system::become_one(number));
    }
    for number in 1..=ROWS {
        let tls = system::become_one(number);
        needm::dropm(tls, tls.m().expect("it has one"));
    }
    for number in 1..=ROWS {
        thread_exits_by_the_room(number);
    }
    system::become_one(0);
    lifecycle::stop().expect("no callback is under way");
    start_needm(case.ms, case.max, case.binds_calls);
}

unsafe extern "C" {
    /// `src/thread/mod.rs`: a thread of the room's is at its end.
    safe fn needm_thread_exit();
}

fn thread_exits_by_the_room(number: usize) {
    system::become_one(number);
    needm_thread_exit();
}

/// This thread is at its end, and the room says so.
pub(super) fn exits_by_the_room(_: &Tls) {
    needm_thread_exit();
}

/// An M that is bound now: waiting has no end here, and no handler runs in a model.
pub(super) fn bound(tls: &Tls, want: Want) -> &'static M {
    let m = needm::needm(tls, want, needm::current(tls), needm_sp()).expect("there is one");
    m.expect("nothing was left")
}

/// Binds an M, which stays, or is then the last one.
pub(super) fn bind(tls: &Tls) -> &'static M {
    let m = bound(tls, Want::Callback);
    use_m(m);
    m
}

/// Uses an M's stack, as only one thread may at a time.
pub(super) fn use_m(m: &M) {
    mappings::use_alone(m.stack.lo());
}

/// This thread's record.
pub(super) fn record(tls: &Tls) -> &'static Thread {
    thread::record(tls).expect("there is room for one")
}

/// Nothing was done before.
pub(super) fn nothing() {}

/// The threads of the checks have records.
pub(super) fn threads_have_records() {
    for number in 1..=ROWS {
        record(system::become_one(number));
    }
    system::become_one(0);
}

/// Every M is free.
pub(super) fn assert_none_is_held() {
    let (made, idle, held) = pool::EXTRA.count();
    assert_eq!((idle, held), (made, 0), "an M is held");
}
