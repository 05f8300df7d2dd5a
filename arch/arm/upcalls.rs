//! Symbols between assembly and Rust, each a branch. Where the other side is Thumb
//! code the linker puts a few instructions in between, which take ip at most.

/// The calls upward: symbols of the kernel's own that assembly calls, and the Rust
/// function behind each. The symbol must be hidden, because two copies of the kernel
/// live in one process, and Rust has no attribute for that.
macro_rules! upcalls {
    ($($symbol:literal => $function:path),* $(,)?) => {$(
        core::arch::global_asm!(
            concat!(".pushsection .text.", $symbol, ",\"ax\",%progbits"),
            ".arm",
            ".cfi_sections .debug_frame",
            ".p2align 2",
            concat!(".globl ", $symbol),
            concat!(".hidden ", $symbol),
            concat!(".type ", $symbol, ",%function"),
            concat!($symbol, ":"),
            ".fnstart",
            ".cfi_startproc",
            "b {function}",
            ".cfi_endproc",
            ".fnend",
            concat!(".size ", $symbol, ", . - ", $symbol),
            ".popsection",
            function = sym $function,
        );
    )*};
}
pub(crate) use upcalls;

/// Defines the C symbols of routines that assembly implements: one branch, since a
/// symbol that Rust does not define itself is not exported from a shared library.
#[cfg(feature = "capi")]
macro_rules! c_entry {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty = $routine:path) => {
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $name($($arg: $type),*) -> $result {
            core::arch::naked_asm!(
                ".cfi_sections .debug_frame",
                ".cfi_startproc",
                "b {routine}",
                ".cfi_endproc",
                routine = sym $routine,
            )
        }
    };
}
#[cfg(feature = "capi")]
pub(crate) use c_entry;
