// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system call `sigaltstack(2)`, and what it says of a signal stack.

use core::ffi::{c_int, c_void};
use core::ptr;

use super::{Errno, call, memory};
use crate::arch::linux::nr;

// include/uapi/linux/signal.h
const SS_ONSTACK: c_int = 1;
const SS_DISABLE: c_int = 2;
/// Linux disables the signal stack while a handler runs on it, and its return puts it back.
const SS_AUTODISARM: c_int = c_int::MIN;

/// `stack_t` (include/uapi/asm-generic/signal.h).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    base: *mut c_void,
    flags: c_int,
    size: usize,
}

impl Stack {
    /// No signal stack.
    pub(super) const NONE: Self = Self { base: ptr::null_mut(), flags: SS_DISABLE, size: 0 };

    /// The one that Linux has for this thread now.
    pub(crate) fn current() -> Self {
        current_stack().unwrap_or(Self::NONE)
    }

    /// The range `[base, base + size)`.
    pub(super) fn new(base: usize, size: usize) -> Self {
        Self { base: base as *mut c_void, flags: 0, size }
    }

    /// What a signal's frame says of it (uc_stack).
    pub(super) fn of_frame((flags, base, size): (usize, usize, usize)) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // an int
        Self { base: base as *mut c_void, flags: flags as c_int, size }
    }

    /// Whether Linux disables it while a handler runs on it.
    pub(super) fn is_disarmed_by_handlers(&self) -> bool {
        self.flags & SS_AUTODISARM != 0
    }

    /// The same, disabled while a handler runs on it if `disarmed`.
    pub(super) fn disarmed_by_handlers(self, disarmed: bool) -> Self {
        Self { flags: if disarmed { SS_AUTODISARM } else { 0 }, ..self }
    }

    /// Whether there is one.
    pub(super) fn enabled(&self) -> bool {
        self.flags & SS_DISABLE == 0
    }

    /// Whether both are the same place, or none.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        (self.base, self.size) == (other.base, other.size)
    }

    /// Whether the thread runs on it.
    pub(crate) fn in_use(&self) -> bool {
        self.flags & SS_ONSTACK != 0
    }

    pub(super) fn base(&self) -> usize {
        self.base as usize
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Whether `address` lies on it.
    pub(crate) fn holds(&self, address: usize) -> bool {
        self.enabled() && address.wrapping_sub(self.base()) < self.size
    }
}

/// Makes `new` this thread's signal stack, and returns the old one. Refused while the thread
/// runs on it.
///
/// # Safety
/// `new` stays mapped for as long as it is installed.
pub(super) unsafe fn set_stack(new: &Stack) -> Result<Stack, Errno> {
    let mut old = Stack::NONE;
    // SAFETY: both are Linux's struct or null; the caller keeps the new stack mapped.
    unsafe { call(nr::SIGALTSTACK, (new, &mut old))? };
    Ok(old)
}

/// This thread's signal stack.
pub(super) fn current_stack() -> Result<Stack, Errno> {
    const NO_NEW: Option<&Stack> = None;
    let mut old = Stack::NONE;
    // SAFETY: without a new stack Linux only writes the old one, to its own struct.
    unsafe { call(nr::SIGALTSTACK, (NO_NEW, &mut old))? };
    Ok(old)
}

/// Whether Linux can write to `[start, end)`, which it finds out by writing to each page.
pub(super) fn can_write(start: usize, end: usize) -> bool {
    const NO_NEW: Option<&Stack> = None;
    let page = memory::page_size();
    // From the top: a stack grows downwards.
    let mut at = end - size_of::<Stack>();
    loop {
        // SAFETY: without a new stack Linux only writes the old one, to memory below all that is
        // in use on a stack; or it says that it cannot.
        if unsafe { call(nr::SIGALTSTACK, (NO_NEW, at as *mut Stack)) }.is_err() {
            return false;
        }
        if at == start {
            return true;
        }
        at = at.saturating_sub(page).max(start);
    }
}
