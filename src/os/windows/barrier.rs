// SPDX-License-Identifier: MIT OR Apache-2.0
//! The barrier that one side pays for: `FlushProcessWriteBuffers`.
//!
//! Wine has had no more than that function's name (version 8: a stub that says nothing of it). There,
//! every other thread is suspended for a moment and asked for its registers: it has stopped by then,
//! so that what it has stored is seen, and what it loads next is loaded afterwards.

use core::ffi::c_void;
use core::mem::transmute;
use core::ptr;

use super::last_error;
use super::suspend::{RIGHTS, alone, suspended};
use super::sys::{
    CloseHandle, FlushProcessWriteBuffers, GetCurrentProcess, GetCurrentThreadId, GetModuleHandleA,
    GetProcAddress, GetThreadId, Handle,
};
use crate::sync::{AtomicPtr, Relaxed, SeqCst, fence};

/// Under wine `NtGetNextThread`, else null.
static NEXT_THREAD: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// `NtGetNextThread` (ntdll): a handle of the thread of a process that comes after this one.
type NextThread = unsafe extern "system" fn(Handle, Handle, u32, u32, u32, *mut Handle) -> i32;

/// Whether there is a barrier.
pub(crate) fn register() -> bool {
    last_error::keeping(|| {
        // SAFETY: the name is a C string; ntdll is in every process.
        let ntdll = unsafe { GetModuleHandleA(c"ntdll.dll".as_ptr()) };
        let [wine, next] = [c"wine_get_version", c"NtGetNextThread"].map(|name| {
            // SAFETY: the name is a C string, and the module is loaded.
            unsafe { GetProcAddress(ntdll, name.as_ptr()) }
        });
        let next = if wine.is_null() { ptr::null_mut() } else { next };
        NEXT_THREAD.store(next, Relaxed);
        wine.is_null() || !next.is_null()
    })
}

/// A full barrier on every thread of this process that is running.
pub(crate) fn run() -> bool {
    let next = NEXT_THREAD.load(Relaxed);
    if next.is_null() {
        FlushProcessWriteBuffers();
        return true;
    }
    // SAFETY: it is not null, so it is `NtGetNextThread`, which `register` has stored.
    let next = unsafe { transmute::<*mut c_void, NextThread>(next) };
    last_error::keeping(|| alone(|| suspend_each(next)))
}

/// Suspends each other thread for a moment, one after the other: with several suspended at once, programs
/// with many threads came to a standstill under wine 8. A thread that starts meanwhile starts after the
/// fence.
fn suspend_each(next: NextThread) -> bool {
    fence(SeqCst);
    let (process, own) = (GetCurrentProcess(), GetCurrentThreadId());
    let mut last: Handle = ptr::null_mut();
    loop {
        let mut thread: Handle = ptr::null_mut();
        // SAFETY: `last` is null or a thread of this process; Windows writes the next one.
        let found = unsafe { next(process, last, RIGHTS, 0, 0, &raw mut thread) } == 0;
        if !last.is_null() {
            // SAFETY: this function got the handle.
            unsafe { CloseHandle(last) };
        }
        if !found {
            break;
        }
        // SAFETY: the handle is a thread's.
        if unsafe { GetThreadId(thread) } != own {
            // A thread that cannot be suspended has exited.
            suspended(thread, |_| (false, ()));
        }
        last = thread;
    }
    fence(SeqCst);
    true
}
