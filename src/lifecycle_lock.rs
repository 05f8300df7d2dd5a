// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lock of the thread that starts or stops needm, and the stage that it has come to.
//!
//! A handler may jump out of a start or a stop, or end the thread there. So the lock names its holder. It is
//! *lost* if the holder has exited; or if it is the calling thread, and no other call of needm's is under way there, or
//! the frame of the start or stop is gone, by a sealed word in it (`callback/inside.rs`).
//! The next thread that wants it takes a lost lock, and the stage says what is to be done first:
//!
//! | stage | needm is open | what a lost lock leaves to do |
//! | --- | --- | --- |
//! | `STOPPED` | no | nothing |
//! | `CHANGING` | no | a start was under way, or the last part of a stop: all that a start does is undone |
//! | `STARTED` | yes, but for moments in a stop | it is opened again |
//!
//! A thread that was jumped out does the last of these with its next call of needm's.

use crate::gate;
use crate::os::exit;
use crate::state::OPEN;
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, SeqCst};
use crate::tls::Tls;

/// Low half: the holder's thread ID, 0 without one. High half: a count of the times that the lock was taken, so
/// that a thread which has found it lost does not take that of a later holder.
static HOLDER: AtomicU64 = AtomicU64::new(0);

/// The thread-local block of the holder, and the address of a sealed word in its frame.
static BLOCK: AtomicUsize = AtomicUsize::new(0);
static MARK: AtomicUsize = AtomicUsize::new(0);

/// The word of the holder whose both are. They are noted once the lock is taken. Until then the holder has changed
/// nothing, and finds out if a handler of its thread has taken the lock in between.
static NOTED: AtomicU64 = AtomicU64::new(0);

/// The ID of a thread to which the system does not tell its own. Such a lock is never lost.
const UNNAMED: u32 = u32::MAX;

/// How far needm is started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Stopped,
    Changing,
    Started,
}

static STAGE: AtomicU32 = AtomicU32::new(Stage::Stopped as u32);

impl Stage {
    /// The present one. Changed only by the thread that has the lock.
    pub(crate) fn now() -> Self {
        let stages = [Self::Changing, Self::Started];
        let now = STAGE.load(SeqCst);
        stages.into_iter().find(|stage| *stage as u32 == now).unwrap_or(Self::Stopped)
    }

    /// From here on it is this one. Only with the lock.
    pub(crate) fn set(self) {
        STAGE.store(self as u32, SeqCst);
    }
}

/// The thread ID in the lock's word.
#[allow(clippy::cast_possible_truncation)] // the half is what is wanted
fn id_in(word: u64) -> u32 {
    word as u32
}

/// The word, with another thread ID.
fn with_id(word: u64, id: u32) -> u64 {
    word & !u64::from(u32::MAX) | u64::from(id)
}

fn own_id() -> u32 {
    match exit::own_id() {
        0 => UNNAMED,
        id => id,
    }
}

/// Proof that this thread, and no other, starts or stops needm.
pub(crate) struct LifecycleGuard {
    /// Whether the lock was lost. Then needm is open again, if it was started.
    pub(crate) was_lost: bool,
}

impl LifecycleGuard {
    /// The guard, unless another thread has it, or code of this one's that goes on. Inside needm. `mark`: the address
    /// of a sealed word in a frame of the caller's; `is_left`: whether the frame with such a word is gone.
    pub(crate) fn new(tls: &Tls, mark: usize, is_left: impl Fn(usize) -> bool) -> Option<Self> {
        let own = own_id();
        loop {
            let seen = HOLDER.load(SeqCst);
            let was_lost = id_in(seen) != 0;
            if was_lost && !is_lost(tls, seen, own, &is_left) {
                return None;
            }
            if take(tls, seen, own, mark) {
                if was_lost {
                    open_again(tls);
                }
                return Some(Self { was_lost });
            }
        }
    }
}

impl Drop for LifecycleGuard {
    fn drop(&mut self) {
        release(own_id());
    }
}

/// Takes the lock, which is free or lost while its word is `seen`.
fn take(tls: &Tls, seen: u64, own: u32, mark: usize) -> bool {
    let taken = with_id(seen.wrapping_add(1 << u32::BITS), own);
    let noted = NOTED.load(SeqCst);
    if HOLDER.compare_exchange(seen, taken, SeqCst, SeqCst).is_err() {
        return false;
    }
    BLOCK.store(tls.address(), SeqCst);
    MARK.store(mark, SeqCst);
    NOTED.compare_exchange(noted, taken, SeqCst, SeqCst).is_ok() && HOLDER.load(SeqCst) == taken
}

/// The mark of the holder whose word is `seen`, if that is this thread.
fn own_mark(tls: &Tls, seen: u64) -> Option<usize> {
    // Another block: a thread that was late has noted it.
    let is_own = NOTED.load(SeqCst) == seen && BLOCK.load(SeqCst) == tls.address();
    is_own.then(|| MARK.load(SeqCst))
}

/// Whether the holder, whose word is `seen`, does not go on with what it has the lock for. `own` is this thread's ID.
fn is_lost(tls: &Tls, seen: u64, own: u32, is_left: impl Fn(usize) -> bool) -> bool {
    let holder = id_in(seen);
    if holder == UNNAMED {
        return false;
    }
    if holder != own {
        return !exit::is_alive(holder);
    }
    // If nothing is under way, another thread may have had this ID before.
    !tls.has_interrupted_needm()
        || NOTED.load(SeqCst) != seen
        || own_mark(tls, seen).is_some_and(is_left)
}

/// Unlocks it, if the thread with this ID has it.
fn release(id: u32) {
    let seen = HOLDER.load(SeqCst);
    if id_in(seen) == id {
        let _ = HOLDER.compare_exchange(seen, with_id(seen, 0), SeqCst, SeqCst);
    }
}

/// With the lock, which was lost: opens needm again, unless it is not started.
fn open_again(tls: &Tls) {
    match Stage::now() {
        Stage::Started => {
            OPEN.store(true, SeqCst);
            if let Some(own) = tls.thread() {
                gate::release_left(own);
            }
        }
        // Its stop was jumped out of just before that.
        Stage::Changing if gate::owns_the_world() => gate::release_world(),
        Stage::Changing | Stage::Stopped => {}
    }
    if gate::is_closing() {
        gate::end_closing();
    }
}

/// If this thread has the lock, and its start or stop was jumped out of: gives it up, with needm open again.
/// `is_left` as in [`LifecycleGuard::new`]. `mark`: the address of a sealed word in a frame of the caller's.
pub(crate) fn give_up_left(tls: &Tls, mark: usize, is_left: impl Fn(usize) -> bool) {
    let seen = HOLDER.load(SeqCst);
    // First without a system call.
    if id_in(seen) == 0 {
        return;
    }
    let is_noted = NOTED.load(SeqCst) == seen;
    if is_noted && !own_mark(tls, seen).is_some_and(is_left) {
        return;
    }
    let own = own_id();
    if id_in(seen) == own && take(tls, seen, own, mark) {
        // Else it has changed nothing, and goes on by taking the lock again, if it goes on.
        if is_noted {
            open_again(tls);
        }
        release(own);
    }
}

/// In a forked child: whether this thread starts or stops needm, and goes on with that. If not, no thread does: the
/// lock is free. Inside needm.
pub(crate) fn fork_child(tls: &Tls) -> bool {
    let seen = HOLDER.load(SeqCst);
    // A handler may have forked before its mark was noted: nothing has been changed by then.
    let is_own = id_in(seen) != 0 && own_mark(tls, seen).is_some();
    let goes_on = is_own && tls.has_interrupted_needm();
    if is_own && !goes_on {
        open_again(tls);
    }
    let word = with_id(seen, if goes_on { own_id() } else { 0 });
    HOLDER.store(word, SeqCst);
    NOTED.store(word, SeqCst);
    goes_on
}
