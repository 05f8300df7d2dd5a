// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether needm is started, how often it has been (the epoch), and with which settings. All
//! modules read this; `lifecycle.rs` alone writes it.
//!
//! The settings are written by the one thread that starts needm, while needm is not open. A
//! thread reads them after it has found needm open, or while it starts needm itself. A thread
//! that is still entering from an earlier start reads the old or the new numbers; it then meets
//! the closed gate, or finds that its M is of another start, and begins again.

use crate::layout;
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
pub(crate) const fn gate_of(epoch: u32) -> u32 {
    epoch << 2
}

/// The number of the start after start number `epoch`. [`gate_of`] is not 0 for it, and differs
/// from that of the starts before.
///
/// Its lowest bit is not counted: it says that callbacks leave floating-point control alone. So
/// each callback finds that in the gate's value, which it has at hand.
pub(crate) fn epoch_after(epoch: u32, leaves_fp_control: bool) -> u32 {
    let count = ((epoch >> 1).wrapping_add(1) & u32::MAX >> 3).max(1);
    count << 1 | u32::from(leaves_fp_control)
}

const _: () = assert!(gate_of(1) == layout::gate::LEAVES_FP);

/// The gate's value while the gate is open.
pub(crate) fn epoch_open() -> u32 {
    gate_of(epoch())
}
