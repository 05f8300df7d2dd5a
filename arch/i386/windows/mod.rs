// SPDX-License-Identifier: MIT OR Apache-2.0
//! i386 under Windows: `arch/README.md` says what a room defines.

pub(crate) mod frame_list;
pub(crate) mod registers;
pub(crate) mod teb;
pub(crate) mod walk;

/// Windows has no shadow stacks for 32-bit programs (Microsoft, "/CETCOMPAT": x64 only).
pub(crate) fn has_shadow_stack() -> bool {
    false
}
