// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of a thread in the `CONTEXT` of winnt.h: `context.rs` of `arch/windows` has what is done
//! with them.

pub(crate) const CONTEXT_FLAGS: usize = 0x30;
pub(crate) const EFLAGS: usize = 0x44;
const RCX: usize = 0x80;
const RDX: usize = 0x88;
const R8: usize = 0xb8;
const R9: usize = 0xc0;
const R10: usize = 0xc8;
const R11: usize = 0xd0;
/// The instruction, and the stack pointer there.
pub(crate) const PC: usize = 0xf8;
pub(crate) const SP: usize = 0x98;
/// Bytes of it.
pub(crate) const BYTES: usize = 0x4d0;

/// Those that `needm_landing` takes the words of a fault frame from: no function keeps them.
pub(crate) const FRAME_WORDS: [usize; 6] = [RCX, RDX, R8, R9, R10, R11];

/// `CONTEXT_CONTROL` (winnt.h), for `ContextFlags`: which registers are meant.
pub(crate) const CONTROL: u32 = 0x0010_0001;
