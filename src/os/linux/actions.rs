// SPDX-License-Identifier: MIT OR Apache-2.0
//! The actions of the signals that needm handles: installs needm's handlers over those that were there
//! before, knows these, and puts them back.
//!
//! *Order*: a handler that was installed over needm's may stay there as needm is stopped, and ask
//! needm's for as long as it likes. If needm is started again, it is over that one. There are two
//! handlers of needm's for this, each with a previous action of its own: else the two would ask each
//! other for ever.
//!
//! # Safety
//! The `actions` of `PREVIOUS` are written by [`install`] alone: by the thread that starts needm, and only
//! the one of two that is not read. It is read by handlers that were called because needm's was
//! installed, and by the thread that stops needm.

use core::cell::UnsafeCell;
use core::ffi::c_int;

use super::libc;
use super::signal::{self, Action, FAULTS, SA_NODEFER, SA_RESTART, SIGABRT};
use crate::arch::linux::{needm_handler, needm_handler_2, note_cpu};
use crate::layout;
use crate::sync::{AtomicU32, SeqCst};

/// The signals of faults that needm may handle: those of instructions, and that of `abort`.
const SIGNALS: [c_int; FAULTS.len() + 1] = {
    let [segv, bus, fpe, ill, trap] = FAULTS;
    [segv, bus, fpe, ill, trap, SIGABRT]
};

/// How many needm may handle: [`SIGNALS`], and those that interrupt callbacks, or have done so in earlier
/// starts: what a handler over needm's passes on of these is forwarded, too.
const HANDLED: usize = SIGNALS.len() + CHOICES;

/// How many different ones the starts of a process may choose, before one takes the place of the last.
const CHOICES: usize = 4;

/// All of them: [`SIGNALS`], then those that were chosen, then 0.
static NUMBERS: [AtomicU32; HANDLED] = {
    let mut numbers = [const { AtomicU32::new(0) }; HANDLED];
    let mut index = 0;
    while index < SIGNALS.len() {
        numbers[index] = AtomicU32::new(SIGNALS[index].cast_unsigned());
        index += 1;
    }
    numbers
};

/// Which one interrupts callbacks; 0 while none was chosen.
static INTERRUPTS_BY: AtomicU32 = AtomicU32::new(0);

/// The number among those that needm handles.
pub(super) fn index_of(signal: c_int) -> Option<usize> {
    NUMBERS.iter().position(|number| number.load(SeqCst) == signal.cast_unsigned())
}

/// The signal that interrupts callbacks.
pub(super) fn interrupts_by() -> c_int {
    INTERRUPTS_BY.load(SeqCst).cast_signed()
}

/// Those that needm handles, with their numbers.
fn handled() -> impl Iterator<Item = (usize, c_int)> {
    let numbers = NUMBERS.iter().map(|number| number.load(SeqCst).cast_signed());
    numbers.take_while(|signal| *signal != 0).enumerate()
}

/// One of needm's two handlers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    First,
    Second,
}

impl Which {
    /// The one that was called, by the number that it has passed on.
    pub(super) fn called(number: c_int) -> Self {
        if number & layout::fault::SECOND == 0 { Self::First } else { Self::Second }
    }

    /// The one that is installed, or will be.
    fn current(index: usize) -> Self {
        if CURRENT.load(SeqCst) & 1 << index == 0 { Self::First } else { Self::Second }
    }

    /// Makes it the current one.
    fn make_current(self, index: usize) {
        match self {
            Self::First => CURRENT.fetch_and(!(1 << index), SeqCst),
            Self::Second => CURRENT.fetch_or(1 << index, SeqCst),
        };
    }

    fn other(self) -> Self {
        if self == Self::First { Self::Second } else { Self::First }
    }

    /// The one that an action calls.
    fn of(action: &Action) -> Option<Self> {
        [Self::First, Self::Second].into_iter().find(|which| which.handler() == action.handler)
    }

    fn handler(self) -> usize {
        match self {
            Self::First => needm_handler as *const () as usize,
            Self::Second => needm_handler_2 as *const () as usize,
        }
    }

    pub(super) fn previous(self) -> &'static Previous {
        &PREVIOUS[usize::from(self == Self::Second)]
    }
}

/// A bit for each signal whose current handler is the second.
static CURRENT: AtomicU32 = AtomicU32::new(0);

/// A bit for each signal whose handler is installed.
static INSTALLED: AtomicU32 = AtomicU32::new(0);

/// The previous action of each signal that needm handles.
pub(super) struct Previous {
    /// Two of each, of which one is in use.
    actions: UnsafeCell<[[Action; 2]; HANDLED]>,
    /// A bit for each of which the second is in use.
    second: AtomicU32,
    /// A bit for each whose handler was to be called once only (SA_RESETHAND), and has been.
    spent: AtomicU32,
}

// SAFETY: of the two actions the one that is not in use is written, as the head of this file
// says; the rest is atomic.
unsafe impl Sync for Previous {}

/// Those of the two handlers.
static PREVIOUS: [Previous; 2] = [const { Previous::none() }; 2];

impl Previous {
    const fn none() -> Self {
        Self {
            actions: UnsafeCell::new([[Action::DEFAULT; 2]; HANDLED]),
            second: AtomicU32::new(0),
            spent: AtomicU32::new(0),
        }
    }

    /// The action of the handled signal number `index` that needm's was installed over.
    fn noted(&self, index: usize) -> Action {
        let second = self.second.load(SeqCst) >> index & 1;
        // SAFETY: it is the one in use, which is not being written.
        unsafe { (*self.actions.get())[index][second as usize] }
    }

    /// The previous action of the handled signal number `index`: the default if its handler is
    /// spent.
    pub(super) fn action(&self, index: usize) -> Action {
        if self.spent.load(SeqCst) & 1 << index != 0 {
            return Action::DEFAULT;
        }
        self.noted(index)
    }

    /// The handler, which was to be called once only, has been.
    pub(super) fn spend(&self, index: usize) {
        self.spent.fetch_or(1 << index, SeqCst);
    }

    /// Notes the action that needm's is installed over.
    fn note(&self, index: usize, action: &Action) {
        let unused = !(self.second.load(SeqCst) >> index) & 1;
        // SAFETY: one thread at a time starts needm, and nothing reads the one that is not in use.
        unsafe { (*self.actions.get())[index][unused as usize] = *action };
        self.second.fetch_xor(1 << index, SeqCst);
        self.spent.fetch_and(!(1 << index), SeqCst);
    }
}

/// The handler of a signal that needm's was installed over; 0 if there is none.
pub(super) fn before_one(which: Which, signal: c_int) -> usize {
    index_of(signal).map_or(0, |index| which.previous().noted(index).handler)
}

/// The handlers of a signal that needm's two were installed over.
pub(super) fn before(signal: c_int) -> [usize; 2] {
    [Which::First, Which::Second].map(|which| before_one(which, signal))
}

/// needm's action over `before`, for the handled signal number `index`.
fn over(which: Which, index: usize, before: &Action) -> Action {
    let mut action = Action::ours(which.handler(), before);
    if index < SIGNALS.len() {
        return action;
    }
    // What C is waiting for goes on, where nothing else was asked for.
    let (defers, restarts) = if before.has_handler() {
        (before.flags & SA_NODEFER == 0, before.flags & SA_RESTART != 0)
    } else {
        (true, true)
    };
    action.flags &= !if defers { SA_NODEFER } else { 0 };
    action.flags |= if restarts { SA_RESTART } else { 0 };
    action
}

/// What needm's action for `signal` blocks while its handler runs.
pub(super) fn blocks(which: Which, signal: c_int) -> u64 {
    let action = |index| over(which, index, &which.previous().noted(index));
    index_of(signal).map_or(0, |index| action(index).blocks(signal))
}

/// Installs our handlers of faults; that of `SIGABRT` if `aborts`.
pub(crate) fn install(aborts: bool) {
    signal::note_c_library(libc::first_free_signal());
    note_cpu();
    for (index, signal) in SIGNALS.into_iter().enumerate() {
        if signal != SIGABRT || aborts {
            install_one(index, signal);
        }
    }
}

/// Installs our handler of the signal that interrupts callbacks.
pub(super) fn install_interrupt(signal: c_int) {
    let own = signal.cast_unsigned();
    let index = NUMBERS.iter().position(|number| [0, own].contains(&number.load(SeqCst)));
    let index = index.unwrap_or(HANDLED - 1);
    NUMBERS[index].store(own, SeqCst);
    INTERRUPTS_BY.store(own, SeqCst);
    install_one(index, signal);
}

fn install_one(index: usize, signal: c_int) {
    let Ok(mut before) = signal::action(signal, None) else { return };
    // A handler that stayed over needm's has gone since, and has put back what it found.
    let left = Which::of(&before);
    let which = left.unwrap_or(Which::current(index));
    which.make_current(index);
    let found = before;
    // First, because needm's handler may be called at once.
    match left {
        Some(_) => before = which.previous().noted(index),
        None => which.previous().note(index, &before),
    }
    let first = over(which, index, &before);
    let Ok(replaced) = signal::action(signal, Some(&first)) else { return };
    INSTALLED.fetch_or(1 << index, SeqCst);
    if replaced.is(&found) {
        return;
    }
    // Another thread has installed a handler since the look.
    which.previous().note(index, &replaced);
    if let Ok(top) = signal::action(signal, Some(&over(which, index, &replaced)))
        && !top.is(&first)
    {
        // And one over needm's, where it stays.
        let _ = signal::action(signal, Some(&top));
    }
}

/// Installs the previous action in the place of needm's, if that is installed. False if another one
/// is over it.
fn replace_ours(signal: c_int, index: usize) -> bool {
    let Ok(now) = signal::action(signal, None) else { return true };
    let Some(which) = Which::of(&now) else { return false };
    if let Ok(top) = signal::action(signal, Some(&which.previous().action(index)))
        && Which::of(&top).is_none()
    {
        // Another thread has installed it over needm's since the look: it stays.
        let _ = signal::action(signal, Some(&top));
        return false;
    }
    true
}

/// Puts back what was there. A handler that was put over ours since stays; if it calls ours
/// in its turn, that forwards everything, for as long as this code is loaded.
pub(crate) fn uninstall() {
    for (index, signal) in handled() {
        if INSTALLED.fetch_and(!(1 << index), SeqCst) & 1 << index == 0 {
            continue;
        }
        if !replace_ours(signal, index) {
            Which::current(index).other().make_current(index);
        }
    }
}

/// In a forked child the system copies the actions before the memory, and another thread may have started or stopped
/// needm in between; and a thread may be jumped out of between the two: what the memory says counts.
pub(crate) fn agree_with_memory() {
    let installed = INSTALLED.load(SeqCst);
    for (index, signal) in handled() {
        let Ok(now) = signal::action(signal, None) else { continue };
        if installed & 1 << index == 0 {
            if let Some(which) = Which::of(&now) {
                let _ = signal::action(signal, Some(&which.previous().action(index)));
            }
            continue;
        }
        let which = Which::current(index);
        let before = which.previous().action(index);
        if now.handler == before.handler {
            let _ = signal::action(signal, Some(&over(which, index, &before)));
        }
    }
}
