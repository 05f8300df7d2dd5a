//! Symbols between assembly and Rust, each a jump.

/// The calls upward: symbols of the kernel's own that assembly calls, and the Rust
/// function behind each. The symbol must be hidden, because two copies of the kernel
/// live in one process, and Rust has no attribute for that.
macro_rules! upcalls {
    ($($symbol:literal => $function:path),* $(,)?) => {$(
        core::arch::global_asm!(
            concat!(".pushsection .text.", $symbol, ",\"ax\",@progbits"),
            concat!(".globl ", $symbol),
            concat!(".hidden ", $symbol),
            concat!(".type ", $symbol, ",@function"),
            concat!($symbol, ":"),
            ".cfi_startproc",
            "jmp {function}",
            ".cfi_endproc",
            concat!(".size ", $symbol, ", . - ", $symbol),
            ".popsection",
            function = sym $function,
        );
    )*};
}
pub(crate) use upcalls;

/// Defines the C symbols of routines that assembly implements: one jump, since a
/// symbol that Rust does not define itself is not exported from a shared library.
#[cfg(feature = "capi")]
macro_rules! c_entry {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty = $routine:path) => {
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $name($($arg: $type),*) -> $result {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "jmp {routine}",
                ".cfi_endproc",
                routine = sym $routine,
            )
        }
    };
}
#[cfg(feature = "capi")]
pub(crate) use c_entry;
