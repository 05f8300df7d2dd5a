//! i386, with SSE2 as Rust's i686 targets have it. See `arch/README.md` for what a
//! room defines, and `arch/x86_64` for the full comments.

pub(crate) mod linux;
mod tools;
mod upcalls;

pub(crate) use tools::valgrind_request;
#[cfg(feature = "capi")]
pub(crate) use upcalls::c_entry;
pub(crate) use upcalls::upcalls;

/// Bytes below the stack pointer that code may use without moving it: none
/// (System V ABI, Intel386 supplement).
pub(crate) const RED_ZONE: usize = 0;
