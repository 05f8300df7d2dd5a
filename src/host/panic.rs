// SPDX-License-Identifier: MIT OR Apache-2.0
//! The panic handler of a program without a C library.

use core::panic::PanicInfo;

use crate::fatal;

/// A panic of the program's Rust code: one line, and the end.
#[cfg_attr(not(docsrs), panic_handler)] // documented beside `std`, which has one
fn panic(info: &PanicInfo<'_>) -> ! {
    match info.location() {
        Some(at) => fatal::throw(format_args!(
            "panicked at {}:{}: {}",
            at.file(),
            at.line(),
            info.message()
        )),
        None => fatal::throw(format_args!("panicked: {}", info.message())),
    }
}
