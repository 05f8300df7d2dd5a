// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is different on each CPU under Windows: the room's part, and the declarations of its
//! assembly.

pub(crate) mod context;
pub(crate) mod teb;

pub(crate) use super::room::windows::teb::CALL_RESERVATION;
pub(crate) use super::room::windows::{frame_list, has_shadow_stack, walk};

// What the rooms' assembly defines; each routine's head says what it does.
unsafe extern "C" {
    /// `landing.S`: where a fault goes on on the G. Only a context leads there.
    pub(crate) fn needm_landing();
    /// `landing.S`: where an interrupt goes on. Only a context leads there.
    pub(crate) fn needm_interrupt_landing();
    /// `landing.S`: the same as `needm_landing`, after an overflow.
    pub(crate) fn needm_overflow_landing();
}
