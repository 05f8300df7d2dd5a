//! Whether needm is started, how often it has been (the epoch), and with which settings. All
//! modules read this; `lifecycle.rs` alone writes it.
//!
//! The settings are written by the one thread that starts needm, while needm is not open. A
//! thread reads them after it has found needm open, or while it starts needm itself. A thread
//! that is still entering from an earlier start reads the old or the new numbers; it then meets
//! the closed gate, or finds that its M is of another start, and begins again.

use crate::settings::Live;
use crate::sync::{AtomicBool, AtomicU32, Relaxed, SeqCst};

/// Whether callbacks are let in, or about to be.
pub(crate) static OPEN: AtomicBool = AtomicBool::new(false);

/// How often needm has been started.
pub(crate) static EPOCH: AtomicU32 = AtomicU32::new(0);

static SETTINGS: Live = Live::before();

/// The settings that needm was started with last.
pub(crate) fn settings() -> &'static Live {
    &SETTINGS
}

/// Whether needm lets callbacks in.
pub(crate) fn is_open() -> bool {
    OPEN.load(SeqCst)
}

/// The number of needm's last start.
pub(crate) fn epoch() -> u32 {
    EPOCH.load(Relaxed)
}

/// The gate's value while it is open in start number `epoch` of needm.
pub(crate) fn gate_of(epoch: u32) -> u32 {
    epoch << 2
}

/// The number of the start after start number `epoch`. [`gate_of`] is not 0 for it, and differs
/// from that of the starts before.
pub(crate) fn epoch_after(epoch: u32) -> u32 {
    (epoch.wrapping_add(1) & u32::MAX >> 2).max(1)
}

/// The gate's value while the gate is open.
pub(crate) fn epoch_open() -> u32 {
    gate_of(epoch())
}
