//! What holds, whatever the threads do and in whatever order.

use std::sync::Arc;

use loom::thread;

use crate::extra::{self, EXTRA};
use crate::list::List;
use crate::m::{M, MS};
use crate::runtime::MAX_MS;
use crate::sync::{self, Relaxed, SeqCst};
use crate::thread::{THREADS, Thread};
use crate::tls::Tls;
use crate::world;

/// Explores `check` with so many preemptions at most.
fn explore(preemptions: usize, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(move || {
        sync::fresh();
        MS.touch();
        crate::arch::needm_gate.value.load(Relaxed);
        crate::arch::needm_gate.waiters.load(Relaxed);
        Tls::become_one(0, None);
        check();
    });
}

/// Runs `work` as threads 1, 2, ...: all of them at once.
fn at_once<const N: usize>(works: [fn(&'static Thread); N]) {
    let threads = works.into_iter().enumerate().map(|(number, work)| {
        thread::spawn(move || work(Tls::become_one(number + 1, None)))
    });
    let threads: Vec<_> = threads.collect();
    for thread in threads {
        thread.join().expect("a thread");
    }
}

// The list.

static LIST: List = List::new();

fn row(index: u32) -> &'static M {
    MS.get(index).expect("a row")
}

/// No row is popped by two at once, though one was popped, and is back in front of another
/// than before.
pub(crate) fn a_row_is_popped_by_one_at_a_time() {
    explore(4, || {
        LIST.clear();
        for index in (0..3).rev() {
            LIST.push(&MS, index);
        }
        let one_by_one = |_: &'static Thread| {
            for _ in 0..2 {
                if let Some((index, _)) = LIST.pop(&MS) {
                    row(index).use_it();
                }
            }
        };
        let back_and_forth = |_: &'static Thread| {
            let (first, second) = (LIST.pop(&MS), LIST.pop(&MS));
            for (index, _) in [second, first].into_iter().flatten() {
                row(index).use_it();
            }
            if let Some((index, _)) = first {
                LIST.push(&MS, index);
            }
            // It has the second, and nobody else may get it.
            if let Some((index, _)) = second {
                row(index).use_it();
            }
        };
        at_once([one_by_one, back_and_forth]);
    });
}

// The extra list.

/// A kernel with so many Ms on the list, and at most `max`.
fn with_ms(seed: u32, max: u32) {
    MAX_MS.store(max, Relaxed);
    EXTRA.seed(seed).expect("Ms");
    // All that it consists of.
    let _ = (EXTRA.waiting(), EXTRA.count());
    EXTRA.wake_all();
    EXTRA.waits.load(Relaxed);
    EXTRA.timeouts.load(Relaxed);
    for thread in &THREADS {
        thread.last();
    }
    if seed == 0 {
        return;
    }
    let m = take(&THREADS[0]);
    EXTRA.give(m);
}

fn take(thread: &'static Thread) -> &'static M {
    let m = EXTRA.take(thread, false).expect("waiting has no end here");
    m.use_it();
    m
}

/// Every M is free, and on the list or the last one of a thread.
fn nothing_is_lost(made: u32) {
    let free = u64::from(made);
    assert_eq!(EXTRA.count(), (free, free, 0));
    let lasts: Vec<_> = THREADS.iter().filter_map(Thread::last).map(M::index).collect();
    for m in MS.iter() {
        let is_listed = m.listed.load(SeqCst);
        assert!(is_listed || lasts.contains(&m.index()), "M {} is lost", m.index());
    }
    for _ in 0..made {
        // From the list, as long as there is one; then wherever it is.
        let m = EXTRA.take(&THREADS[0], true).expect("there is one");
        assert!(!m.listed.load(SeqCst), "M {} only says that it is on the list", m.index());
    }
}

fn takes_and_gives(thread: &'static Thread) {
    let m = take(thread);
    m.use_it();
    EXTRA.give(m);
}

/// Of one M three threads make use, one after the other, and none waits for ever.
pub(crate) fn who_waits_for_an_m_gets_it() {
    explore(3, || {
        with_ms(1, 1);
        at_once([takes_and_gives, takes_and_gives]);
        nothing_is_lost(1);
    });
    explore(2, || {
        with_ms(1, 1);
        at_once([takes_and_gives, takes_and_gives, takes_and_gives]);
        nothing_is_lost(1);
    });
}

/// Who takes the last makes a spare, and one for each that waits.
pub(crate) fn the_taker_of_the_last_makes_a_spare() {
    explore(3, || {
        with_ms(1, 3);
        let owes = |thread: &'static Thread| {
            let m = take(thread);
            if m.owes.load(Relaxed) != 0 {
                m.owes.store(0, Relaxed);
                EXTRA.newextram();
            }
            // It keeps its own, and the others need not wait for it.
        };
        at_once([owes, owes]);
        let (_, idle, held) = EXTRA.count();
        assert!(held == 2 && idle >= 1);
    });
}

/// The steps of `needm_entry` from `.Lrebind` to `.Lunbind` (`arch/<arch>/entry.S`), for a
/// thread whose last M is `m`. The fence stands for the waiter's barrier on all threads.
fn take_again_and_give(thread: &'static Thread) {
    let Some(m) = thread.last() else { return };
    let idle = crate::layout::m::IDLE;
    let claim = extra::listed_and_held_by(thread);
    if m.state.compare_exchange(idle, claim, SeqCst, Relaxed).is_err() {
        return hold_another(thread);
    }
    m.use_it();
    if m.state.load(Relaxed) != claim {
        return EXTRA.give(m);
    }
    m.state.store(idle, sync::Release);
    sync::fence(SeqCst);
    if crate::arch::needm_gate.waiters.load(Relaxed) != 0 {
        extra::wake();
    }
}

/// The slow way.
fn hold_another(thread: &'static Thread) {
    let m = EXTRA.take_again(thread).unwrap_or_else(|| take(thread));
    m.use_it();
    hold(thread, m);
}

/// The steps of `Thread::hold` and `give_back` that others see.
fn hold(thread: &'static Thread, m: &'static M) {
    m.thread.store(core::ptr::from_ref(thread).cast_mut(), Relaxed);
    let before = thread.last();
    thread.set_last(m);
    if let Some(before) = before.filter(|before| !core::ptr::eq(*before, m)) {
        EXTRA.let_go(before, thread);
    }
    EXTRA.give(m);
}

/// A thread that takes its last M again, and others that take it meanwhile, do not use
/// it at once, and lose none.
pub(crate) fn a_last_m_is_taken_again_or_by_another() {
    explore(4, || {
        with_ms(2, 2);
        hold_another(&THREADS[1]);
        at_once([take_again_and_give, takes_and_gives]);
        nothing_is_lost(2);
    });
}

/// `attach` and `detach`: an M from the list, whatever was the last one.
fn attaches(thread: &'static Thread) {
    hold(thread, take(thread));
}

/// A last M is let go for another, whoever has met it on the list meanwhile.
pub(crate) fn a_last_m_is_let_go_for_another() {
    explore(4, || {
        with_ms(3, 3);
        hold_another(&THREADS[1]);
        let again_and_attach = |thread: &'static Thread| {
            take_again_and_give(thread);
            attaches(thread);
        };
        at_once([again_and_attach, takes_and_gives]);
        nothing_is_lost(3);
    });
    explore(2, || {
        with_ms(3, 3);
        hold_another(&THREADS[1]);
        at_once([take_again_and_give, takes_and_gives, attaches]);
        nothing_is_lost(3);
    });
}

/// Who waits for the only M gets it from a thread that gives it back by a store.
pub(crate) fn a_store_wakes_who_waits() {
    explore(3, || {
        with_ms(1, 1);
        hold_another(&THREADS[1]);
        at_once([take_again_and_give, takes_and_gives]);
        nothing_is_lost(1);
    });
}

// The gate.

/// Something that callbacks read, and who has stopped the world writes.
struct Heap(loom::cell::UnsafeCell<u32>);

// SAFETY: loom looks that nobody writes while another reads.
unsafe impl Sync for Heap {}
// SAFETY: as above.
unsafe impl Send for Heap {}

fn reads(heap: &Heap) {
    // SAFETY: as above.
    heap.0.with(|count| unsafe { core::ptr::read(count) });
}

fn stops(heap: &Heap) {
    world::stop().expect("it is not stopped");
    // SAFETY: as above.
    heap.0.with_mut(|count| unsafe { *count += 1 });
    world::start().expect("it is stopped");
}

/// A callback, with a safepoint in it.
fn calls_back(heap: &Heap, number: u32, safepoint: bool) {
    let m = row(number - 1);
    Tls::become_one(number as usize, Some(m));
    assert!(world::enter(m));
    reads(heap);
    if safepoint {
        world::safepoint();
        reads(heap);
    }
    world::leave(m);
}

fn explore_gate(preemptions: usize, works: &'static [fn(&Heap)]) {
    explore(preemptions, || {
        with_ms(2, 2);
        for number in 1..=2 {
            row(number - 1).thread.store((&raw const THREADS[number as usize]).cast_mut(), Relaxed);
        }
        let heap = Arc::new(Heap(loom::cell::UnsafeCell::new(0)));
        // All that the gate consists of.
        stops(&heap);
        world::left();
        let threads: Vec<_> = works
            .iter()
            .map(|work| {
                let heap = Arc::clone(&heap);
                thread::spawn(move || work(&heap))
            })
            .collect();
        for thread in threads {
            thread.join().expect("a thread");
        }
    });
}

fn first_calls(heap: &Heap) {
    calls_back(heap, 1, false);
}
fn first_calls_with_a_safepoint(heap: &Heap) {
    calls_back(heap, 1, true);
}
fn second_calls(heap: &Heap) {
    calls_back(heap, 2, false);
}
fn third_stops(heap: &Heap) {
    Tls::become_one(3, None);
    stops(heap);
}
fn third_stops_twice(heap: &Heap) {
    third_stops(heap);
    stops(heap);
}
fn second_stops(heap: &Heap) {
    Tls::become_one(2, None);
    stops(heap);
}
fn first_stops_in_a_callback(heap: &Heap) {
    let m = row(0);
    Tls::become_one(1, Some(m));
    assert!(world::enter(m));
    reads(heap);
    stops(heap);
    reads(heap);
    world::leave(m);
}

/// No callback runs in a stopped world, and none waits for ever.
pub(crate) fn nothing_runs_in_a_stopped_world() {
    explore_gate(4, &[first_calls, third_stops_twice]);
    explore_gate(4, &[first_calls_with_a_safepoint, third_stops]);
    explore_gate(3, &[first_calls, second_calls, third_stops]);
}

/// Who stops takes turns, in a callback and outside.
pub(crate) fn stoppers_take_turns() {
    explore_gate(4, &[second_stops, third_stops]);
    explore_gate(3, &[first_stops_in_a_callback, third_stops]);
    explore_gate(2, &[first_calls, second_stops, third_stops]);
}
