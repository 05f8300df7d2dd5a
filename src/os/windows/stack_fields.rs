// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stack fields of the thread's environment block, where they do not fit the stack that the
//! thread runs on: C has jumped out of a callback, or back into one (`longjmp`), or a callback is
//! on a further stack, to which the host has switched.

use core::mem::MaybeUninit;

use super::memory;
use super::sys::{MemoryInfo, VirtualQuery};
use crate::arch::needm_tls_block;
use crate::arch::windows::teb::{StackFields, has_thread_local_storage};
use crate::arch::windows::{CALL_RESERVATION, frame_list};
use crate::layout;

crate::arch::upcalls! {
    "needm_mend_fields" => mend,
}

/// `MEM_COMMIT` and `PAGE_GUARD` of what `VirtualQuery` says.
const COMMITTED: u32 = super::sys::MEM_COMMIT;
const GUARDED: u32 = super::sys::PAGE_GUARD;

/// From `needm_entry`, on the caller's stack or on that of the callback, and for a fault: makes the
/// fields those of the stack on which `sp` is. The thread runs there, or is about to.
pub(super) extern "C" fn mend(sp: usize) {
    super::last_error::keeping(|| {
        let now = StackFields::current();
        if !(now.reservation..=now.base).contains(&sp) {
            let known = of_own_g(sp).or_else(|| of_left_stack(sp));
            let Some(fields) = known.or_else(|| of_reservation(sp)) else { return };
            // SAFETY: they are those of the stack with `sp`, on which the thread runs, or is about to.
            unsafe { fields.set() };
        }
        // SAFETY: this thread runs at `sp`, on the stack that its block describes by now, and has
        // jumped there. A G is mapped while the thread has its M.
        unsafe { frame_list::drop_dead_frames(sp, |at| of_own_g(at).is_some()) };
    });
}

/// If `sp` is on the G of this thread's current M, or on its reserve, which is open then.
pub(super) fn of_own_g(sp: usize) -> Option<StackFields> {
    let m = current_m()?;
    // SAFETY: it is the current M, and these are offsets of words in it.
    let (lo, base) = unsafe { (word(m, layout::m::STACK_LO), word(m, layout::m::STACK_HI)) };
    let reserve = layout::m::GUARANTEED;
    let reservation = lo - reserve - memory::page_size();
    let limit = if sp < lo { lo - reserve } else { lo };
    (limit..=base).contains(&sp).then_some(StackFields {
        base,
        limit,
        reservation,
        #[allow(clippy::cast_possible_truncation)] // 32 KiB
        guaranteed: reserve as u32,
    })
}

/// If `sp` is on a stack that a callback of this thread's M has left for C: those that it had there
/// (`switch.S`). A callback that this C makes goes back to that stack, below what is in use.
fn of_left_stack(sp: usize) -> Option<StackFields> {
    let m = current_m()?;
    // SAFETY: it is the current M, and this is the offset of a word in it.
    let seg = unsafe { word(m, layout::m::SEG) };
    let tags = layout::m::SEGMENT | layout::m::PARKED;
    let mut segment = if seg & layout::m::SEGMENT == 0 { 0 } else { seg & !tags };
    while segment != 0 {
        // SAFETY: the chain of segments leads through those of callbacks that are under way, and these
        // are offsets of words in one.
        let (gsp, prev) =
            unsafe { (word(segment, layout::segment::GSP), word(segment, layout::segment::PREV)) };
        if gsp != 0 {
            // SAFETY: `needm_on_g0`, which waits there, has left four words there, as they were.
            let [base, limit, reservation, guaranteed] =
                [0, 1, 2, 3].map(|at| unsafe { word(gsp, at) });
            #[allow(clippy::cast_possible_truncation)] // it was 32 bits
            let fields = StackFields { base, limit, reservation, guaranteed: guaranteed as u32 };
            if (limit..=base).contains(&sp) {
                return Some(fields);
            }
        }
        segment = prev;
    }
    None
}

/// The word number `at` from `start` on.
///
/// # Safety
/// There is one, and it can be read.
unsafe fn word(start: usize, at: usize) -> usize {
    // SAFETY: the word is there and can be read, by this function's own contract.
    unsafe { *((start + at * size_of::<usize>()) as *const usize) }
}

/// Whether this thread is in a callback, without a look at any stack.
pub(super) fn is_in_callback() -> bool {
    let Some(m) = has_thread_local_storage().then(current_m).flatten() else { return false };
    // SAFETY: it is the current M, and this is the offset of a word in it.
    let segment = unsafe { word(m, layout::m::SEG) };
    segment != 0
}

/// The start of the stack from which this thread has entered its outermost callback.
pub(super) fn callers_reservation() -> Option<usize> {
    let m = current_m()?;
    let call = layout::m::BASE + layout::segment::CALL;
    // SAFETY: it is the current M, and these are offsets of words in it.
    let (seg, noted) = unsafe { (word(m, layout::m::SEG), word(m, call)) };
    // A fast path leaves its call in the M's first word (`m/mod.rs`).
    let on_fast_path = seg != 0 && seg & layout::m::SEGMENT == 0;
    let call = if on_fast_path { seg & !layout::m::BOUND_HERE } else { noted };
    // SAFETY: the call of a callback that this thread is in is on the stack that waits for it, in
    // the frame of `needm_entry`, which has the fields there.
    (call != 0).then(|| unsafe { *((call + CALL_RESERVATION) as *const usize) })
}

/// The address of this thread's current M: a row of a table, which stays mapped while the thread has
/// it, and in which `layout.rs` says what is a word.
pub(super) fn current_m() -> Option<usize> {
    let block = needm_tls_block().cast::<usize>();
    // SAFETY: the block is this thread's own, and its words are words (`layout.rs`).
    let m = unsafe { *block.add(layout::tls::M) };
    (m != 0).then_some(m)
}

/// Of a stack that Windows has made, which is a reservation of its own: the committed part around
/// `sp`, without guards.
fn of_reservation(sp: usize) -> Option<StackFields> {
    let here = query(sp)?;
    let start = here.allocation;
    let (mut limit, mut base) = (here.base, here.base);
    let mut at = start;
    while let Some(part) = query(at).filter(|part| part.allocation == start && part.size != 0) {
        let in_use = part.state == COMMITTED && part.protect & GUARDED == 0;
        if part.base <= here.base && !in_use {
            limit = here.base.max(part.base + part.size);
        } else if part.base <= here.base {
            limit = limit.min(part.base);
        }
        base = part.base + part.size;
        at = base;
    }
    Some(StackFields { base, limit, reservation: start, guaranteed: 0 })
}

/// The part of memory that an address is in, all of one kind.
pub(super) fn query(at: usize) -> Option<MemoryInfo> {
    let mut info = MaybeUninit::<MemoryInfo>::zeroed();
    let size = size_of::<MemoryInfo>();
    // SAFETY: Windows fills in its struct, of which zeros are a value, and says how much of it.
    let filled = unsafe { VirtualQuery(at, info.as_mut_ptr(), size) };
    // SAFETY: zeros are a value, and so is what Windows has written.
    (filled == size).then(|| unsafe { info.assume_init() })
}
