//! i386 with SSE2, as Rust's i686 targets have it: `arch/README.md` says what a room defines.

pub(crate) mod linux;
mod tools;

pub(crate) use tools::valgrind_request;

/// Bytes below the stack pointer that code may use without moving it: the ABI grants none
/// (System V ABI, Intel386 supplement, 2.2.2 "The Stack Frame").
pub(crate) const RED_ZONE: usize = 0;

/// What jumps between Rust and assembly (`arch/elf.rs`) are written with here.
macro_rules! dialect {
    (jump) => {
        "jmp"
    };
    ($of_arm:ident) => {
        ""
    };
}
pub(crate) use dialect;

/// A function of the C interface, under its own name. Callers may have aligned their stack to 4
/// bytes only, as the ABI says (System V ABI, Intel386 supplement, version 1.0, 2.2.2 "The Stack
/// Frame", on older systems); compilers of today expect 16. So the arguments are copied below an
/// aligned address: four words, which is at least as many as there are.
///
/// ```text
///        arguments                 <- ebp + 8
///        return address
/// ebp -> saved ebp
///        (padding to 16 bytes)
///        four words of arguments   <- esp at the call
/// ```
#[cfg(feature = "capi")]
macro_rules! public {
    (
        $(unsafe)? extern "C" fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)?
        $body:block
    ) => {
        const _: () = {
            const WORDS: usize = 0 $(+ size_of::<$type>().div_ceil(4))*;
            assert!(WORDS <= 4);
            unsafe extern "C" fn aligned($($arg: $type),*) $(-> $result)? $body
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            unsafe extern "C" fn $name($($arg: $type),*) $(-> $result)? {
                core::arch::naked_asm!(
                    ".cfi_startproc",
                    "push ebp",
                    ".cfi_def_cfa_offset 8",
                    ".cfi_offset ebp, -8",
                    "mov ebp, esp",
                    ".cfi_def_cfa_register ebp",
                    "and esp, -16",
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
