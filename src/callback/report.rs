// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lines that say why the process ends when a callback has faulted, or its stack has run out,
//! and nothing recovers from that.
//!
//! They are printed in a signal handler, with little stack: nothing here formats, panics or
//! allocates.

use crate::call::PanicInfo;
use crate::error::Error;
use crate::m::M;
use crate::os::process;

/// A line under way; what does not fit is left out.
struct Line {
    bytes: [u8; 160],
    len: usize,
}

impl Line {
    const fn new() -> Self {
        Self { bytes: [0; 160], len: 0 }
    }

    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    fn text(&mut self, text: &[u8]) {
        for byte in text {
            self.byte(*byte);
        }
    }

    /// A number in base `base`: 10, or 16 after `0x`.
    fn number(&mut self, mut rest: usize, base: usize) {
        let mut digits = [0; 20];
        let mut count = 0;
        for digit in &mut digits {
            #[allow(clippy::cast_possible_truncation)] // below 16
            let value = (rest % base) as u8;
            *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
            rest /= base;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        if base == 16 {
            self.text(b"0x");
        }
        for digit in digits.iter().take(count).rev() {
            self.byte(*digit);
        }
    }

    fn signed(&mut self, value: i32) {
        if value < 0 {
            self.byte(b'-');
        }
        self.number(value.unsigned_abs() as usize, 10);
    }

    fn print(&mut self) {
        self.byte(b'\n');
        process::last_words(self.bytes.get(..self.len).unwrap_or(&self.bytes));
    }
}

/// The M's number.
fn id(m: &M) -> usize {
    m.index().wrapping_add(1) as usize
}

/// Prints the line for an overflow on `m` that is not a callback's error.
pub(crate) fn overflow(m: &M) {
    let mut line = Line::new();
    line.text(b"needm: the stack of a callback on M ");
    line.number(id(m), 10);
    line.text(b" has overflowed");
    line.print();
}

/// Prints the line of `NEEDM_UNRECOVERED_ABORTS` for a fault on `m`.
pub(crate) fn unrecovered(m: &M, info: &PanicInfo) {
    let overflow = info.kind == Error::Overflow.code();
    let mut line = Line::new();
    line.text(b"needm: unrecovered ");
    line.text(if overflow { b"stack overflow" } else { b"fault" });
    line.text(b" on M ");
    line.number(id(m), 10);
    line.text(b": signal ");
    line.signed(info.signo);
    line.text(b" code ");
    line.signed(info.code);
    line.text(b" addr ");
    line.number(info.addr, 16);
    line.text(b" pc ");
    line.number(info.pc, 16);
    line.print();
}
