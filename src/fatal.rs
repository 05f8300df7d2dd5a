// SPDX-License-Identifier: MIT OR Apache-2.0
//! Prints one line to standard error, and ends the process. needm's own lines start with
//! `needm: ` and say what was found.

use core::fmt::{self, Write};

use crate::os::process;

/// A fixed buffer, so that a line can be built in a signal handler. Long messages are
/// truncated.
struct Line {
    bytes: [u8; 160],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The last byte is kept for the line's end.
        let room = self.bytes.len() - 1 - self.len;
        let taken = text.len().min(room);
        self.bytes[self.len..self.len + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        Ok(())
    }
}

/// Prints `message` as one line to standard error.
pub(crate) fn print(message: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; 160], len: 0 };
    let _ = line.write_fmt(message);
    line.bytes[line.len] = b'\n';
    process::last_words(&line.bytes[..=line.len]);
}

/// Prints one line and aborts the process.
pub(crate) fn throw(message: fmt::Arguments<'_>) -> ! {
    print(message);
    process::abort()
}

/// Ends the process with one line on standard error. libneedm.a and libneedm.so do so if needm
/// itself panics.
#[cfg(feature = "capi")]
#[doc(hidden)]
pub fn abort(message: &str) -> ! {
    throw(format_args!("{message}"))
}
