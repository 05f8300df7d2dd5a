// SPDX-License-Identifier: MIT OR Apache-2.0
//! The atomics of the whole crate come from here, so that a model can bring its own.

use core::ops::Deref;
pub(crate) use core::sync::atomic::Ordering;
pub(crate) use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
#[cfg(not(needm_loom))]
pub(crate) use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, compiler_fence, fence,
};
#[cfg(needm_loom)] // by the package `needm-models`
#[allow(unused_imports)] // its planted bugs use more
pub(crate) use watched::*;

#[cfg(needm_loom)]
#[path = "../models/sync/mod.rs"]
mod watched;

/// Alone in its pair of cache lines, which some processors fetch together: what threads write each
/// time that one begins to call back or exits is not beside what all others read.
#[repr(align(128))]
pub(crate) struct Alone<T>(pub(crate) T);

impl<T> Deref for Alone<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
