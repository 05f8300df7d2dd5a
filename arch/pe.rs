// SPDX-License-Identifier: MIT OR Apache-2.0
//! How assembly in Rust names sections and symbols in PE/COFF; `pe.h` is the same for assembly
//! files.
//!
//! COFF has no hidden symbols: two static copies of needm in one program clash, two DLLs do not.
//! A function that only jumps needs no unwind record (Microsoft, "x64 exception handling").

/// Symbols that assembly calls, and the Rust function behind each: one jump. It stands beside
/// the function, so that a module imports nothing from above to be called from there.
macro_rules! upcalls {
    ($($symbol:literal => $function:path),* $(,)?) => {$(
        core::arch::global_asm!(
            ".text",
            ".p2align 4",
            concat!(".def ", $crate::arch::dialect!(prefix), $symbol),
            ".scl 2",
            ".type 32",
            ".endef",
            concat!(".globl ", $crate::arch::dialect!(prefix), $symbol),
            concat!($crate::arch::dialect!(prefix), $symbol, ":"),
            concat!($crate::arch::dialect!(jump), " {function}"),
            function = sym $function,
        );
    )*};
}
pub(crate) use upcalls;

/// A C function that assembly implements: one jump, because a DLL exports only the symbols that
/// Rust itself defines.
#[cfg(feature = "capi")]
macro_rules! c_entry {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty = $routine:path) => {
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $name($($arg: $type),*) -> $result {
            core::arch::naked_asm!(
                concat!($crate::arch::dialect!(jump), " {routine}"),
                routine = sym $routine,
            )
        }
    };
}
#[cfg(feature = "capi")]
pub(crate) use c_entry;

/// A function of the C interface, under its own name. A room may have another form of it.
#[cfg(feature = "capi")]
#[allow(unused_macros, unused_imports)] // where the room's own is used
macro_rules! public {
    ($($function:tt)*) => {
        #[unsafe(no_mangle)]
        $($function)*
    };
}
#[cfg(feature = "capi")]
#[allow(unused_imports)] // where the room's own is used
pub(crate) use public;
