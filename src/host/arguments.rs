// SPDX-License-Identifier: MIT OR Apache-2.0
//! The arguments of a program without a C library.
//!
//! # Safety
//! The system keeps a program's arguments for as long as it runs.

#![allow(unsafe_code)] // strings of the system's

use core::ffi::{CStr, c_char, c_int};

/// The words that a program is started with.
#[derive(Clone, Copy)]
pub struct Arguments {
    next: *const *const c_char,
    left: usize,
}

impl Arguments {
    /// `count` strings.
    ///
    /// # Safety
    /// They are there, and stay for as long as the program runs.
    #[doc(hidden)]
    #[must_use]
    pub unsafe fn new(count: c_int, words: *const *const c_char) -> Self {
        Self { next: words, left: usize::try_from(count).unwrap_or(0) }
    }
}

#[allow(clippy::copy_iterator)] // a copy is kept where the words are read twice
impl Iterator for Arguments {
    type Item = &'static CStr;

    fn next(&mut self) -> Option<&'static CStr> {
        self.left = self.left.checked_sub(1)?;
        // SAFETY: `new`'s caller promised as many strings as are left.
        unsafe {
            let word = CStr::from_ptr(self.next.read());
            self.next = self.next.add(1);
            Some(word)
        }
    }
}
