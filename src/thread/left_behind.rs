// SPDX-License-Identifier: MIT OR Apache-2.0
//! Callbacks that a thread leaves behind when it exits, on stacks that outlive it.
//!
//! A coroutine may be suspended in a callback and then be forgotten: its stack is never freed, and so what its code has
//! lent to other threads stays. Its callback's frames on the G have to stay, too. Of a callback on the thread's own stack
//! nothing stays: its caller's frames go with the thread.

use crate::m::M;
use crate::m::calls::{is_safe, waiting};
use crate::thread_record::Thread;
use crate::tls::Tls;
use core::ptr;

impl Thread {
    /// Whether the safe interface has begun a callback on the G of `m`, an M of this thread, which it leaves behind now
    /// that it exits. Of others it is promised that nothing refers to such frames; and so it is of all that a thread has
    /// which the raw system call ends, and others reap.
    pub(super) fn leaves_behind(&self, m: &M) -> bool {
        let tls = Tls::current();
        let is_left = |call| !self.own_stack_holds(tls, call) && is_safe(call);
        let is_this_threads = || tls.thread().is_some_and(|own| ptr::eq(own, self));
        m.segment().is_some() && is_this_threads() && waiting(m).any(is_left)
    }
}
