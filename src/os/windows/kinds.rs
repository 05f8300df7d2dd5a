// SPDX-License-Identifier: MIT OR Apache-2.0
//! What Windows calls the faults of instructions, and the numbers by which hosts know them.

use core::ffi::c_int;

// winnt.h (`EXCEPTION_…`) and ntstatus.h
const ACCESS_VIOLATION: u32 = 0xC000_0005;
const IN_PAGE_ERROR: u32 = 0xC000_0006;
const ILLEGAL_INSTRUCTION: u32 = 0xC000_001D;
const ARRAY_BOUNDS_EXCEEDED: u32 = 0xC000_008C;
const FLT_DENORMAL_OPERAND: u32 = 0xC000_008D;
const FLT_UNDERFLOW: u32 = 0xC000_0093;
const INT_DIVIDE_BY_ZERO: u32 = 0xC000_0094;
const INT_OVERFLOW: u32 = 0xC000_0095;
const PRIVILEGED_INSTRUCTION: u32 = 0xC000_0096;
const STACK_OVERFLOW: u32 = 0xC000_00FD;
const FLOAT_MULTIPLE_FAULTS: u32 = 0xC000_02B4;
const FLOAT_MULTIPLE_TRAPS: u32 = 0xC000_02B5;
const GUARD_PAGE: u32 = 0x8000_0001;
const DATATYPE_MISALIGNMENT: u32 = 0x8000_0002;
const BREAKPOINT: u32 = 0x8000_0003;
const SINGLE_STEP: u32 = 0x8000_0004;

// POSIX's names, and Linux's numbers, which `needm.h` documents for every system.
const SIGILL: c_int = 4;
const SIGTRAP: c_int = 5;
pub(super) const SIGABRT: c_int = 6;
const SIGBUS: c_int = 7;
const SIGFPE: c_int = 8;
const SIGSEGV: c_int = 11;

/// The exit code of a C library's `abort`.
pub(super) const ABORTED: u32 = 3;

/// The number of a fault; `None` for a code that no instruction raises.
pub(super) fn number(code: u32) -> Option<c_int> {
    match code {
        ACCESS_VIOLATION | STACK_OVERFLOW | GUARD_PAGE => Some(SIGSEGV),
        IN_PAGE_ERROR | DATATYPE_MISALIGNMENT => Some(SIGBUS),
        ILLEGAL_INSTRUCTION | PRIVILEGED_INSTRUCTION => Some(SIGILL),
        ARRAY_BOUNDS_EXCEEDED
        | FLT_DENORMAL_OPERAND..=FLT_UNDERFLOW
        | INT_DIVIDE_BY_ZERO
        | INT_OVERFLOW
        | FLOAT_MULTIPLE_FAULTS
        | FLOAT_MULTIPLE_TRAPS => Some(SIGFPE),
        BREAKPOINT | SINGLE_STEP => Some(SIGTRAP),
        _ => None,
    }
}

/// Whether a stack has run out, or its last pages were touched.
pub(super) fn is_overflow(code: u32) -> bool {
    code == STACK_OVERFLOW || code == GUARD_PAGE
}

/// Whether the second word of an exception's information is the address that was touched.
pub(super) fn has_address(code: u32) -> bool {
    matches!(code, ACCESS_VIOLATION | IN_PAGE_ERROR | GUARD_PAGE | STACK_OVERFLOW)
}

/// The exit code of a process that such a fault has ended.
pub(super) fn exit_code(number: c_int) -> u32 {
    match number {
        SIGILL => ILLEGAL_INSTRUCTION,
        SIGTRAP => BREAKPOINT,
        SIGABRT => ABORTED,
        SIGBUS => IN_PAGE_ERROR,
        SIGFPE => INT_DIVIDE_BY_ZERO,
        _ => ACCESS_VIOLATION,
    }
}
