// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host without a C library (feature `freestanding`): what a static program
//! needs from its first instruction on, and no more. `linker/README.md` says how such
//! a program is linked, `include/needm_host.h` says the same as this module for C.
//!
//! The crate then brings `_start`, which lays out the first thread's thread-local
//! storage and calls [`entry!`](crate::host::entry)'s function, a panic handler, which prints one line and
//! aborts, and threads. Callbacks, faults and all else are as everywhere.
//!
//! Nothing here allocates, and nothing takes a lock. There is no `errno`; the system's
//! errors are [`Errno`].
//!
//! A whole program, which the tests build and run:
//!
//! ```ignore
#![doc = include_str!("../../examples/minimal/minimal.rs")]
//! ```
//!
//! # Safety
//! `_start` is in the system's part (`os/mod.rs`); this module is the interface to it.
#![allow(unsafe_code)] // what `_start` gives a program

mod arguments;
#[cfg(feature = "capi")]
mod c;
mod panic;
mod thread;

use core::fmt;
use core::time::Duration;

use crate::os::program;
use crate::os::wait::wait;
use crate::sync::AtomicU32;

pub use crate::os::program::Errno;
pub use arguments::Arguments;
pub use thread::{Thread, ThreadArea, spawn};

/// Names the function that a program starts in: `fn(Arguments) -> i32`. What it returns
/// is the program's exit status. Once in a program.
#[macro_export]
#[doc(hidden)]
macro_rules! host_entry {
    ($main:path) => {
        /// What `_start` ends in.
        #[unsafe(no_mangle)]
        extern "C" fn needm_main(
            count: ::core::ffi::c_int,
            words: *const *const ::core::ffi::c_char,
            _: *const *const ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            // SAFETY: `_start` calls this, with what the system gave the program.
            $main(unsafe { $crate::host::Arguments::new(count, words) })
        }
    };
}

pub use crate::host_entry as entry;

impl Errno {
    /// The number, as in `errno`.
    #[must_use]
    pub const fn code(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system error {}", self.0)
    }
}

impl core::error::Error for Errno {}

/// Ends the program with this status, whatever its threads do.
pub fn exit(status: i32) -> ! {
    program::exit(status)
}

/// Writes to an open file what of `bytes` it takes, and says how much that was.
///
/// # Errors
/// The system's.
pub fn write(file: i32, bytes: &[u8]) -> Result<usize, Errno> {
    program::write(file, bytes)
}

/// Prints one line to standard error; what exceeds 159 bytes is cut off.
///
/// ```ignore
/// needm::host::print(format_args!("{} callbacks", 7));
/// ```
pub fn print(message: fmt::Arguments<'_>) {
    crate::fatal::print(message);
}

/// Sleeps for about this long.
pub fn sleep(time: Duration) {
    let never = AtomicU32::new(0);
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    wait(&never, 0, Some(nanos));
}
