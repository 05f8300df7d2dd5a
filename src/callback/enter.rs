// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way in of a callback, on the slow path: the Rust side of `arch/<arch>/entry.S`.
//!
//! The fast paths never come here. [`enter`] is reached if this thread is allowed neither of
//! them (`tls.rs`), is in a callback already, has a frame to copy, or finds the gate closed.
//! It runs on the caller's stack, decides where on which G the callback goes (`place.rs`), and
//! returns that stack pointer. Assembly switches stacks, calls the function, and brings every kind of ending
//! to `exit` (`exit.rs`).
//!
//! # Safety
//! Calls and segments are valid for as long as `m.seg` leads to them (`m/mod.rs`).
#![allow(unsafe_code)] // records on stacks

use crate::abandoned;
use crate::abandoned::drop_abandoned;
use crate::call::Call;
use crate::call::{
    ALIGN, PENDING_HANDLER_STACK, PENDING_REQUEST, PENDING_SEGMENT, PENDING_SPARES, PENDING_TOOLS,
    PanicInfo,
};
use crate::callback::build::{build, unblock_faults};
use crate::callback::inside;
use crate::callback::inside::Mark;
use crate::callback::place::{Place, find_place, plain_place};
use crate::error::Error;
use crate::layout;
use crate::m::M;
use crate::needm;
use crate::pool;
use crate::pool::EXTRA;
use crate::reconcile;
use crate::running;
use crate::segment::{BOUND_HERE, WAS_RUNNING};
use crate::state;
use crate::sync::Relaxed;
use crate::thread::hook;
use crate::thread::left_behind::expect_safe_calls;
use crate::tls::Tls;
use crate::tools;
use core::ptr;

crate::arch::upcalls! {
    "needm_enter" => enter,
    "needm_on_g_prologue" => on_g_prologue,
}

/// The least stack that a callback starts with, in bytes.
const MIN_STACK: usize = 512;

/// Bytes that a nested callback leaves free above its part of the G: [`part_below`]. More than the
/// frames of needm's functions down to the one that asks for the stack pointer.
const GAP: usize = 256;

/// From `needm_entry`: readies everything for `call`; the G's stack pointer to
/// run it at, or 0 and an error code in `out`. Neither allocates nor locks; may
/// sleep for an M or at the gate.
pub(crate) extern "C" fn enter(call: *mut Call) -> usize {
    // SAFETY: entry code has just built it on this stack.
    let call = unsafe { &mut *call };
    let tls = Tls::current();
    let mark = Mark::new();
    let around = inside::begin(tls, &mark);
    let sp = match try_enter(tls, call, around) {
        Ok(sp) => {
            // An interrupt that comes from here on sees the bits of `out`.
            if tls.m().is_some_and(M::is_asked_to_end) {
                call.out |= PENDING_REQUEST;
            }
            sp
        }
        Err(error) => {
            #[allow(clippy::cast_sign_loss)] // assembly takes the low 32 bits as they are
            let code = error.code() as usize;
            call.out = code;
            0
        }
    };
    inside::end(tls, around);
    sp
}

fn try_enter(tls: &Tls, call: &mut Call, around: usize) -> Result<usize, Error> {
    if call.function.is_none() || call.frame.is_null() && call.size != 0 {
        return Err(Error::Invalid);
    }
    if !PanicInfo::is_valid(call.info) {
        return Err(Error::Invalid);
    }
    if !state::is_open() {
        return Err(Error::NotStarted);
    }
    if call.is_safe() {
        // A coroutine could stay in it, on an M that is just being bound or unbound.
        if hook::calls(tls) {
            return Err(Error::Busy);
        }
        expect_safe_calls();
    }
    let stack_size = state::settings().stack_size();
    if call.size > stack_size {
        return Err(Error::Overflow);
    }
    loop {
        let at = ptr::from_ref(call) as usize;
        let plain = plain_place(tls, at);
        if plain.is_none() {
            abandoned::undo_left_change(tls);
            drop_abandoned(tls, at);
            running::start_if_left();
            if !reconcile::may_begin(tls) {
                return Err(Error::NotStarted);
            }
        }
        let found =
            plain.map_or_else(|| find_place(tls, at, !call.is_safe()), |place| Ok(Some(place)));
        let Some(place) = found? else { continue };
        let m = place.m;
        let was_running = m.is_running();
        // A handler may have interrupted code that has just set that it runs, and has not looked at the
        // gate yet.
        let runs = was_running && place.outer.is_some_and(|outer| outer.gsp.load(Relaxed) == 0);
        // Asked again after this thread is seen to run: `gate::begin_closing`.
        let passed = runs || running::enter(m) && may_stay(tls, m);
        // If not `current`, needm was stopped and started while this thread was at the gate: the M
        // is of the earlier start, and everything begins again.
        let current = tls.thread().is_some_and(|thread| pool::is_held_by(m, thread));
        let entered = if passed && current {
            prepare(call, &place, was_running, around)
        } else {
            Err(Error::NotStarted)
        };
        if let Ok(Some(sp)) = entered {
            needm::end_change(tls, place.change, place.bound_here.then_some(m));
            return Ok(sp);
        }
        // As at the end of a callback: `exit.rs`.
        let unbinds = current && place.bound_here && pool::unbinds_on_exit(m);
        if passed && !was_running {
            running::leave(m);
        }
        if unbinds {
            needm::dropm(tls, m);
        }
        needm::end_change(tls, place.change, None);
        if let Err(error) = entered
            && (current || !passed)
        {
            return Err(error);
        }
    }
}

/// Whether the callback that has just passed the gate on `m` may begin; if not, it leaves again.
fn may_stay(tls: &Tls, m: &M) -> bool {
    let may = reconcile::may_begin(tls);
    if !may {
        running::leave(m);
    }
    may
}

/// After the gate: builds the segment, unless [`on_g_prologue`] has to. Returns the G's stack
/// pointer, or `None`: a handler has used the M meanwhile, and everything begins again.
fn prepare(
    call: &mut Call,
    place: &Place,
    was_running: bool,
    around: usize,
) -> Result<Option<usize>, Error> {
    let m = place.m;
    let caller = ptr::from_ref(call) as usize;
    let head = if place.outer.is_some() { GAP } else { 0 };
    let at = (place.below - head) & !(ALIGN - 1);
    let sp = at.checked_sub(call.size).map(|sp| sp & !(ALIGN - 1));
    let lo = place.outer.map_or_else(|| m.stack.lo(), |_| m.bounds_or_g(place.below).lo);
    let sp = sp.filter(|sp| *sp >= lo + MIN_STACK).ok_or(Error::Overflow)?;
    let segment = place.outer.map_or_else(|| Some(m.base()), |_| m.next_segment());
    let segment = segment.ok_or(Error::Overflow)?;
    let thread = if place.is_known { None } else { Tls::current().thread() };
    let thread = thread.filter(|thread| thread.ready.holds(caller));
    let on_handler_stack = thread.is_some();
    if let Some(thread) = thread {
        if !thread.ready.has_room_below(caller, state::settings().needs()) {
            return Err(Error::Overflow);
        }
        if !thread.ready.can_make_way() {
            return Err(Error::System);
        }
    }

    let mut pending = 0;
    if m.owes_spare.load(Relaxed) {
        pending = PENDING_SPARES;
        m.owes_spare.store(false, Relaxed);
    }
    if tools::WATCH_SWITCHES {
        pending |= PENDING_TOOLS;
    }
    call.arg = if call.size == 0 { call.frame } else { sp as *mut u8 };
    let on_g = !place.is_known && m.holds(caller);
    if on_g {
        pending |= PENDING_SEGMENT;
    } else if on_handler_stack {
        pending |= PENDING_HANDLER_STACK;
    }
    // Before the segment leads here: `fibers.rs` knows a frame that waits by it.
    call.out = ptr::from_ref(m) as usize | pending;
    if !on_g {
        // The return address of the callback, too.
        let lowest = sp - size_of::<usize>();
        tools::writes(lowest, place.below - lowest);
        let bound_here = if place.bound_here { BOUND_HERE } else { 0 };
        let flags = bound_here | if was_running { WAS_RUNNING } else { 0 };
        if !build(call, m, (segment, at, around), place.outer, flags, on_handler_stack) {
            m.owes_spare.store(pending & PENDING_SPARES != 0, Relaxed);
            return Ok(None);
        }
    }
    Ok(Some(sp))
}

/// From `needm_entry`, on the G, after the gate: does what [`prepare`] had to leave.
extern "C" fn on_g_prologue(call: *mut Call) {
    let tls = Tls::current();
    let mark = Mark::new();
    let around = inside::begin(tls, &mark);
    prologue(tls, call, around);
    inside::end(tls, around);
}

fn prologue(tls: &Tls, call: *mut Call, around: usize) {
    // SAFETY: entry code waits with the call on its stack; this thread holds the M in it, so the
    // M's row is mapped.
    let (call, m) = unsafe {
        let call = &mut *call;
        let m = (call.out & !layout::call::PENDING) as *const M;
        (call, &*m)
    };
    let pending = call.out & layout::call::PENDING;
    call.out -= pending & !PENDING_SEGMENT;
    if pending & PENDING_SEGMENT != 0 {
        let caller = ptr::from_ref(call) as usize;
        loop {
            // What a handler has left here.
            drop_abandoned(tls, caller);
            // `prepare` has found that there is one.
            let Some(segment) = m.next_segment() else { break };
            let part = (segment, part_below(caller), around);
            if build(call, m, part, m.segment(), WAS_RUNNING, false) {
                break;
            }
        }
    }
    if let Some(segment) = m.segment().filter(|_| pending & PENDING_TOOLS != 0) {
        let stack = m.bounds_or_g(m.position(segment));
        tools::entered(stack.lo..stack.hi, &m.fiber, &segment.around, segment.outer().is_some());
    }
    let on_handler_stack = pending & PENDING_HANDLER_STACK != 0;
    if let Some((thread, segment)) = tls.thread().zip(m.segment())
        && on_handler_stack
    {
        let caller = segment.call.load(Relaxed) as usize;
        thread.ready.make_way(&segment.kept, caller, state::settings().needs());
        unblock_faults(segment);
    }
    if pending & PENDING_SPARES != 0 {
        EXTRA.newextram(m.segment().map(|segment| &segment.making));
    }
}

/// Where the part of a callback begins whose call is on the G itself: [`GAP`] below the call. If
/// code there jumps out of the callback and calls needm again from the same place, its stack
/// pointer is then above that part.
fn part_below(call: usize) -> usize {
    (call - GAP) & !(ALIGN - 1)
}
