// SPDX-License-Identifier: MIT OR Apache-2.0
//! The list of frames with handlers for exceptions, in which Windows looks for one on this architecture.

use core::arch::asm;

use crate::arch::windows::teb::StackFields;

/// Takes those frames off the list of frames with handlers that a jump to `sp` has left behind: on the G,
/// and below `sp` on the stack that it has gone to. Of the latter, only needm's own are certain to
/// be whole. If the list leads elsewhere, it becomes empty.
///
/// # Safety
/// The thread runs at `sp`, on the stack that the fields describe. What `is_on_g` says is on a stack
/// that is mapped.
pub(crate) unsafe fn drop_dead_frames(sp: usize, is_on_g: impl Fn(usize) -> bool) {
    let stack = StackFields::current();
    let needms = needm_c_handler as *const () as usize;
    let mut at = exception_list();
    for _ in 0..MOST_FRAMES {
        if (sp..stack.base).contains(&at) || at == NO_FRAMES {
            break;
        }
        let is_dead = (stack.limit..sp).contains(&at);
        if !at.is_multiple_of(align_of::<Entry>()) || !is_dead && !is_on_g(at) {
            at = NO_FRAMES;
            break;
        }
        // SAFETY: it is on the G, or on the stack that the thread is on, and is words.
        let entry = unsafe { &*core::ptr::with_exposed_provenance::<Entry>(at) };
        at = if is_dead && entry.handler != needms { NO_FRAMES } else { entry.next };
    }
    // SAFETY: fs leads to the thread's own block, in which the field is. The frames that are left on
    // the list are those of functions that have not returned.
    unsafe {
        asm!("mov fs:[0x0], {at}", at = in(reg) at, options(nostack, preserves_flags));
    }
}

/// An entry of the list of frames with handlers.
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) next: usize,
    pub(crate) handler: usize,
}

/// The end of the list.
const NO_FRAMES: usize = usize::MAX;

/// Entries that are looked at.
const MOST_FRAMES: usize = 256;

unsafe extern "C" {
    /// The handler of `needm_c_base`'s entry.
    fn needm_c_handler();
}

/// The first entry of the list of frames with handlers.
pub(crate) fn exception_list() -> usize {
    let first;
    // SAFETY: fs leads to the thread's own block, whose first field it is; nothing is written.
    unsafe {
        asm!("mov {first}, fs:[0x0]", first = out(reg) first, options(nostack, readonly, preserves_flags));
    }
    first
}
