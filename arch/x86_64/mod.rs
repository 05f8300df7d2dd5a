//! x86_64: the reference room. See `arch/README.md` for what a room defines.

pub(crate) mod linux;
mod tools;
mod upcalls;

pub(crate) use tools::valgrind_request;
#[cfg(feature = "capi")]
pub(crate) use upcalls::c_entry;
pub(crate) use upcalls::upcalls;

/// Words below the stack pointer that code may use without moving it (System V
/// ABI, AMD64 supplement, 3.2.2 "The Stack Frame").
pub(crate) const RED_ZONE: usize = 128;
