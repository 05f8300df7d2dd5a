//! Nothing faults, and no handler runs. A thread's handler stack is a thing that only this
//! thread uses, from [`Readiness::prepare`] to [`Readiness::release`] or to its end: loom looks
//! that no other thread does.

use super::system::block;
use core::ops::Range;

use crate::error::Error;
use crate::os::terms::{Fault, Known, Needs};
use crate::sync::{AtomicU32, AtomicUsize, Relaxed, mappings};

pub(crate) fn install(_aborts: bool) {}
pub(crate) fn uninstall() {}
pub(crate) fn agree_with_memory() {}

/// Nothing faults.
pub(crate) const KEEP_MORE: usize = 0;
pub(crate) unsafe fn keep(_: &Fault, _: usize) -> usize {
    unreachable!("nothing faults")
}
pub(crate) unsafe fn raise_again(_: usize, _: i32, _: i32) -> ! {
    unreachable!("nothing faults")
}

pub(crate) fn is_on_g_of_a_copy(_: &Fault) -> bool {
    false
}

pub(crate) fn frame_size() -> usize {
    4096
}

/// No thread has one that the system knows.
pub(crate) struct Stack;

impl Stack {
    pub(crate) fn current() -> Self {
        Self
    }
    pub(crate) fn holds(&self, _: usize) -> bool {
        false
    }
    pub(crate) fn in_use(&self) -> bool {
        false
    }
}

#[repr(C)]
pub(crate) struct Readiness {
    pub(crate) known: Known,
    ready: AtomicU32,
}

impl Readiness {
    /// Does what only the thread may do that has the stack, or one that unmaps it.
    pub(crate) fn use_stack(&self) {
        mappings::use_thing_alone(core::ptr::from_ref(self).addr());
    }

    pub(crate) fn prepare(
        &self,
        _: usize,
        _: bool,
        _: Needs,
        _: impl FnOnce(usize, usize) -> usize,
        _: impl Fn(usize) -> bool,
        _: impl Fn(usize) -> Option<Range<usize>>,
    ) -> Result<(), Error> {
        self.known.set(0, usize::MAX);
        if self.ready.load(Relaxed) == 0 {
            self.use_stack();
            self.ready.store(1, Relaxed);
            block().handler_stack.set(self);
        }
        Ok(())
    }
    pub(crate) fn is_lent(&self, _: usize) -> bool {
        false
    }
    pub(crate) fn release(&self) -> bool {
        if self.ready.load(Relaxed) != 0 {
            self.use_stack();
            self.ready.store(0, Relaxed);
            block().handler_stack.set(core::ptr::null());
        }
        true
    }
    pub(crate) fn forget(&self) {
        self.use_stack();
        self.ready.store(0, Relaxed);
    }
    pub(crate) fn unmap(&self, _: impl FnOnce(usize)) {
        self.use_stack();
    }
    pub(crate) fn end_of(&self, _: usize) -> Option<usize> {
        None
    }

    pub(crate) fn forget_known(&self) {}
    pub(crate) fn may_stay(&self) -> bool {
        true
    }
    pub(crate) fn needs_checks(&self) -> bool {
        false
    }
    pub(crate) fn note_blocked(&self, _: Needs) {}
    pub(crate) fn blocks_faults(&self) -> bool {
        false
    }
    pub(crate) fn check_again(&self, _: Needs) {}
    pub(crate) fn knows(&self, _: usize) -> bool {
        true
    }
    pub(crate) fn holds(&self, _: usize) -> bool {
        false
    }
    pub(crate) fn can_make_way(&self) -> bool {
        true
    }

    pub(crate) fn has_room_below(&self, _: usize, _: Needs) -> bool {
        true
    }
    pub(crate) fn make_way(&self, _: &Kept, _: usize, _: Needs) {}
}

/// Nothing is kept.
#[repr(C)]
pub(crate) struct Kept([AtomicUsize; 4]);

impl Kept {
    pub(crate) fn clear(&self) {}
    pub(crate) fn hold(&self) {}
    pub(crate) fn unblock_faults(&self) {}
    pub(crate) fn leave(&self, _: &Readiness) {}
    pub(crate) fn put_back(&self) {}
}
