//! ARM: ARMv7 with VFP, the hard-float ABI or not, little-endian. See
//! `arch/README.md` for what a room defines, and `arch/x86_64` for the full comments.

pub(crate) mod linux;
mod tools;
mod upcalls;

pub(crate) use tools::valgrind_request;
#[cfg(feature = "capi")]
pub(crate) use upcalls::c_entry;
pub(crate) use upcalls::upcalls;

/// Bytes below the stack pointer that code may use without moving it: none
/// (Procedure Call Standard for the Arm Architecture, 6.2.1 "The Stack").
pub(crate) const RED_ZONE: usize = 0;
