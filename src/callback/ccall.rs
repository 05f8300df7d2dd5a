// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls from a callback out to C, on the system stack. Meanwhile the M does not count as running.
//!
//! # Safety
//! Work that goes to the system stack starts below the call that the thread left there, and
//! waits on the G: what it refers to on the G stays.
#![allow(unsafe_code)] // a function of the host's, on another stack

use crate::abandoned::go_on;
use crate::arch::needm_sp;
use crate::call::{ALIGN, Call, Function};
use crate::callback::inside;
use crate::callback::inside::Mark;
use crate::callback::panic::{forget_left, panicked_in_c_at};
use crate::error::Error;
use crate::fibers;
use crate::m;
use crate::m::{M, g0sp};
use crate::reconcile::running_segment;
use crate::running;
use crate::segment::{ENDING, IN_DOUBT, Segment};
use crate::sync::Relaxed;
use crate::tls::Tls;
use crate::tools;
use core::ffi::c_void;
use core::ptr;

crate::arch::upcalls! {
    "needm_left_g" => left_g,
    "needm_back_to_g" => back_to_g,
}

/// What `switch.S` is given: its first word is the segment, in whose `gsp` it notes where the G is
/// left. Windows's rooms read the fourth, too.
#[repr(C)]
struct Out<'a> {
    segment: &'a Segment,
    m: &'a M,
    /// Where the thread is inside needm once it is back on the G.
    inside: usize,
    /// The call by which the G was entered from the system stack.
    call: *const Call,
}

unsafe extern "C" {
    /// `switch.S`: a call on the system stack, all registers spilled on the G's.
    fn needm_on_g0(
        function: unsafe extern "C" fn(*mut c_void),
        arg: *mut c_void,
        out: *const Out<'_>,
        g0sp: usize,
    );
}

/// From a G: runs `work` on the system stack, while the M does not count as running.
pub(crate) fn on_g0<W: FnMut()>(m: &M, segment: &Segment, work: &mut W) {
    unsafe extern "C" fn run<W: FnMut()>(work: *mut c_void) {
        // SAFETY: `on_g0` passes the address of the work, and waits on the G meanwhile.
        let work = unsafe { &mut *work.cast::<W>() };
        work();
    }
    // SAFETY: `run::<W>` takes the address of a `W`, and this is that of `work`, which waits here.
    unsafe {
        let inside = Tls::current().inside();
        call_on_g0(m, segment, run::<W>, ptr::from_mut(work).cast(), inside);
    }
}

/// Runs `work`, which waits for what other threads do: in a callback on the system stack, because they
/// may have to wait in turn for a stop of the world, which waits for running callbacks.
pub(crate) fn wait_off_g<W: FnMut()>(work: &mut W) {
    match running_segment(Tls::current()).filter(|(m, _)| m.holds(needm_sp())) {
        Some((m, segment)) => on_g0(m, segment, work),
        None => work(),
    }
}

/// From a G: calls `function(arg)` on the system stack. The function's frame is next to that of
/// assembly, and so an exception may leave it.
///
/// # Safety
/// The function may be called with the argument, here.
unsafe fn call_on_g0(
    m: &M,
    segment: &Segment,
    function: Function,
    arg: *mut c_void,
    inside: usize,
) {
    let call = m::from_g0(m, segment).call.load(Relaxed);
    let out = Out { segment, m, inside, call };
    // SAFETY: below that the system stack is not in use: C above it waits for this callback.
    unsafe { needm_on_g0(function, arg, &raw const out, free_below(m, segment)) }
}

/// From where on down the system stack is free.
fn free_below(m: &M, segment: &Segment) -> usize {
    let from = m::from_g0(m, segment);
    if ptr::eq(from, segment) && !segment.is(ENDING) {
        return g0sp(m, segment);
    }
    below_c(m, segment, from)
}

/// The same where C may have panicked, in the callback of `from` or inside: below that C, because what it has
/// deferred may use its frames. Apart, because each ccall's frame stays on the G.
#[inline(never)]
fn below_c(m: &M, segment: &Segment, from: &Segment) -> usize {
    forget_left(m, segment, needm_sp());
    let mut inner = Some(segment);
    while let Some(at) = inner {
        let c = if at.is(ENDING) { panicked_in_c_at(at) } else { 0 };
        if c != 0 && fibers::is_on_its_stack(Tls::current(), m, from, c) {
            let below = (c - BELOW_C) & !(ALIGN - 1);
            tools::writes(below - BELOW_C, BELOW_C);
            return below;
        }
        inner = at.outer().filter(|_| !ptr::eq(at, from));
    }
    g0sp(m, segment)
}

/// More than needm's frames below [`Panic::c`](crate::call::Panic::c) have: an unwinder that comes to C reads them.
const BELOW_C: usize = 512;

/// From `needm_on_g0`, on the system stack, before the function.
extern "C" fn left_g(out: *const Out<'_>) {
    // SAFETY: `call_on_g0` waits with it on the G.
    let out = unsafe { &*out };
    tools::out(&m::from_g0(out.m, out.segment).around);
    running::leave(out.m);
    if out.segment.is(IN_DOUBT) {
        // What was found of C that it had called before.
        out.segment.unset(IN_DOUBT);
    }
    // C may jump back to the G.
    Tls::current().set_inside(out.segment.around_it());
}

/// From `needm_on_g0`, on the system stack, after the function, or when an exception has left it.
extern "C" fn back_to_g(out: *const Out<'_>) {
    // SAFETY: `call_on_g0` waits with it on the G.
    let out = unsafe { &*out };
    come_back(out.m, out.segment);
    let stack = out.m.bounds_or_g(out.segment.gsp.load(Relaxed));
    let around = &m::from_g0(out.m, out.segment).around;
    tools::back(stack.lo..stack.hi, around, &out.segment.around);
    // An exception may go on from here, through all of needm, and an interrupt may end the callback.
    Tls::current().set_inside(out.inside);
}

/// Back from C, still on the system stack: drops what C has jumped out of, and passes the gate.
fn come_back(m: &M, segment: &Segment) {
    let tls = Tls::current();
    if tls.m().is_none_or(|current| !ptr::eq(current, m)) {
        let mark = Mark::new();
        let before = inside::begin(tls, &mark);
        fibers::make_current(tls, m);
        tls.set_inside(before);
    }
    go_on(m, segment);
}

/// Where the code of a callback may be that calls C.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// On any stack. Code on one that is not declared promises not to leave it in C.
    Anywhere,
    /// On the callback's stacks. Code on another one may leave that in C, and the callback would run what it
    /// calls next over that.
    OwnStacks,
}

/// Runs `function(arg)` on the system stack: `needm_ccall`.
pub(crate) fn ccall(function: Function, arg: *mut c_void, from: From) -> Result<(), Error> {
    let (tls, mark) = (Tls::current(), Mark::new());
    let before = inside::begin(tls, &mark);
    let found = running_segment(tls).filter(|(m, _)| from == From::Anywhere || m.holds(needm_sp()));
    if let Some((m, segment)) = found {
        // SAFETY: `needm_ccall`'s caller lets the function be called with its argument, here.
        unsafe { call_on_g0(m, segment, function, arg, before) };
    }
    inside::end(tls, before);
    found.map(drop).ok_or(Error::Invalid)
}
