//! The gate: callbacks, and threads that stop the world.

use super::case::{Case, MARKS, bind, nothing, threads_have_records};
use super::work::call_back;
use crate::arch::entry::open_bound_path;
use crate::os::system;
use crate::sync::mappings;
use crate::tls::Tls;
use crate::world;

const CASE: Case = Case { host: MARKS, binds_calls: false, ms: 2, max: 2, preemptions: 3 };

/// Something that callbacks read, and that a thread writes which has stopped the world.
static HEAP: u8 = 0;

fn reads() {
    mappings::read_thing((&raw const HEAP).addr());
}

fn writes() {
    mappings::use_thing_alone((&raw const HEAP).addr());
}

/// The first two threads have Ms, the third a record.
fn two_have_ms() {
    threads_have_records();
    for number in 1..=2 {
        bind(system::become_one(number));
    }
    system::become_one(0);
    writes();
}

fn calls(_: &'static Tls) {
    assert!(call_back(reads), "a callback is refused");
}

fn calls_on_the_fast_path(tls: &'static Tls) {
    open_bound_path(tls, tls.m().expect("it has one"));
    calls(tls);
}

fn calls_with_a_safepoint(_: &'static Tls) {
    let called = call_back(|| {
        reads();
        world::safepoint();
        reads();
    });
    assert!(called, "a callback is refused");
}

fn stops(_: &'static Tls) {
    world::stop(None).expect("needm is started");
    writes();
    world::start().expect("it is stopped");
}

fn stops_twice(tls: &'static Tls) {
    stops(tls);
    stops(tls);
}

fn stops_in_a_callback(tls: &'static Tls) {
    let called = call_back(|| {
        reads();
        stops(tls);
        reads();
    });
    assert!(called, "a callback is refused");
}

/// No callback runs in a stopped world, and none waits for ever.
pub fn nothing_runs_in_a_stopped_world() {
    CASE.explore(two_have_ms, [calls, stops_twice], nothing);
    CASE.explore(two_have_ms, [calls_on_the_fast_path, stops_twice], nothing);
    CASE.explore(two_have_ms, [calls_with_a_safepoint, stops], nothing);
    let case = Case { preemptions: 2, ..CASE };
    case.explore(two_have_ms, [calls, calls, stops], nothing);
}

/// Threads that stop the world take turns, in a callback and outside.
pub fn stoppers_take_turns() {
    CASE.explore(two_have_ms, [stops, stops], nothing);
    CASE.explore(two_have_ms, [stops_in_a_callback, stops], nothing);
    let case = Case { preemptions: 2, ..CASE };
    case.explore(two_have_ms, [calls, stops, stops], nothing);
}
