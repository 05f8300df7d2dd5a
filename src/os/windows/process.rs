// SPDX-License-Identifier: MIT OR Apache-2.0
//! The process: its last words, and its end.

use core::ffi::c_int;
use core::ptr;

use super::kinds;
use super::sys::{GetCurrentProcess, GetStdHandle, STD_ERROR_HANDLE, TerminateProcess, WriteFile};
use crate::arch::windows::has_shadow_stack;

/// That needm can leave the frames of this process's threads by a jump. A shadow stack would go on
/// to hold their return addresses, and the next return would be a fault.
pub(crate) fn can_unwind() -> Result<(), c_int> {
    const ERROR_NOT_SUPPORTED: c_int = 50; // winerror.h
    if has_shadow_stack() { Err(ERROR_NOT_SUPPORTED) } else { Ok(()) }
}

/// Writes `text` to standard error; for last words only.
pub(crate) fn last_words(text: &[u8]) {
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut written = 0;
    // SAFETY: Windows reads `text`, which is at least so long, and writes a number.
    unsafe {
        let file = GetStdHandle(STD_ERROR_HANDLE);
        WriteFile(file, text.as_ptr(), len, &raw mut written, ptr::null_mut());
    }
}

/// Ends the process with the exit code of `abort`.
pub(crate) fn abort() -> ! {
    end(kinds::ABORTED)
}

/// Ends the process with the exit code of this kind of fault.
pub(crate) fn die_of_fault(number: c_int) -> ! {
    end(kinds::exit_code(number))
}

fn end(code: u32) -> ! {
    loop {
        // SAFETY: nothing of this process runs afterwards.
        unsafe { TerminateProcess(GetCurrentProcess(), code) };
    }
}
