// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of a thread in the `CONTEXT` of winnt.h: `context.rs` of `arch/windows` has what is done
//! with them.

pub(crate) const CONTEXT_FLAGS: usize = 0;
const EDI: usize = 0x9c;
const ESI: usize = 0xa0;
const EBX: usize = 0xa4;
const EDX: usize = 0xa8;
const ECX: usize = 0xac;
const EAX: usize = 0xb0;
pub(crate) const EFLAGS: usize = 0xc0;
/// The instruction, and the stack pointer there.
pub(crate) const PC: usize = 0xb8;
pub(crate) const SP: usize = 0xc4;
/// Bytes of it.
pub(crate) const BYTES: usize = 0x2cc;

/// Those that `needm_landing` takes the words of a fault frame from: all but ebp. For the last word, which is
/// 0 (`os::fault::keep`), there is none.
pub(crate) const FRAME_WORDS: [usize; 6] = [EAX, ECX, EDX, EBX, ESI, EDI];

/// `CONTEXT_CONTROL` (winnt.h), for `ContextFlags`: which registers are meant.
pub(crate) const CONTROL: u32 = 0x0001_0001;
