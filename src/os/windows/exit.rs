// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the exit of a thread is noticed.
//!
//! 1. A callback of fiber-local storage: at once, on the thread itself. Not run if the thread was
//!    terminated (`TerminateThread`). It is not under the loader's lock, as `DllMain` is; but wine
//!    holds a lock of its own, so it waits for nothing. It also runs as the process ends, when
//!    other threads are gone wherever they were, and then does nothing. So it does for a thread
//!    that exits inside a callback (`ExitThread`), whose last code runs on the G.
//! 2. The thread's own handle: it is signalled when the thread has ended in any way, and no other
//!    thread has its number.
//!
//! # Safety
//! A record's handle is closed by the thread that has the record to itself: a thread that asks
//! about a record at that time may ask about another object, and then finds that the record has
//! changed (`Thread::begin_exit` in `thread_record.rs`).

use core::ffi::c_void;
use core::mem::transmute;
use core::ptr;

use super::last_error;
use super::stack_fields;
use super::suspend;
use super::sys::{
    CloseHandle, DuplicateHandle, FLS_OUT_OF_INDEXES, FlsAlloc, FlsFree, FlsSetValue,
    GetCurrentProcess, GetCurrentProcessId, GetCurrentThread, GetCurrentThreadId,
    GetProcessIdOfThread, Handle, OpenThread, RtlDllShutdownInProgress, SYNCHRONIZE,
    THREAD_QUERY_LIMITED_INFORMATION, WAIT_OBJECT_0, WaitForSingleObject,
};
use crate::arch::needm_sp;
use crate::arch::windows::teb;
use crate::os::terms::OnExit;
use crate::sync::{Acquire, AtomicPtr, AtomicU32, AtomicUsize, Relaxed, Release, SeqCst, fence};

/// The index of the fiber-local storage plus one, 0 without one.
static INDEX: AtomicU32 = AtomicU32::new(0);

/// What an exiting thread calls.
static ON_EXIT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Starts to notice exits.
pub(crate) fn begin(on_exit: OnExit) {
    ON_EXIT.store(on_exit as *mut c_void, SeqCst);
    // SAFETY: the callback lives as long as this library does, and `end` frees the index before
    // that ends.
    let index = last_error::keeping(|| unsafe { FlsAlloc(exiting) });
    INDEX.store(if index == FLS_OUT_OF_INDEXES { 0 } else { index + 1 }, SeqCst);
}

/// No exit is noticed any more.
pub(crate) fn end() {
    // First: FlsFree calls the callback for the values of all threads.
    ON_EXIT.store(ptr::null_mut(), SeqCst);
    if let Some(index) = INDEX.swap(0, SeqCst).checked_sub(1) {
        // SAFETY: the index is one of `begin`'s.
        last_error::keeping(|| unsafe { FlsFree(index) });
    }
}

/// The calling thread's ID.
pub(crate) fn own_id() -> u32 {
    GetCurrentThreadId()
}

/// The same.
pub(crate) fn thread_id(_block: usize) -> u32 {
    own_id()
}

/// Whether a thread of this process has this ID.
pub(crate) fn is_alive(id: u32) -> bool {
    last_error::keeping(|| {
        // SAFETY: any number may be asked for. Windows gives a handle, or null.
        let thread = unsafe { OpenThread(SYNCHRONIZE | THREAD_QUERY_LIMITED_INFORMATION, 0, id) };
        if thread.is_null() {
            return false;
        }
        // SAFETY: the handle was just made, with both rights, and is used no more afterwards.
        let (process, answer) = unsafe {
            let told = (GetProcessIdOfThread(thread), WaitForSingleObject(thread, 0));
            CloseHandle(thread);
            told
        };
        // What the thread wrote before is seen by the thread that learns of its end.
        fence(Acquire);
        process == GetCurrentProcessId() && answer != WAIT_OBJECT_0
    })
}

/// Windows has no forks.
pub(crate) fn note_new_process() {}

/// The callback: a thread exits, or a fiber is deleted, that has this value.
unsafe extern "system" fn exiting(value: *mut c_void) {
    let on_exit = ON_EXIT.load(SeqCst);
    if on_exit.is_null() || RtlDllShutdownInProgress() != 0 {
        return;
    }
    if stack_fields::of_own_g(needm_sp()).is_some() {
        // The exit began inside a callback, and goes on on its G, so the M stays bound until the
        // thread has ended. Then Windows releases a stack, which must be the thread's.
        if let Some(start) = stack_fields::callers_reservation() {
            // SAFETY: the outermost callback was called from that stack, which is the thread's, or
            // a fiber's, which ends with the thread.
            unsafe { teb::set_reservation(start) };
        }
        return;
    }
    // SAFETY: `begin` stored a function of this type, for values that `Notice::arm` sets. It finds
    // out whether the value is this thread's own.
    last_error::keeping(|| unsafe { transmute::<*mut c_void, OnExit>(on_exit)(value) });
}

/// The part of a thread's record by which its exit is noticed.
#[repr(C)]
pub(crate) struct Notice {
    /// The thread's own handle, 0 if it could not be had.
    handle: AtomicUsize,
    /// Its ID.
    id: AtomicU32,
}

impl Notice {
    /// Assigns the record to this thread.
    pub(crate) fn begin(&self, _block: usize) {
        let mut handle: Handle = ptr::null_mut();
        let process = GetCurrentProcess();
        // SAFETY: the handles are the process's and the thread's own, which need not be closed;
        // Windows writes the new one.
        let done = last_error::keeping(|| unsafe {
            let (own, to) = (GetCurrentThread(), &raw mut handle);
            DuplicateHandle(process, own, process, to, SYNCHRONIZE | suspend::RIGHTS, 0, 0)
        });
        self.id.store(GetCurrentThreadId(), Relaxed);
        self.handle.store(if done == 0 { 0 } else { handle as usize }, Release);
    }

    /// The thread's handle and ID, which may be those of two threads if the record has changed.
    pub(super) fn known(&self) -> Option<(Handle, u32)> {
        let handle = self.handle.load(Acquire);
        (handle != 0).then(|| (handle as Handle, self.id.load(Relaxed)))
    }

    /// Whether the thread's handle is known.
    pub(crate) fn has_thread_id(&self) -> bool {
        self.handle.load(Relaxed) != 0
    }

    /// The thread's ID.
    pub(crate) fn thread_id(&self) -> u32 {
        self.id.load(Relaxed)
    }

    /// Whether the record needs nothing more.
    pub(crate) fn is_settled(&self) -> bool {
        self.has_thread_id()
    }

    /// Arranges that the callback runs at this thread's exit, with `value`. False if Windows refuses.
    pub(crate) fn arm(&self, value: *const c_void) -> bool {
        INDEX.load(SeqCst).checked_sub(1).is_some_and(|index| {
            // SAFETY: the index is one of `begin`'s; Windows never looks behind the value.
            last_error::keeping(|| unsafe { FlsSetValue(index, value) }) != 0
        })
    }

    /// Nothing to do: the handle says it.
    pub(crate) fn watch(&self, _block: usize) {}

    /// Nothing to undo.
    pub(crate) fn unwatch(&self) {}

    /// Not without asking.
    pub(crate) fn is_watched(&self) -> bool {
        false
    }

    /// Whether the thread has exited; known only if the system may be asked.
    pub(crate) fn has_exited(&self, ask: bool) -> bool {
        let handle = self.handle.load(Relaxed);
        if !ask || handle == 0 {
            return false;
        }
        // SAFETY: a handle of ours, or, as the head of this file says, the answer does not count.
        let answer = last_error::keeping(|| unsafe { WaitForSingleObject(handle as Handle, 0) });
        // What the thread wrote before is seen by the thread that learns of its end.
        fence(Acquire);
        answer == WAIT_OBJECT_0
    }

    /// Forgets the thread's handle.
    pub(crate) fn forget(&self) {
        let handle = self.handle.swap(0, Relaxed);
        if handle != 0 {
            // SAFETY: `begin` made it, and this thread has the record to itself.
            last_error::keeping(|| unsafe { CloseHandle(handle as Handle) });
        }
    }

    /// Windows has no forks.
    pub(crate) fn rewatch_in_child(&self, _block: usize) {}
}
