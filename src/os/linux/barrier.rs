// SPDX-License-Identifier: MIT OR Apache-2.0
//! The asymmetric barrier, by membarrier(2): Linux interrupts the processors that run
//! threads of this process, so only the side that is rarely taken pays.

use super::call;
use crate::arch::linux::{MEMBARRIER_SIGN, nr};

// include/uapi/linux/membarrier.h
const MEMBARRIER_QUERY: usize = 0;
const MEMBARRIER_PRIVATE_EXPEDITED: usize = 1 << 3;
const MEMBARRIER_REGISTER_PRIVATE_EXPEDITED: usize = 1 << 4;

/// Registers this process for [`run`]; whether it can be had.
pub(crate) fn register() -> bool {
    !super::spares_calls() && is_complete() && {
        // SAFETY: the call reads and writes no memory (membarrier(2)).
        unsafe { call(nr::MEMBARRIER, (MEMBARRIER_REGISTER_PRIVATE_EXPEDITED, 0, 0)) }.is_ok()
    }
}

/// Whether this Linux orders the accesses of all threads here: some did not on some CPUs.
fn is_complete() -> bool {
    let Some(sign) = MEMBARRIER_SIGN else { return true };
    // SAFETY: the call reads and writes no memory (membarrier(2)).
    let known = unsafe { call(nr::MEMBARRIER, (MEMBARRIER_QUERY, 0, 0)) };
    known.is_ok_and(|commands| commands & sign != 0)
}

/// A full barrier on every thread of this process that is running. False if it is refused.
pub(crate) fn run() -> bool {
    // SAFETY: the call reads and writes no memory (membarrier(2)).
    unsafe { call(nr::MEMBARRIER, (MEMBARRIER_PRIVATE_EXPEDITED, 0, 0)) }.is_ok()
}
