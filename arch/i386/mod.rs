// SPDX-License-Identifier: MIT OR Apache-2.0
//! i386 with SSE2, as Rust's i686 targets have it: `arch/README.md` says what a room defines.

#[cfg(target_os = "linux")]
pub(crate) mod linux;
mod tools;
#[cfg(target_os = "windows")]
pub(crate) mod windows;

pub(crate) use tools::valgrind_request;

/// Bytes below the stack pointer that code may use without moving it: the ABI grants none
/// (System V ABI, Intel386 supplement, 2.2.2 "The Stack Frame").
#[cfg(target_os = "linux")]
pub(crate) const RED_ZONE: usize = 0;

/// The registers in which an unwinder leaves the exception, and a second value, for a landing pad:
/// eax and edx (System V ABI, Intel386 supplement, 2.4.2 "DWARF Register Number Mapping").
#[cfg(target_os = "linux")]
pub(crate) const LANDING_REGISTERS: [core::ffi::c_int; 2] = [0, 2];

/// What jumps between Rust and assembly (`arch/elf.rs`, `arch/pe.rs`) are written with here.
macro_rules! dialect {
    (jump) => {
        "jmp"
    };
    // C's names begin with it in COFF.
    (prefix) => {
        "_"
    };
    ($of_arm:ident) => {
        ""
    };
}
pub(crate) use dialect;

/// Bytes below a G's top that the fast paths find the stack pointer at: they push one argument
/// there, which is then aligned as a call wants it.
pub(crate) const TOP_ROOM: usize = 12;

/// Bytes below its call at which `needm_entry`, on the caller's stack, may have the stack pointer: room
/// for four arguments, which is then aligned (`align` in `entry.h`).
pub(crate) const CALL_ROOM: usize = 16 + 15;

/// A function of the C interface, under its own name. Its caller may align the stack to 4 bytes only
/// (System V ABI, Intel386 supplement, fourth edition, 3 "Function Calling Sequence"), while Rust
/// relies on 16: so it copies its arguments, five words at most, below an aligned frame. What is read
/// beyond them is the caller's, and of no use.
///
/// ```text
/// arguments        (ebp+8)
/// return address   (ebp+4)
/// saved ebp        (ebp)    <- CFA - 8
/// (padding)
/// five arguments   <- esp, a multiple of 16
/// ```
#[cfg(feature = "capi")]
macro_rules! public {
    (unsafe extern "C" fn $($function:tt)*) => {
        $crate::arch::public!(@ [unsafe] $($function)*);
    };
    (extern "C" fn $($function:tt)*) => {
        $crate::arch::public!(@ [] $($function)*);
    };
    (@ [$($unsafe:tt)?] $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        const _: () = {
            $($unsafe)? extern "C" fn aligned($($arg: $type),*) $(-> $ret)? $body

            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            $($unsafe)? extern "C" fn $name($($arg: $type),*) $(-> $ret)? {
                core::arch::naked_asm!(
                    ".cfi_startproc",
                    "push ebp",
                    ".cfi_def_cfa_offset 8",
                    ".cfi_offset ebp, -8",
                    "mov ebp, esp",
                    ".cfi_def_cfa_register ebp",
                    "and esp, -16",
                    "sub esp, 12",
                    "push dword ptr [ebp + 24]",
                    "push dword ptr [ebp + 20]",
                    "push dword ptr [ebp + 16]",
                    "push dword ptr [ebp + 12]",
                    "push dword ptr [ebp + 8]",
                    "call {aligned}",
                    "leave",
                    ".cfi_def_cfa esp, 4",
                    ".cfi_restore ebp",
                    "ret",
                    ".cfi_endproc",
                    aligned = sym aligned,
                )
            }
        };
    };
}
#[cfg(feature = "capi")]
pub(crate) use public;
