//! The room for a model CPU: Rust in place of assembly (`arch/README.md` says what a room
//! defines). There are no registers to save; where a thread is on a G, only its stack pointer
//! is there.
#![allow(unsafe_code)] // it defines what `arch/mod.rs` declares

pub(crate) mod entry;

use core::ffi::c_void;

/// What jumps between Rust and assembly (`arch/elf.rs`) are written with: the models run where
/// they are built, on an x86.
macro_rules! dialect {
    (jump) => {
        "jmp"
    };
    ($other:ident) => {
        ""
    };
}
pub(crate) use dialect;

/// The numbers of system calls that the model system answers.
pub(crate) mod linux {
    pub(crate) mod nr {
        pub(crate) const GET_ROBUST_LIST: usize = 1;
        pub(crate) const SET_ROBUST_LIST: usize = 2;
    }
}

/// No valgrind watches.
pub(crate) unsafe fn valgrind_request(_: &[usize; 6]) -> usize {
    0
}

/// `tls.S`.
#[unsafe(no_mangle)]
extern "C" fn needm_tls_block() -> *mut c_void {
    (&raw const entry::block().tls).cast_mut().cast()
}

/// The model CPU pushes no argument.
pub(crate) const TOP_ROOM: usize = 0;

/// Bytes below its call at which `needm_entry`, on the caller's stack, may have the stack pointer.
pub(crate) const CALL_ROOM: usize = 0;
