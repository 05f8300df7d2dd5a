//! Linux: raw system calls, and what a C library adds where there is one.
//!
//! # Safety
//! Every wrapper passes the kernel only what the call's manual page asks for;
//! what is left to the caller is in each function's own Safety section.
#![allow(unsafe_code)] // system calls are what this room is for

pub(crate) mod image;
pub(crate) mod libc;
pub(crate) mod maps;
pub(crate) mod memory;
pub(crate) mod signal;
pub(crate) mod thread;

use crate::arch::linux::nr;
use crate::arch::linux::syscall::syscall;

/// An error number of the system's, as in `errno`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(unreachable_pub)] // `needm::host` has it, with the feature `freestanding`
pub struct Errno(pub(crate) i32);

/// include/uapi/asm-generic/errno-base.h; the same on every architecture here.
pub(crate) const ESRCH: Errno = Errno(3);
pub(crate) const ENOEXEC: Errno = Errno(8);
pub(crate) const ENOMEM: Errno = Errno(12);

/// The largest error number (include/linux/err.h, `MAX_ERRNO`).
const MAX_ERRNO: isize = 4095;

/// A system call with its error told apart from its result.
///
/// # Safety
/// As for [`syscall`].
unsafe fn call(
    nr: usize,
    args: impl Into<crate::arch::linux::slots::Slots>,
) -> Result<usize, Errno> {
    // SAFETY: passed on to the caller.
    checked(unsafe { syscall(nr, &args.into()) })
}

/// What a system call answered, its error told apart from its result.
fn checked(result: isize) -> Result<usize, Errno> {
    if (-MAX_ERRNO..0).contains(&result) {
        #[allow(clippy::cast_possible_truncation)] // within ±4095
        return Err(Errno(-result as i32));
    }
    #[allow(clippy::cast_sign_loss)] // an address may have the sign bit set
    Ok(result as usize)
}

/// Writes to an open file what of `text` it takes.
#[cfg(feature = "freestanding")]
pub(crate) fn write(file: i32, text: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel reads `text`, which is valid for its length.
    unsafe { call(nr::WRITE, (file, text.as_ptr(), text.len())) }
}

/// Ends the process.
#[cfg(feature = "freestanding")]
pub(crate) fn exit(status: i32) -> ! {
    loop {
        // SAFETY: nothing runs afterwards.
        let _ = unsafe { call(nr::EXIT_GROUP, (status,)) };
    }
}

/// Writes to standard error what of `text` it takes; for last words only.
pub(crate) fn write_error(text: &[u8]) {
    const STDERR: i32 = 2;
    // SAFETY: the kernel reads `text`, which is valid for its length.
    let _ = unsafe { call(nr::WRITE, (STDERR, text.as_ptr(), text.len())) };
}
