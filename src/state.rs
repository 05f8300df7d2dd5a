//! (to be written)
#![allow(unsafe_code)]

use crate::settings::Settings;
use crate::sync::{AtomicBool, AtomicU32, Relaxed, SeqCst};
use core::cell::UnsafeCell;

/// Whether callbacks are let in, or about to be.
pub(crate) static OPEN: AtomicBool = AtomicBool::new(false);

/// How often needm has been started.
pub(crate) static EPOCH: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Cell(pub(crate) UnsafeCell<Settings>);

// SAFETY: see the head of this file.
unsafe impl Sync for Cell {}

pub(crate) static SETTINGS: Cell = Cell(UnsafeCell::new(Settings::DEFAULT));

/// The settings of needm that runs, or ran last.
pub(crate) fn settings() -> &'static Settings {
    // SAFETY: see the head of this file.
    unsafe { &*SETTINGS.0.get() }
}

/// Whether needm lets callbacks in.
pub(crate) fn is_open() -> bool {
    OPEN.load(SeqCst)
}

/// The number of this start of needm.
pub(crate) fn epoch() -> u32 {
    EPOCH.load(Relaxed)
}

/// The gate's value while the gate of this start of needm is open.
pub(crate) fn gate_of(epoch: u32) -> u32 {
    epoch << 1
}

pub(crate) fn epoch_open() -> u32 {
    gate_of(epoch())
}
