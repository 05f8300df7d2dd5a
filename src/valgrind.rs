// SPDX-License-Identifier: MIT OR Apache-2.0
//! Client requests of valgrind (its manual, "The Client Request mechanism"; the numbers
//! are of valgrind.h and memcheck.h, "an ABI exported by Valgrind to programs").
//!
//! # Safety
//! A request changes nothing of the program; what it tells of memory is true.
#![allow(unsafe_code)] // instructions that only valgrind sees anything in

use crate::arch;
use crate::sync::{AtomicBool, Relaxed};

const RUNNING_ON_VALGRIND: usize = 0x1001;
const STACK_REGISTER: usize = 0x1501;
const STACK_DEREGISTER: usize = 0x1502;
/// How many more reasons there are for this thread to report no errors.
const CHANGE_ERR_DISABLEMENT: usize = 0x1801;
/// Of the tool memcheck, "MC".
const MAKE_MEM_UNDEFINED: usize = 0x4d43_0001;
const MAKE_MEM_DEFINED: usize = 0x4d43_0002;

/// Whether valgrind runs this program.
static WATCHED: AtomicBool = AtomicBool::new(false);

fn request(what: usize, from: usize, to: usize) -> usize {
    // SAFETY: a request says something of memory, and changes none.
    unsafe { arch::valgrind_request(&[what, from, to, 0, 0, 0]) }
}

/// Looks whether valgrind runs this program.
pub(crate) fn begin() {
    WATCHED.store(request(RUNNING_ON_VALGRIND, 0, 0) != 0, Relaxed);
}

/// Whether valgrind runs this program.
pub(crate) fn watches() -> bool {
    WATCHED.load(Relaxed)
}

/// `lo..hi` is a stack; returns valgrind's number for it.
pub(crate) fn stack_mapped(lo: usize, hi: usize) -> usize {
    if watches() { request(STACK_REGISTER, lo, hi) } else { 0 }
}

/// It is no stack any more.
pub(crate) fn stack_unmapped(id: usize) {
    if watches() {
        request(STACK_DEREGISTER, id, 0);
    }
}

/// needm is about to write to a stack below its stack pointer.
pub(crate) fn writes(from: usize, bytes: usize) {
    if watches() {
        request(MAKE_MEM_UNDEFINED, from, bytes);
    }
}

/// That `work` decides by memory which may never have been set is no error to report.
#[inline]
pub(crate) fn unreported<R>(work: impl FnOnce() -> R) -> R {
    let watched = watches();
    if watched {
        request(CHANGE_ERR_DISABLEMENT, 1, 0);
    }
    let result = work();
    if watched {
        request(CHANGE_ERR_DISABLEMENT, usize::MAX, 0);
    }
    result
}

/// The word that `read` finds where there may be no memory of the program's any more, or none that was ever set.
#[inline]
pub(crate) fn looked_at(read: impl FnOnce() -> usize) -> usize {
    let mut word = unreported(read);
    if watches() {
        request(MAKE_MEM_DEFINED, (&raw mut word).expose_provenance(), size_of::<usize>());
    }
    word
}
