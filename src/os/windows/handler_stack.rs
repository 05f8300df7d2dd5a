// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the contract says of handler stacks: there are none. Windows runs handlers on the stack of the
//! fault, and no handler comes between two instructions.

use core::ops::Range;

use crate::error::Error;
use crate::os::terms::{Known, Needs};
use crate::sync::AtomicUsize;

/// There is none.
pub(crate) struct Stack;

impl Stack {
    pub(crate) fn current() -> Self {
        Self
    }

    pub(crate) fn holds(&self, _address: usize) -> bool {
        false
    }

    pub(crate) fn in_use(&self) -> bool {
        false
    }
}

/// What a thread's record keeps of its handler stack: there is none.
#[repr(C)]
pub(crate) struct Readiness {
    pub(crate) known: Known,
}

impl Readiness {
    pub(crate) fn prepare(
        &self,
        _at: usize,
        _careful: bool,
        _needs: Needs,
        _tell: impl FnOnce(usize, usize) -> usize,
        _is_own: impl Fn(usize) -> bool,
        _own_part: impl Fn(usize) -> Option<Range<usize>>,
    ) -> Result<(), Error> {
        self.known.set(0, usize::MAX);
        Ok(())
    }

    pub(crate) fn needs_checks(&self) -> bool {
        false
    }

    pub(crate) fn note_blocked(&self, _needs: Needs) {}

    pub(crate) fn blocks_faults(&self) -> bool {
        false
    }

    pub(crate) fn check_again(&self, _needs: Needs) {}

    pub(crate) fn knows(&self, _address: usize) -> bool {
        true
    }

    pub(crate) fn holds(&self, _address: usize) -> bool {
        false
    }

    pub(crate) fn has_room_below(&self, _caller: usize, _needs: Needs) -> bool {
        true
    }

    pub(crate) fn can_make_way(&self) -> bool {
        true
    }

    pub(crate) fn make_way(&self, _kept: &Kept, _caller: usize, _needs: Needs) {}

    pub(crate) fn is_lent(&self, _lo: usize) -> bool {
        false
    }

    pub(crate) fn may_stay(&self) -> bool {
        true
    }

    pub(crate) fn release(&self) -> bool {
        true
    }

    pub(crate) fn forget(&self) {}

    pub(crate) fn end_of(&self, _: usize) -> Option<usize> {
        None
    }

    pub(crate) fn forget_known(&self) {}

    pub(crate) fn unmap(&self, _forget: impl FnOnce(usize)) {}
}

/// What a callback keeps to be put back at its end: nothing. Four words, as on every system.
#[repr(C)]
pub(crate) struct Kept([AtomicUsize; 4]);

impl Kept {
    pub(crate) fn clear(&self) {}

    pub(crate) fn hold(&self) {}

    pub(crate) fn unblock_faults(&self) {}

    pub(crate) fn leave(&self, _ready: &Readiness) {}

    pub(crate) fn put_back(&self) {}
}
