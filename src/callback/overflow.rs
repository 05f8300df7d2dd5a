//! The line that says why the process ends when the stack of a callback has run out, and
//! the callback does not recover from that.
//!
//! It is printed in a signal handler, with little stack: nothing here formats, panics or
//! allocates.

use crate::m::M;
use crate::os::process;

/// Digits of the largest number of an M.
const DIGITS: usize = 10;

/// Prints the line for a callback on `m`.
pub(crate) fn report(m: &M) {
    let mut digits = [b'0'; DIGITS];
    let mut rest = m.index().wrapping_add(1);
    for digit in digits.iter_mut().rev() {
        #[allow(clippy::cast_possible_truncation)] // below 10
        let value = (rest % 10) as u8;
        *digit += value;
        rest /= 10;
    }
    let number = digits.iter().skip_while(|digit| **digit == b'0');
    let text =
        b"needm: the stack of a callback on M ".iter().chain(number).chain(b" has overflowed\n");
    let mut line = [0; 64];
    let mut len = 0;
    for (place, byte) in line.iter_mut().zip(text) {
        *place = *byte;
        len += 1;
    }
    process::last_words(line.get(..len).unwrap_or(&line));
}
