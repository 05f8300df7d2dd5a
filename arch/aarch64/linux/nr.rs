// SPDX-License-Identifier: MIT OR Apache-2.0
//! System call numbers: linux/include/uapi/asm-generic/unistd.h.

pub(crate) const MMAP: usize = 222;
pub(crate) const MPROTECT: usize = 226;
pub(crate) const MUNMAP: usize = 215;
pub(crate) const RT_SIGACTION: usize = 134;
pub(crate) const RT_SIGPROCMASK: usize = 135;
pub(crate) const PROCESS_VM_READV: usize = 270;
pub(crate) const WRITE: usize = 64;
pub(crate) const MINCORE: usize = 232;
pub(crate) const MADVISE: usize = 233;
pub(crate) const GETPID: usize = 172;
pub(crate) const SIGALTSTACK: usize = 132;
pub(crate) const GETTID: usize = 178;
pub(crate) const FUTEX: usize = 98;
pub(crate) const CLOCK_GETTIME: usize = 113;
pub(crate) const TGKILL: usize = 131;
pub(crate) const SET_ROBUST_LIST: usize = 99;
pub(crate) const GET_ROBUST_LIST: usize = 100;
pub(crate) const RT_TGSIGQUEUEINFO: usize = 240;
pub(crate) const MEMBARRIER: usize = 283;
pub(crate) const OPENAT: usize = 56;
pub(crate) const READ: usize = 63;
pub(crate) const CLOSE: usize = 57;
pub(crate) const EXIT_GROUP: usize = 94;
