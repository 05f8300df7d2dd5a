//! Calls from a callback back out to C: on the system stack, out of the world.
#![allow(unsafe_code)] // a function of the host's, on another stack

use core::ffi::c_void;
use core::ptr;

use crate::arch::needm_on_g0;
use crate::callback::{ALIGN, Function, running_segment};
use crate::error::Error;
use crate::m::{M, Segment};
use crate::needm;
use crate::settle::drop_segment;
use crate::sync::Relaxed;
use crate::tls::Tls;
use crate::tools;
use crate::world;

/// The end of what is in use on the system stack while `segment` runs: the call
/// that it, or the nearest segment around it, was entered by from there.
pub(crate) fn g0sp(m: &M, segment: &Segment) -> usize {
    let call = from_g0(m, segment).call.load(Relaxed);
    call as usize & !(ALIGN - 1)
}

/// The nearest segment, from `segment` on outwards, that was entered from another stack.
pub(crate) fn from_g0<'a>(m: &M, mut segment: &'a Segment) -> &'a Segment {
    while m.stack.holds(segment.call.load(Relaxed) as usize)
        && let Some(outer) = segment.outer()
    {
        segment = outer;
    }
    segment
}

/// Runs `work` on the system stack, out of the world, from a G.
pub(crate) fn on_g0<W: FnMut()>(m: &M, segment: &Segment, work: &mut W) {
    struct Out<'a, W> {
        m: &'a M,
        segment: &'a Segment,
        work: &'a mut W,
    }
    unsafe extern "C" fn out<W: FnMut()>(arg: *mut c_void) {
        // SAFETY: `on_g0` gives it its own `Out`, which waits on the G.
        let out = unsafe { &mut *arg.cast::<Out<'_, W>>() };
        tools::out(out.m, out.segment);
        world::leave(out.m);
        (out.work)();
        come_back(out.m, out.segment);
        tools::back(out.m, out.segment);
    }
    let mut out_of = Out { m, segment, work };
    let g0sp = g0sp(m, segment);
    // SAFETY: `g0sp` is the end of what is in use on the system stack: C above
    // it waits for this callback.
    unsafe {
        let arg = (&raw mut out_of).cast();
        needm_on_g0(out::<W>, arg, ptr::from_ref(segment).cast_mut(), g0sp);
    }
}

/// Back from C, still on the system stack: what C left behind goes, then the gate.
fn come_back(m: &M, segment: &Segment) {
    let tls = Tls::current();
    while let Some(current) = tls.m().filter(|current| !ptr::eq(*current, m)) {
        if current.over().is_none() {
            break;
        }
        needm::dropm(tls, current);
    }
    while let Some(inner) = m.segment().filter(|inner| !ptr::eq(*inner, segment)) {
        drop_segment(m, inner);
    }
    world::enter(m);
}

/// Runs `function(arg)` on the system stack: `needm_ccall`.
pub(crate) fn ccall(function: Function, arg: *mut c_void) -> Result<(), Error> {
    let (m, segment) = running_segment(Tls::current()).ok_or(Error::Invalid)?;
    // SAFETY: the caller vouches for the function and its argument.
    on_g0(m, segment, &mut || unsafe { function(arg) });
    Ok(())
}
