//! The one fatal door. Its message is an interface: what was found, what was
//! expected, in one line on standard error that starts with `needm: `.

use core::fmt::{self, Write};

use crate::os::{self, signal};

/// A line built without memory of anybody else's; what does not fit is cut.
pub(crate) struct Line {
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
    os::write_error(&line.bytes[..=line.len]);
}

/// Prints one line and ends the process by `SIGABRT`.
pub(crate) fn throw(message: fmt::Arguments<'_>) -> ! {
    print(message);
    signal::die_of(signal::SIGABRT)
}

/// Ends the process with one line on standard error: what the C libraries do
/// where the kernel itself is broken.
#[cfg(feature = "capi")]
#[doc(hidden)]
pub fn abort(message: &str) -> ! {
    throw(format_args!("{message}"))
}
