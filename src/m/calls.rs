// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls of an M's callbacks, in frames that may not wait for them any more.

use crate::call::{Call, FORWARDS_FAULTS, PanicInfo};
use crate::layout;
use crate::m::M;
use crate::os;
use crate::sync::Relaxed;
use core::iter::successors;
use core::mem::offset_of;
use core::ptr;

/// Whether the frame with this call, on a stack that is not the M's, may still wait for the
/// callback: the M is in it, where `needm_entry` has put it.
pub(crate) fn waits(m: &M, call: usize) -> bool {
    // The slow path puts it into the one, the fast paths into the other. Which it was, the flags do not
    // say for certain: another thread that visits the stopped world may just write them.
    [offset_of!(Call, out), offset_of!(Call, size)].into_iter().any(|field| {
        let found = os::thread::word_at(call + field);
        found.is_some_and(|found| found & !layout::call::PENDING == ptr::from_ref(m).addr())
    })
}

/// The calls on other stacks than those of `m` whose frames wait for callbacks of `m`.
pub(crate) fn waiting(m: &M) -> impl Iterator<Item = usize> {
    let callbacks = successors(m.segment(), |inner| inner.outer());
    callbacks.filter_map(|inner| {
        let call = inner.call.load(Relaxed) as usize;
        (call != 0 && !m.holds(call) && waits(m, call)).then_some(call)
    })
}

/// The address of the info in a call whose frame may be gone; 0 without one.
pub(crate) fn info_of(call: usize) -> usize {
    os::thread::word_at(call + offset_of!(Call, info)).unwrap_or(0)
}

/// Whether the safe interface has made the call in a frame which may be gone: [`Call::is_safe`].
pub(crate) fn is_safe(call: usize) -> bool {
    let info = info_of(call);
    let size = || os::thread::word_at(info + offset_of!(PanicInfo, size));
    info != 0
        && info.is_multiple_of(align_of::<PanicInfo>())
        && size().is_some_and(|size| size & FORWARDS_FAULTS != 0)
}
