// SPDX-License-Identifier: MIT OR Apache-2.0
//! There is no list of frames with handlers.

/// Nothing to do: handlers are found by the records of functions, not in a list of frames.
///
/// # Safety
/// The thread runs at `sp`, and has jumped there.
pub(crate) unsafe fn drop_dead_frames(_sp: usize, _is_on_g: impl Fn(usize) -> bool) {}
