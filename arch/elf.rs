// SPDX-License-Identifier: MIT OR Apache-2.0
//! How assembly in Rust names sections and symbols in ELF; `elf.h` is the same for assembly files.
//!
//! needm's symbols are hidden, because two copies of needm may be in one process and one must
//! never reach the other's by name. Rust has no attribute for that, hence assembly. What differs
//! between architectures is one word each of the room's `dialect!`.

/// The directive for a word, and the space behind it.
#[cfg(target_pointer_width = "64")]
macro_rules! word {
    () => {
        ".quad "
    };
}
/// The directive for a word, and the space behind it.
#[cfg(target_pointer_width = "32")]
macro_rules! word {
    () => {
        ".long "
    };
}
pub(crate) use word;

/// Symbols that assembly calls, and the Rust function behind each: one jump. It stands beside
/// the function, so that a module imports nothing from above to be called from there.
macro_rules! upcalls {
    ($($symbol:literal => $function:path),* $(,)?) => {$(
        core::arch::global_asm!(
            concat!(".pushsection .text.", $symbol, ",\"ax\",%progbits"),
            $crate::arch::dialect!(mode),
            $crate::arch::dialect!(tables),
            concat!(".globl ", $symbol),
            concat!(".hidden ", $symbol),
            concat!(".type ", $symbol, ",%function"),
            concat!($symbol, ":"),
            $crate::arch::dialect!(open),
            ".cfi_startproc",
            concat!($crate::arch::dialect!(jump), " {function}"),
            ".cfi_endproc",
            $crate::arch::dialect!(close),
            concat!(".size ", $symbol, ", . - ", $symbol),
            ".popsection",
            function = sym $function,
        );
    )*};
}
pub(crate) use upcalls;

/// A C function that assembly implements: one jump, because a shared library exports only the
/// symbols that Rust itself defines.
#[cfg(feature = "capi")]
macro_rules! c_entry {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty = $routine:path) => {
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        unsafe extern "C" fn $name($($arg: $type),*) -> $result {
            core::arch::naked_asm!(
                $crate::arch::dialect!(tables),
                ".cfi_startproc",
                concat!($crate::arch::dialect!(jump), " {routine}"),
                ".cfi_endproc",
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

/// A table of addresses, a word each, in the order of the list: the symbol `$table`. An address
/// is 0 if nothing that is linked or loaded defines its symbol. `hidden`: the linker defines it,
/// for this program or library alone. The loader writes the table before any code runs, and
/// nothing does afterwards (`.data.rel.ro`).
macro_rules! weak_table {
    ($table:literal: hidden $($symbol:literal),+ $(,)?) => {
        $crate::arch::weak_table!(@ $table, [$(concat!(".hidden ", $symbol),)+] $($symbol),+);
    };
    ($table:literal: $($symbol:literal),+ $(,)?) => {
        $crate::arch::weak_table!(@ $table, [] $($symbol),+);
    };
    (@ $table:literal, [$($hidden:tt)*] $($symbol:literal),+) => {
        core::arch::global_asm!(
            concat!(".pushsection .data.rel.ro.", $table, ",\"aw\",%progbits"),
            ".p2align 3",
            concat!(".globl ", $table),
            concat!(".hidden ", $table),
            concat!(".type ", $table, ",%object"),
            $($hidden)*
            concat!($table, ":"),
            $(
                concat!(".weak ", $symbol),
                concat!($crate::arch::word!(), $symbol),
            )+
            concat!(".size ", $table, ", . - ", $table),
            ".popsection",
        );
    };
}
pub(crate) use weak_table;
