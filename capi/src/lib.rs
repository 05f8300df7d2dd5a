//! `libneedm.a` and `libneedm.so`: what `needm`'s feature `capi` exports, as
//! libraries for C. Without the feature the libraries are empty.
#![cfg_attr(not(feature = "std"), no_std)]

#[cfg(feature = "capi")]
extern crate needm as _;

/// The kernel has no panicking path that can be reached; what is left is a bug
/// in it, and the one right end for that is the one a C program expects.
#[cfg(not(any(feature = "std", feature = "freestanding")))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(feature = "capi")]
    needm::abort("needm: internal panic");
    #[cfg(not(feature = "capi"))]
    loop {
        core::hint::spin_loop();
    }
}
