// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a thread that spawns hands the new one: a row of a table, because C may jump out of the
//! wait for the new thread, and then the stack of the spawner is used for something else.
//!
//! The new thread is given the row's ticket, a number that no other hand-over has. Both threads
//! change the row by compare-and-swap of one word, the ticket and a phase:
//!
//! | phase | the new thread | the spawner |
//! | --- | --- | --- |
//! | `FREE` | | |
//! | `FILLING` | | writes the row |
//! | `OFFERED` | has not come | waits, or was jumped out of |
//! | `TAKEN` | has come, and is not in its callback | waits, or was jumped out of |
//! | `BEGUN` | is in its callback, or found no M | waits, or was jumped out of |
//! | `READ` | is not in its callback | knows the answer |
//!
//! An offer of a spawner that was jumped out of is withdrawn: the hook `thread_start` may have been
//! left before it made a thread. If the thread comes all the same, it finds nothing, and ends.
//!
//! # Safety
//! Rows are unmapped by [`forget_rows`] alone.
#![allow(unsafe_code)] // what one thread hands another

use core::ffi::c_void;
use core::ptr;

use crate::arch::needm_sp;
use crate::call::Function;
use crate::callback::inside::is_left_for_sure;
use crate::error::Error;
use crate::m::{M, MS};
use crate::os::wait::{wait, wake};
use crate::pool;
use crate::state::is_open;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Relaxed, SeqCst};
use crate::table::{Rows, Table};
use crate::thread::counts::while_open;
use crate::thread::reap;
use crate::thread_record::{THREADS, Thread};
use crate::tls::Tls;
use crate::waiting::Waiting;

const FREE: usize = 0;
const FILLING: usize = 1;
const OFFERED: usize = 2;
const TAKEN: usize = 3;
const BEGUN: usize = 4;
const READ: usize = 5;
/// The bits of the phase.
const PHASE: usize = 7;

/// The answer of a spawned thread that runs; any other is an error's number without its sign.
const RUNS: u32 = u32::MAX;

/// For how long a child of a fork waits for a thread that it may or may not have made, in
/// nanoseconds.
const LIMIT_IN_CHILD: u64 = 1_000_000_000;

/// What a thread runs: one callback, which ends the process if a panic ends it.
#[derive(Clone, Copy)]
pub(crate) struct Main {
    pub(crate) function: Function,
    pub(crate) arg: *mut c_void,
    /// What its faults do: bits for `PanicInfo::size`.
    pub(crate) tags: usize,
    /// Called with `arg` when the callback is over and the M is given back.
    pub(crate) over: Option<Function>,
}

/// A row.
struct Row {
    /// A ticket, and below it a phase.
    word: AtomicUsize,
    answer: AtomicU32,
    /// Whether `thread_start` is over, and the spawner waits.
    waits: AtomicBool,
    /// Whether this is a child of a fork that `thread_start` has made, or a handler meanwhile.
    forked: AtomicBool,
    /// The spawner: its record's row, whose turn that was, and an address in the frame that waits.
    spawner: AtomicU32,
    generation: AtomicU32,
    mark: AtomicUsize,
    function: AtomicPtr<c_void>,
    arg: AtomicPtr<c_void>,
    tags: AtomicUsize,
    over: AtomicPtr<c_void>,
}

// SAFETY: all fields are atomics, for which zero is valid.
unsafe impl Rows for Row {
    const PLACE: usize = 0;
}

static ROWS: Table<Row> = Table::new();

/// The last ticket, in the place that it has in a row.
static LAST: AtomicUsize = AtomicUsize::new(0);

/// Whether an offer was withdrawn. A thread may still come for it, and look at the rows.
static WITHDRAWN: AtomicBool = AtomicBool::new(false);

/// A row that this thread is one of the two sides of, while its ticket is this.
#[derive(Clone, Copy)]
pub(crate) struct HandOver {
    row: &'static Row,
    ticket: usize,
}

impl Row {
    /// Goes from a phase to another, unless the other side was first.
    fn step(&self, ticket: usize, from: usize, to: usize) -> bool {
        let to = if to == FREE { FREE } else { ticket | to };
        self.word.compare_exchange(ticket | from, to, SeqCst, SeqCst).is_ok()
    }

    /// The row, if it is in one of these phases.
    fn ticket_in(&self, phases: &[usize]) -> Option<usize> {
        let word = self.word.load(SeqCst);
        phases.contains(&(word & PHASE)).then_some(word & !PHASE)
    }
}

/// Whether a thread is between its making and its callback.
pub(crate) fn is_under_way(tls: &Tls) -> bool {
    ROWS.iter().any(|row| {
        give_up_if_left(tls, row, 0);
        row.ticket_in(&[OFFERED, TAKEN, READ]).is_some()
    })
}

/// If the spawner of `row` has exited, or is this thread and was jumped out of, does what it would have
/// done. `own_mark`: the one that this thread has just sealed.
fn give_up_if_left(tls: &Tls, row: &'static Row, own_mark: usize) {
    let Some(ticket) = row.ticket_in(&[OFFERED, TAKEN, BEGUN]) else { return };
    let Some(spawner) = THREADS.get(row.spawner.load(Relaxed)) else { return };
    let is_own = tls.thread().is_some_and(|own| ptr::eq(own, spawner));
    if !is_own {
        reap::reap(spawner);
    }
    let has_exited = spawner.generation() != row.generation.load(Relaxed) || !spawner.is_in_use();
    let mark = row.mark.load(Relaxed);
    // Its callback is over.
    let is_on = |m: &M| m.stack.holds(mark);
    let is_over = |m: &M| !pool::is_held_by(m, spawner) || m.segment().is_none();
    // A live frame has no other one at its place.
    let is_left = || {
        mark == own_mark
            || MS.iter().any(|m| is_on(m) && is_over(m))
            || is_left_for_sure(tls, mark, needm_sp())
    };
    if has_exited || is_own && is_left() {
        // Before: a thread may come for it from then on.
        if row.ticket_in(&[OFFERED]).is_some() {
            WITHDRAWN.store(true, SeqCst);
        }
        HandOver { row, ticket }.give_up();
    }
}

/// Offers `main` to a thread that is about to be made; `own` is this thread's record, and `mark` a
/// sealed word in a frame that waits for the answer. `None` if needm is being stopped.
pub(crate) fn offer(
    tls: &Tls,
    own: &Thread,
    main: &Main,
    mark: usize,
) -> Result<Option<HandOver>, Error> {
    while_open(|| {
        ROWS.iter().for_each(|row| give_up_if_left(tls, row, mark));
        let ticket = LAST.fetch_add(PHASE + 1, Relaxed).wrapping_add(PHASE + 1).max(PHASE + 1);
        let fill =
            |row: &&Row| row.word.compare_exchange(FREE, ticket | FILLING, SeqCst, Relaxed).is_ok();
        let row = loop {
            if let Some(row) = ROWS.iter().find(fill) {
                break row;
            }
            ROWS.add().map_err(|_| Error::NoMemory)?;
        };
        row.answer.store(0, Relaxed);
        row.waits.store(false, Relaxed);
        row.forked.store(false, Relaxed);
        row.spawner.store(own.index(), Relaxed);
        row.generation.store(own.generation(), Relaxed);
        row.mark.store(mark, Relaxed);
        row.function.store(main.function as *mut c_void, Relaxed);
        row.arg.store(main.arg, Relaxed);
        row.tags.store(main.tags, Relaxed);
        row.over.store(main.over.map_or(ptr::null_mut(), |over| over as *mut c_void), Relaxed);
        // Before it is seen open: `lifecycle::stop` says that it is closed, then looks for offers.
        row.word.store(ticket | OFFERED, SeqCst);
        let offered = HandOver { row, ticket };
        if !is_open() {
            offered.give_up();
            return Ok(None);
        }
        Ok(Some(offered))
    })
    .unwrap_or(Ok(None))
}

/// From a new thread: what it was made for, unless that was withdrawn.
pub(crate) fn take(ticket: usize) -> Option<(HandOver, Main)> {
    // A row that is offered is not unmapped, and none is once an offer was withdrawn.
    let row = ROWS.iter().find(|row| row.step(ticket, OFFERED, TAKEN))?;
    let function = |pointer: *mut c_void| {
        // SAFETY: null, or a function of this type, which `offer` has stored.
        unsafe { core::mem::transmute::<*mut c_void, Option<Function>>(pointer) }
    };
    let main = Main {
        function: function(row.function.load(Relaxed))?,
        arg: row.arg.load(Relaxed),
        tags: row.tags.load(Relaxed),
        over: function(row.over.load(Relaxed)),
    };
    Some((HandOver { row, ticket }, main))
}

impl HandOver {
    /// What the new thread gives to [`take`].
    pub(crate) fn ticket(self) -> usize {
        self.ticket
    }

    /// From the new thread: it has an M, or why it has none.
    pub(crate) fn answer(self, answer: Result<(), Error>) {
        // In a forked child the row may be free, or another's.
        if self.row.ticket_in(&[TAKEN, READ]) != Some(self.ticket) {
            return;
        }
        let code = answer.map_or_else(|error| error.code().unsigned_abs(), |()| RUNS);
        self.row.answer.store(code, SeqCst);
        let word = ptr::from_ref(&self.row.answer);
        if answer.is_err() {
            self.begun();
        }
        // Only its address is used from here on.
        wake(word, 1);
    }

    /// From the new thread: it is in its callback, which a stop sees, or was refused.
    pub(crate) fn begun(self) {
        let _ = self.row.step(self.ticket, TAKEN, BEGUN) || self.row.step(self.ticket, READ, FREE);
    }

    /// From the spawner, or instead of one that was jumped out of: it looks at the row no more.
    pub(crate) fn give_up(self) {
        let _ = self.row.step(self.ticket, OFFERED, FREE)
            || self.row.step(self.ticket, TAKEN, READ)
            || self.row.step(self.ticket, BEGUN, FREE);
    }

    /// From the spawner, when a thread was made: waits for its answer. A child of a fork in the
    /// middle has no such thread, or has made one itself.
    pub(crate) fn wait(self) -> Result<(), Error> {
        self.row.waits.store(true, SeqCst);
        let mut waiting = Waiting::begin();
        while self.row.answer.load(SeqCst) == 0 {
            if !self.row.forked.load(SeqCst) {
                wait(&self.row.answer, 0, None);
                continue;
            }
            let Some(nap) = waiting.nap(Some(LIMIT_IN_CHILD), LIMIT_IN_CHILD) else {
                WITHDRAWN.store(true, SeqCst);
                return Err(Error::System);
            };
            waiting.sleep(&self.row.answer, 0, nap);
        }
        match self.row.answer.load(SeqCst) {
            RUNS => Ok(()),
            refused => Err(Error::from_code(-refused.cast_signed()).unwrap_or(Error::System)),
        }
    }

    /// In a forked child, whose thread is the spawner: the other thread does not exist. Unless it is
    /// still to be made.
    fn fork_child(self) {
        self.row.forked.store(true, SeqCst);
        if self.row.waits.load(SeqCst) || self.row.ticket_in(&[OFFERED]).is_none() {
            self.row.answer.store(Error::System.code().unsigned_abs(), SeqCst);
            let _ = self.row.step(self.ticket, OFFERED, BEGUN)
                || self.row.step(self.ticket, TAKEN, BEGUN);
        }
    }
}

/// In a forked child: no thread exists but this one, whose record is `own`.
pub(crate) fn fork_child(own: Option<&Thread>) {
    for row in ROWS.iter() {
        let is_own = own.is_some_and(|own| own.index() == row.spawner.load(Relaxed));
        match row.ticket_in(&[OFFERED, TAKEN, BEGUN]) {
            Some(ticket) if is_own => HandOver { row, ticket }.fork_child(),
            _ => row.word.store(FREE, SeqCst),
        }
    }
}

/// Unmaps the rows, if no thread may look at one.
///
/// # Safety
/// needm is stopped, and no thread is in [`offer`].
pub(crate) unsafe fn forget_rows() {
    let in_use = ROWS.iter().any(|row| row.ticket_in(&[OFFERED, TAKEN, BEGUN, READ]).is_some());
    if !in_use && !WITHDRAWN.load(SeqCst) {
        // SAFETY: no thread waits for an answer in one, and none comes for one.
        unsafe { ROWS.clear() };
    }
}
