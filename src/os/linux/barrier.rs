//! The asymmetric barrier, by membarrier(2): Linux interrupts the processors that run
//! threads of this process, so only the side that is rarely taken pays.

use super::call;
use crate::arch::linux::nr;

// include/uapi/linux/membarrier.h
const MEMBARRIER_PRIVATE_EXPEDITED: usize = 1 << 3;
const MEMBARRIER_REGISTER_PRIVATE_EXPEDITED: usize = 1 << 4;

/// Registers this process for [`run`]; whether it can be had.
pub(crate) fn register() -> bool {
    // SAFETY: touches no memory.
    unsafe { call(nr::MEMBARRIER, (MEMBARRIER_REGISTER_PRIVATE_EXPEDITED, 0, 0)) }.is_ok()
}

/// A full barrier on every thread of this process that is running. False if it is refused.
pub(crate) fn run() -> bool {
    // SAFETY: touches no memory.
    unsafe { call(nr::MEMBARRIER, (MEMBARRIER_PRIVATE_EXPEDITED, 0, 0)) }.is_ok()
}
