// SPDX-License-Identifier: MIT OR Apache-2.0
//! Windows's functions, as its headers declare them, and the numbers that they take.

use core::ffi::{c_char, c_void};

use crate::arch::windows::context::Context;

pub(super) type Handle = *mut c_void;

/// A true `BOOL` is any but 0.
pub(super) type Bool = i32;

// winnt.h
pub(super) const MEM_COMMIT: u32 = 0x1000;
pub(super) const MEM_RESERVE: u32 = 0x2000;
pub(super) const MEM_FREE: u32 = 0x1_0000;
pub(super) const MEM_RELEASE: u32 = 0x8000;
pub(super) const MEM_RESET: u32 = 0x8_0000;
pub(super) const PAGE_NOACCESS: u32 = 0x01;
pub(super) const PAGE_READWRITE: u32 = 0x04;
pub(super) const PAGE_GUARD: u32 = 0x100;
pub(super) const SYNCHRONIZE: u32 = 0x10_0000;
pub(super) const THREAD_SUSPEND_RESUME: u32 = 0x2;
pub(super) const THREAD_GET_CONTEXT: u32 = 0x8;
pub(super) const THREAD_SET_CONTEXT: u32 = 0x10;
pub(super) const THREAD_QUERY_LIMITED_INFORMATION: u32 = 0x800;

// winbase.h, winerror.h
pub(super) const INFINITE: u32 = u32::MAX;
pub(super) const WAIT_OBJECT_0: u32 = 0;
pub(super) const ERROR_TIMEOUT: u32 = 1460;
pub(super) const FLS_OUT_OF_INDEXES: u32 = u32::MAX;
pub(super) const STD_ERROR_HANDLE: u32 = 12_u32.wrapping_neg();

/// `SYSTEM_INFO` (sysinfoapi.h).
#[repr(C)]
pub(super) struct SystemInfo {
    pub(super) architecture: u32,
    pub(super) page_size: u32,
    pub(super) addresses: [usize; 2],
    pub(super) processors: usize,
    pub(super) rest: [u32; 4],
}

/// `MEMORY_BASIC_INFORMATION` (winnt.h).
#[repr(C)]
pub(super) struct MemoryInfo {
    pub(super) base: usize,
    pub(super) allocation: usize,
    pub(super) allocation_protect: u32,
    #[cfg(target_pointer_width = "64")]
    pub(super) partition: u32,
    pub(super) size: usize,
    pub(super) state: u32,
    pub(super) protect: u32,
    pub(super) kind: u32,
}

/// `PSAPI_WORKING_SET_EX_INFORMATION` (psapi.h).
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct PageInfo {
    pub(super) address: usize,
    pub(super) attributes: usize,
}

/// `EXCEPTION_RECORD` (winnt.h).
#[repr(C)]
pub(super) struct ExceptionRecord {
    pub(super) code: u32,
    pub(super) flags: u32,
    pub(super) outer: *mut ExceptionRecord,
    pub(super) address: usize,
    pub(super) count: u32,
    pub(super) information: [usize; 15],
}

/// `EXCEPTION_POINTERS` (winnt.h).
#[repr(C)]
pub(super) struct ExceptionPointers {
    pub(super) record: *mut ExceptionRecord,
    pub(super) context: *mut Context,
}

/// `PVECTORED_EXCEPTION_HANDLER`.
pub(super) type Vectored = unsafe extern "system" fn(*mut ExceptionPointers) -> i32;

// `EXCEPTION_…`, what a vectored handler and a filter answer (excpt.h).
pub(super) const EXECUTE_HANDLER: i32 = 1;
pub(super) const CONTINUE_SEARCH: i32 = 0;
pub(super) const CONTINUE_EXECUTION: i32 = -1;

#[link(name = "kernel32")]
unsafe extern "system" {
    pub(super) fn AddVectoredExceptionHandler(first: u32, handler: Vectored) -> Handle;
    pub(super) fn CloseHandle(handle: Handle) -> Bool;
    pub(super) fn CreateThread(
        security: *const c_void,
        stack: usize,
        main: unsafe extern "system" fn(*mut c_void) -> u32,
        arg: *mut c_void,
        flags: u32,
        id: *mut u32,
    ) -> Handle;
    pub(super) fn DuplicateHandle(
        from_process: Handle,
        handle: Handle,
        to_process: Handle,
        to: *mut Handle,
        access: u32,
        inherit: Bool,
        options: u32,
    ) -> Bool;
    pub(super) fn FlsAlloc(callback: unsafe extern "system" fn(*mut c_void)) -> u32;
    pub(super) fn FlsFree(index: u32) -> Bool;
    pub(super) fn FlsSetValue(index: u32, value: *const c_void) -> Bool;
    pub(super) safe fn FlushProcessWriteBuffers();
    pub(super) safe fn GetCurrentProcess() -> Handle;
    pub(super) safe fn GetCurrentProcessId() -> u32;
    pub(super) safe fn GetCurrentThread() -> Handle;
    pub(super) safe fn GetCurrentThreadId() -> u32;
    pub(super) safe fn GetLastError() -> u32;
    pub(super) fn GetModuleHandleA(name: *const c_char) -> Handle;
    pub(super) fn GetProcAddress(module: Handle, name: *const c_char) -> *mut c_void;
    pub(super) fn GetProcessIdOfThread(thread: Handle) -> u32;
    pub(super) safe fn GetStdHandle(which: u32) -> Handle;
    pub(super) fn GetThreadContext(thread: Handle, context: *mut Context) -> Bool;
    pub(super) fn GetThreadId(thread: Handle) -> u32;
    pub(super) fn GetSystemInfo(info: *mut SystemInfo);
    pub(super) safe fn IsThreadAFiber() -> Bool;
    pub(super) fn K32QueryWorkingSetEx(process: Handle, pages: *mut PageInfo, bytes: u32) -> Bool;
    pub(super) fn OpenThread(access: u32, inherit: Bool, id: u32) -> Handle;
    pub(super) fn QueryPerformanceCounter(count: *mut i64) -> Bool;
    pub(super) fn QueryPerformanceFrequency(frequency: *mut i64) -> Bool;
    pub(super) fn RaiseException(code: u32, flags: u32, count: u32, information: *const usize);
    pub(super) fn RemoveVectoredExceptionHandler(handle: Handle) -> u32;
    pub(super) fn ResumeThread(thread: Handle) -> u32;
    pub(super) fn SetThreadContext(thread: Handle, context: *const Context) -> Bool;
    pub(super) fn SuspendThread(thread: Handle) -> u32;
    pub(super) safe fn SwitchToThread() -> Bool;
    pub(super) fn TerminateProcess(process: Handle, code: u32) -> Bool;
    pub(super) fn UnhandledExceptionFilter(pointers: *const ExceptionPointers) -> i32;
    pub(super) fn VirtualAlloc(at: usize, len: usize, kind: u32, protect: u32) -> usize;
    pub(super) fn VirtualFree(at: usize, len: usize, kind: u32) -> Bool;
    pub(super) fn VirtualProtect(at: usize, len: usize, protect: u32, old: *mut u32) -> Bool;
    pub(super) fn VirtualQuery(at: usize, info: *mut MemoryInfo, len: usize) -> usize;
    pub(super) fn WaitForSingleObject(handle: Handle, millis: u32) -> u32;
    pub(super) fn WriteFile(
        file: Handle,
        bytes: *const u8,
        len: u32,
        written: *mut u32,
        overlapped: *mut c_void,
    ) -> Bool;
}

#[cfg_attr(target_pointer_width = "64", link(name = "ntdll", kind = "raw-dylib"))]
#[cfg_attr(
    target_pointer_width = "32",
    link(name = "ntdll", kind = "raw-dylib", import_name_type = "undecorated")
)]
unsafe extern "system" {
    pub(super) safe fn RtlDllShutdownInProgress() -> u8;
}

// What `WaitOnAddress` and its relatives are in (synchapi.h, "Requirements").
#[cfg_attr(
    target_pointer_width = "64",
    link(name = "api-ms-win-core-synch-l1-2-0", kind = "raw-dylib")
)]
#[cfg_attr(
    target_pointer_width = "32",
    link(
        name = "api-ms-win-core-synch-l1-2-0",
        kind = "raw-dylib",
        import_name_type = "undecorated"
    )
)]
unsafe extern "system" {
    pub(super) fn WaitOnAddress(
        address: *const c_void,
        compare: *const c_void,
        size: usize,
        millis: u32,
    ) -> Bool;
    pub(super) fn WakeByAddressAll(address: *const c_void);
    pub(super) fn WakeByAddressSingle(address: *const c_void);
}
