//! The calls upward: symbols of the kernel's own that assembly calls, and the
//! Rust function behind each. A jump, because the symbol must be hidden (two
//! copies of the kernel live in one process) and Rust has no attribute for it.

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
