//! Where a thread's own stack is, from `/proc/self/maps` (proc_pid_maps(5)). Without a C library
//! nothing else says so.
//!
//! Costs tens of microseconds, so it is asked at most once a thread, and only where
//! C has jumped out of callbacks (`reconcile.rs`).

use core::ops::Range;

use super::{call, ids};
use crate::arch::linux::nr;

/// `AT_FDCWD` (include/uapi/linux/fcntl.h): what `openat` ignores for a full path.
const AT_FDCWD: i32 = -100;
/// `O_CLOEXEC` (include/uapi/asm-generic/fcntl.h); O_RDONLY is 0.
const O_CLOEXEC: usize = 0o2_000_000;

/// What Linux keeps free below the first thread's stack for it to grow into, at
/// least (`MIN_GAP` in mm/util.c and arch/x86/mm/mmap.c).
const MAIN_ROOM: usize = 128 << 20;

/// The stack that the system, or the C library, gave this thread. `block` is an
/// address in its thread-local storage, which C libraries put at the stack's top.
pub(crate) fn own_stack(block: usize) -> Option<Range<usize>> {
    let main = ids::current() == ids::process();
    let path = c"/proc/self/maps".as_ptr();
    // SAFETY: the path is a C string; opening a file touches nothing of ours.
    let file = unsafe { call(nr::OPENAT, (AT_FDCWD, path, O_CLOEXEC, 0_usize)) }.ok()?;
    let mut found = None;
    let mut line = Line::default();
    let mut buffer = [0_u8; 256];
    'file: loop {
        // SAFETY: Linux writes no more than the buffer holds.
        let read = unsafe { call(nr::READ, (file, buffer.as_mut_ptr(), buffer.len())) };
        let Some(bytes) = read.ok().filter(|n| *n != 0).and_then(|n| buffer.get(..n)) else {
            break;
        };
        for byte in bytes {
            if *byte != b'\n' {
                line.take(*byte);
                continue;
            }
            if main && line.name == STACK {
                found = Some(line.end.saturating_sub(MAIN_ROOM)..line.end);
                break 'file;
            }
            if !main && (line.start..line.end).contains(&block) {
                found = Some(line.start..block);
                break 'file;
            }
            line = Line::default();
        }
    }
    // SAFETY: it was opened above.
    let _ = unsafe { call(nr::CLOSE, (file,)) };
    found
}

/// What matters of a line, as it is read: the range, and the end of the name.
#[derive(Default)]
struct Line {
    start: usize,
    end: usize,
    /// 0 and 1: in the range; then the number of fields begun.
    field: u32,
    /// Its last eight bytes, as a number: comparing bytes may become a call of `bcmp`,
    /// which a host without a C library has not got.
    name: u64,
}

/// The name of the first thread's stack.
const STACK: u64 = u64::from_be_bytes(*b"\0[stack]");

impl Line {
    fn take(&mut self, byte: u8) {
        match (byte, self.field) {
            (b'-', 0) => self.field = 1,
            (b' ', 1) => self.field = 2,
            (_, 0 | 1) => {
                let digit = (byte as char).to_digit(16).unwrap_or(0) as usize;
                let number = if self.field == 0 { &mut self.start } else { &mut self.end };
                *number = number.wrapping_mul(16).wrapping_add(digit);
            }
            // Names of interest start with a bracket, which no field before has.
            (b'[', _) | (_, 3) => {
                self.field = 3;
                self.name = self.name << 8 | u64::from(byte);
            }
            _ => {}
        }
    }
}
