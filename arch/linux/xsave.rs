// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory-protection keys in the frames of signals on x86: PKRU says which keys this thread may read and
//! write with. Linux gives a handler a value of its own, and a handler's return puts that of the
//! interrupted code back (linux/Documentation/core-api/protection-keys.rst). What leaves a handler by a
//! jump has to do the same.
//!
//! A room that has XSAVE includes this file.
//!
//! # Safety
//! Linux has saved the state that is read here, in a signal's frame.

use crate::sync::{AtomicUsize, Relaxed};
use core::ptr;

/// Bytes from the start of the saved state to PKRU in it; 0 where there are no keys.
static KEYS_AT: AtomicUsize = AtomicUsize::new(0);

/// The component of PKRU in saved state (Intel 64 and IA-32 Architectures Software Developer's Manual,
/// volume 1, 13.1 "XSAVE-Supported Features and State-Component Bitmaps").
const PKRU: u32 = 9;

/// `sw_reserved` in saved state, and the mark that begins it (`struct _fpx_sw_bytes` and
/// FP_XSTATE_MAGIC1, linux/arch/x86/include/uapi/asm/sigcontext.h).
const ABOUT: usize = 464;
const MARK: u32 = 0x4650_5853;
/// There: which components are saved, and how many bytes.
const COMPONENTS: usize = ABOUT + 8;
const BYTES: usize = ABOUT + 16;
/// The components that have not their initial value: XSTATE_BV, of the XSAVE header.
const CHANGED: usize = 512;

/// Notes whether there are keys, and where. `cpuid` gives eax, ebx and ecx for a leaf and sub-leaf (the
/// manual's volume 2A, "CPUID").
pub(crate) fn note_keys(cpuid: impl Fn(u32, u32) -> [u32; 3]) {
    const OSPKE: u32 = 1 << 4;
    if cpuid(0, 0)[0] >= 13 && cpuid(7, 0)[2] & OSPKE != 0 {
        KEYS_AT.store(cpuid(13, PKRU)[1] as usize, Relaxed);
    }
}

/// Whether there are keys.
pub(crate) fn has_keys() -> bool {
    KEYS_AT.load(Relaxed) != 0
}

/// Loads the keys of the code that was interrupted, of which this is the saved state, unless they are
/// those of the handler.
///
/// # Safety
/// Linux has saved it in the frame of a signal.
pub(crate) unsafe fn load_keys(state: *const u8) {
    let at = KEYS_AT.load(Relaxed);
    if at == 0 {
        return;
    }
    // SAFETY: the caller promises that the state is there, of which all have these words.
    let word = |at: usize| unsafe { ptr::read_unaligned(state.add(at).cast::<u32>()) };
    let has = |components: usize| word(components) & 1 << PKRU != 0;
    if word(ABOUT) != MARK || !has(COMPONENTS) || (word(BYTES) as usize) < at + size_of::<u32>() {
        return;
    }
    let keys = if has(CHANGED) { word(at) } else { 0 };
    // SAFETY: the CPU has the register, which is this thread's own. With these keys the interrupted
    // code has run, and it goes on with them.
    unsafe {
        core::arch::asm!(
            "xor ecx, ecx",
            "rdpkru",
            "cmp eax, {keys:e}",
            "je 2f",
            "mov eax, {keys:e}",
            "wrpkru",
            "2:",
            keys = in(reg) keys,
            out("eax") _,
            out("ecx") _,
            out("edx") _,
            options(nostack),
        );
    }
}
