//! The atomics of the whole crate come from here, so that a model can bring its own.

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
