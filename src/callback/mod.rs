// SPDX-License-Identifier: MIT OR Apache-2.0
//! One callback, from its entry to its end.

pub(crate) mod build;
pub(crate) mod ccall;
pub(crate) mod defer;
pub(crate) mod enter;
pub(crate) mod exit;
pub(crate) mod fault;
pub(crate) mod inside;
pub(crate) mod interrupt;
mod mark;
mod place;
pub(crate) mod report;
pub(crate) mod panic;
pub(crate) mod raising;
pub(crate) mod stacks;
#[cfg(feature = "capi")]
pub(crate) mod take_back;
pub(crate) mod unwound;
