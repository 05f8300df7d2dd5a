// SPDX-License-Identifier: MIT OR Apache-2.0
//! Suspending a thread of this process for a moment, to look at its registers or to change them.
//!
//! One thread at a time does so: two that suspend each other would never go on. The suspended
//! thread may hold any lock of its program's and of Windows's libraries. So whatever runs while it
//! is suspended takes none and allocates nothing.

use super::last_error;
use super::sys::{
    GetThreadContext, Handle, ResumeThread, SetThreadContext, SuspendThread, THREAD_GET_CONTEXT,
    THREAD_QUERY_LIMITED_INFORMATION, THREAD_SET_CONTEXT, THREAD_SUSPEND_RESUME,
};
use super::wait::{wait, wake};
use crate::arch::windows::context::Context;
use crate::sync::{Acquire, AtomicU32, Relaxed, Release};

/// The rights to a thread that [`suspended`] needs.
pub(super) const RIGHTS: u32 = THREAD_SUSPEND_RESUME
    | THREAD_GET_CONTEXT
    | THREAD_SET_CONTEXT
    | THREAD_QUERY_LIMITED_INFORMATION;

/// `SuspendThread` has failed.
const FAILED: u32 = u32::MAX;

static TURN: AtomicU32 = AtomicU32::new(FREE);
const FREE: u32 = 0;
const TAKEN: u32 = 1;
/// Taken, and others wait for it.
const AWAITED: u32 = 2;

/// Does `work` while no other thread does any here.
pub(super) fn alone<R>(work: impl FnOnce() -> R) -> R {
    let mut next = TAKEN;
    while TURN.compare_exchange(FREE, next, Acquire, Relaxed).is_err() {
        next = AWAITED;
        if TURN.swap(AWAITED, Acquire) == FREE {
            break;
        }
        wait(&TURN, AWAITED, None);
    }
    let result = work();
    if TURN.swap(FREE, Release) == AWAITED {
        wake(&raw const TURN, 1);
    }
    result
}

/// While this thread is [`alone`]: suspends a thread, another one than this, shows its registers to
/// `look`, and changes them if that says so. What `look` has answered; `None` if the thread has
/// exited, or if Windows refuses.
pub(super) fn suspended<R>(
    thread: Handle,
    look: impl FnOnce(&mut Context) -> (bool, R),
) -> Option<R> {
    last_error::keeping(|| {
        if !suspend(thread) {
            return None;
        }
        let answer = stopped(thread).and_then(|mut context| {
            let (changed, answer) = look(&mut context);
            // SAFETY: the context is that of this thread, changed by `look`.
            let done = !changed || unsafe { SetThreadContext(thread, &raw const context) } != 0;
            done.then_some(answer)
        });
        resume(thread);
        answer
    })
}

/// While this thread is [`alone`]: begins to suspend a thread, another one than this, which may go
/// on for a moment. False if the thread has exited, or if Windows refuses.
fn suspend(thread: Handle) -> bool {
    // SAFETY: the handle is of a thread, with these rights; else Windows refuses.
    unsafe { SuspendThread(thread) != FAILED }
}

/// Waits until a thread that was suspended has stopped: its registers.
fn stopped(thread: Handle) -> Option<Context> {
    let mut context = Context::of_control();
    // SAFETY: the context is one, and says which part of it is wanted.
    let known = unsafe { GetThreadContext(thread, &raw mut context) } != 0;
    known.then_some(context)
}

/// Undoes [`suspend`].
fn resume(thread: Handle) {
    // SAFETY: the handle is of a thread, with the right to resume it, which was suspended once by this one.
    unsafe { ResumeThread(thread) };
}
