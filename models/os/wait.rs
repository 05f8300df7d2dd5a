//! Waiting on words. What waits is woken by a thread that wakes, or when a thread has ended: so
//! a wake-up that is lost is a deadlock, unless it may be made up for by looking again.

use super::system;
use crate::sync::{AtomicU32, SeqCst};
use core::cell::RefCell;
use loom::sync::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec::Vec;

struct Futex {
    lock: Mutex<()>,
    woken: Condvar,
}

std::thread_local! {
    /// All of this execution, by the addresses of their words.
    static FUTEXES: RefCell<BTreeMap<usize, Rc<Futex>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Begins an execution.
pub(super) fn fresh() {
    FUTEXES.take();
}

fn futex(word: *const AtomicU32) -> Rc<Futex> {
    FUTEXES.with_borrow_mut(|futexes| {
        let new = || Rc::new(Futex { lock: Mutex::new(()), woken: Condvar::new() });
        Rc::clone(futexes.entry(word.addr()).or_insert_with(new))
    })
}

/// Wakes all that wait for anything.
pub(super) fn wake_everybody() {
    let all: Vec<_> = FUTEXES.with_borrow(|futexes| futexes.values().map(Rc::clone).collect());
    all.iter().for_each(|futex| wake_waiters(futex));
}

fn wake_waiters(futex: &Futex) {
    let guard = futex.lock.lock().expect("not poisoned");
    futex.woken.notify_all();
    drop(guard);
}

/// A word so near is on this thread's own stack.
const OWN: usize = 4096;

/// Sleeps until woken; or for a while, if a thread has ended since this one slept. No clock moves, so
/// none of the time has passed.
pub(crate) fn wait(word: &AtomicU32, value: u32, _: Option<u64>) -> bool {
    let here = 0_u8;
    if core::ptr::from_ref(word).addr().abs_diff((&raw const here).addr()) < OWN {
        // No other thread knows the word: only time is to pass.
        loom::thread::yield_now();
        return false;
    }
    let futex = futex(word);
    let guard = futex.lock.lock().expect("not poisoned");
    if word.load(SeqCst) == value && !system::block().has_napped() {
        drop(futex.woken.wait(guard).expect("not poisoned"));
    }
    false
}

/// Wakes all: how many may be awake early is not said.
pub(crate) fn wake(word: *const AtomicU32, _: u32) {
    if !crate::sync::words::is_alone() {
        wake_waiters(&futex(word));
    }
}

/// No time passes.
#[allow(clippy::unnecessary_wraps)] // the contract's
pub(crate) fn now() -> Option<u64> {
    Some(0)
}
