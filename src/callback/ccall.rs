//! Calls from a callback out to C, on the system stack. Meanwhile the M does not count as running.
//!
//! # Safety
//! Work that goes to the system stack starts below the call that the thread left there, and
//! waits on the G: what it refers to on the G stays.
#![allow(unsafe_code)] // a function of the host's, on another stack

use crate::call::Function;
use crate::error::Error;
use crate::m;
use crate::m::{M, g0sp};
use crate::needm;
use crate::reconcile::{drop_segment, running_segment};
use crate::running;
use crate::segment::Segment;
use crate::tls::Tls;
use crate::tools;
use core::ffi::c_void;
use core::ptr;

unsafe extern "C" {
    /// `switch.S`: a call on the system stack, all registers spilled on the G's.
    fn needm_on_g0(
        function: unsafe extern "C" fn(*mut c_void),
        arg: *mut c_void,
        segment: *mut Segment,
        g0sp: usize,
    );
}

/// From a G: runs `work` on the system stack, while the M does not count as running.
pub(crate) fn on_g0<W: FnMut()>(m: &M, segment: &Segment, work: &mut W) {
    struct Out<'a, W> {
        m: &'a M,
        segment: &'a Segment,
        work: &'a mut W,
    }
    unsafe extern "C" fn out<W: FnMut()>(arg: *mut c_void) {
        // SAFETY: `on_g0` passes the address of its own `Out`, and waits on the G meanwhile.
        let out = unsafe { &mut *arg.cast::<Out<'_, W>>() };
        tools::out(&m::from_g0(out.m, out.segment).around);
        running::leave(out.m);
        (out.work)();
        come_back(out.m, out.segment);
        let stack = out.m.stack.lo()..out.m.stack.hi();
        tools::back(stack, &m::from_g0(out.m, out.segment).around, &out.segment.around);
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

/// Back from C, still on the system stack: drops what C has jumped out of, and passes the gate.
fn come_back(m: &M, segment: &Segment) {
    let tls = Tls::current();
    while let Some(current) = tls.m().filter(|current| !ptr::eq(*current, m)) {
        if current.prev_current().is_none() {
            break;
        }
        needm::dropm(tls, current);
    }
    while let Some(inner) = m.segment().filter(|inner| !ptr::eq(*inner, segment)) {
        drop_segment(m, inner);
    }
    running::enter(m);
}

/// Runs `function(arg)` on the system stack: `needm_ccall`.
pub(crate) fn ccall(function: Function, arg: *mut c_void) -> Result<(), Error> {
    let (m, segment) = running_segment(Tls::current()).ok_or(Error::Invalid)?;
    // SAFETY: `needm_ccall`'s caller lets the function be called with its argument, here.
    on_g0(m, segment, &mut || unsafe { function(arg) });
    Ok(())
}
