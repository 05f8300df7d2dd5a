//! `libneedm.a` and `libneedm.so`: the C interface of `needm` as libraries.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate needm as _;

/// No panic of needm's own can be reached, so one would be a bug in it: it ends the process
/// as a C program expects.
#[cfg(not(any(feature = "std", feature = "freestanding")))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    needm::abort("needm: internal panic")
}
