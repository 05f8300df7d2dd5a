// SPDX-License-Identifier: MIT OR Apache-2.0
//! What checking tools are told of needm's stacks.
//!
//! | tool | told | where |
//! | --- | --- | --- |
//! | valgrind | where stacks are; what is written below a stack pointer; where memory is looked at that may be none | always: a request costs nothing where no valgrind is |
//! | AddressSanitizer | each change of stacks; frames that are unwound | feature `asan` |
//! | ThreadSanitizer | each change of stacks, as fibers; what the gate orders | feature `tsan` |
//!
//! The features are for libraries that are linked into programs built with that
//! sanitizer. All callbacks then take the slow path, which tells it.

#[cfg(feature = "asan")]
#[path = "asan.rs"]
mod switches;
#[cfg(feature = "tsan")]
#[path = "tsan.rs"]
mod switches;
#[cfg(not(any(feature = "asan", feature = "tsan")))]
#[path = "none.rs"]
mod switches;

#[cfg(all(feature = "asan", feature = "tsan"))]
compile_error!("a program has one of these sanitizers: choose `asan` or `tsan`");

pub(crate) use crate::valgrind::{begin, stack_mapped, stack_unmapped, writes};
pub(crate) use switches::{
    Around, Fiber, acquire, back, entered, exited, out, release, stack_gone,
};

/// What the gate orders.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "tsan"), allow(dead_code))] // only told to one tool
pub(crate) enum Order {
    /// What callbacks did, before what is done in the stopped world.
    Left,
    /// What was done there, before what callbacks do.
    Started,
}

/// Whether all callbacks have to take the slow path, where these functions are called.
pub(crate) const WATCH_SWITCHES: bool = cfg!(any(feature = "asan", feature = "tsan"));
