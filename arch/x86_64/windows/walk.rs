// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether Windows, which looks for a handler of an exception from frame to frame, will get to the
//! lowest frame of a callback (Microsoft, "x64 exception handling", "Unwind procedure").

use core::ffi::c_void;
use core::ptr;

use crate::arch::windows::context::Context;

/// Frames that are looked at.
const MOST: usize = 256;

/// `UNW_FLAG_NHANDLER` (winnt.h): only unwind.
const NO_HANDLER: u32 = 0;

#[link(name = "kernel32")]
unsafe extern "system" {
    fn RtlLookupFunctionEntry(pc: usize, base: *mut usize, history: *mut c_void) -> *mut c_void;
    fn RtlVirtualUnwind(
        kind: u32,
        base: usize,
        pc: usize,
        function: *mut c_void,
        context: *mut Context,
        handler_data: *mut *mut c_void,
        frame: *mut usize,
        pointers: *mut c_void,
    ) -> *mut c_void;
}

unsafe extern "C" {
    /// `entry.S`: the lowest frame of a callback, and where what it calls returns to.
    fn needm_base();
    fn needm_base_return();
}

/// Whether each frame from `from` down to that of `needm_base` on the same stack has a record by
/// which Windows unwinds it. Code made at run time often has none.
///
/// # Safety
/// `from` is a context of this thread, on the stack whose end the thread's environment block has.
pub(crate) unsafe fn reaches_base(from: &Context, stack_end: usize) -> bool {
    let mut at = *from;
    let base_frame = needm_base as *const () as usize + 1..=needm_base_return as *const () as usize;
    for depth in 0..MOST {
        if base_frame.contains(&at.pc()) {
            return true;
        }
        let (sp, mut base) = (at.sp(), 0);
        // SAFETY: it reads tables, of any address.
        let function = unsafe { RtlLookupFunctionEntry(at.pc(), &raw mut base, ptr::null_mut()) };
        if function.is_null() {
            // A function without a frame can only be the innermost.
            if depth > 0 || sp + size_of::<usize>() > stack_end {
                return false;
            }
            // SAFETY: the word is on the stack, below its end.
            let back = unsafe { *ptr::with_exposed_provenance::<usize>(sp) };
            at.go_to(back, sp + size_of::<usize>());
        } else {
            let (mut data, mut frame) = (ptr::null_mut(), 0);
            // SAFETY: the context is of code for which the record was found; the rest is written.
            unsafe {
                RtlVirtualUnwind(
                    NO_HANDLER,
                    base,
                    at.pc(),
                    function,
                    &raw mut at,
                    &raw mut data,
                    &raw mut frame,
                    ptr::null_mut(),
                );
            }
        }
        if at.sp() <= sp || at.sp() >= stack_end {
            return false;
        }
    }
    false
}
