// SPDX-License-Identifier: MIT OR Apache-2.0
//! System call numbers: linux/arch/x86/entry/syscalls/syscall_64.tbl.

pub(crate) const MMAP: usize = 9;
pub(crate) const MPROTECT: usize = 10;
pub(crate) const MUNMAP: usize = 11;
pub(crate) const RT_SIGACTION: usize = 13;
pub(crate) const RT_SIGPROCMASK: usize = 14;
pub(crate) const PROCESS_VM_READV: usize = 310;
pub(crate) const WRITE: usize = 1;
pub(crate) const MINCORE: usize = 27;
pub(crate) const MADVISE: usize = 28;
pub(crate) const GETPID: usize = 39;
pub(crate) const SIGALTSTACK: usize = 131;
pub(crate) const GETTID: usize = 186;
pub(crate) const FUTEX: usize = 202;
pub(crate) const CLOCK_GETTIME: usize = 228;
pub(crate) const TGKILL: usize = 234;
pub(crate) const SET_ROBUST_LIST: usize = 273;
pub(crate) const GET_ROBUST_LIST: usize = 274;
pub(crate) const RT_TGSIGQUEUEINFO: usize = 297;
pub(crate) const MEMBARRIER: usize = 324;
pub(crate) const OPENAT: usize = 257;
pub(crate) const READ: usize = 0;
pub(crate) const CLOSE: usize = 3;
#[cfg(feature = "freestanding")]
pub(crate) const ARCH_PRCTL: usize = 158;
pub(crate) const EXIT_GROUP: usize = 231;
