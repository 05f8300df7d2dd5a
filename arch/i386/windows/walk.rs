// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether Windows, which looks for a handler of an exception in the thread's list of frames with
//! handlers, will get to the lowest frame of a callback (winternl.h, `EXCEPTION_REGISTRATION_RECORD`).

use super::frame_list::{Entry, exception_list};
use crate::arch::windows::context::Context;
use crate::arch::windows::teb::StackFields;

/// Entries that are looked at.
const MOST: usize = 256;

unsafe extern "C" {
    /// The handler of `needm_base`'s entry.
    fn needm_base_handler();
}

/// Whether the entries of the list lead to that of `needm_base` on the same stack.
///
/// # Safety
/// `from` is a context of this thread, on the stack whose end the thread's environment block has.
pub(crate) unsafe fn reaches_base(_from: &Context, stack_end: usize) -> bool {
    let stack = StackFields::current().limit..stack_end - size_of::<Entry>() + 1;
    let base = needm_base_handler as *const () as usize;
    let mut at = exception_list();
    for _ in 0..MOST {
        if !stack.contains(&at) || !at.is_multiple_of(align_of::<Entry>()) {
            return false;
        }
        // SAFETY: it is on this thread's stack, all of which is words.
        let entry = unsafe { &*core::ptr::with_exposed_provenance::<Entry>(at) };
        if entry.handler == base {
            return true;
        }
        if entry.next <= at {
            return false;
        }
        at = entry.next;
    }
    false
}
