// SPDX-License-Identifier: MIT OR Apache-2.0
//! System call numbers: linux/arch/x86/entry/syscalls/syscall_32.tbl.
//!
//! The calls that take a time are there twice, for a time of two words and for one of 64 bits;
//! `src/os/linux/wait.rs` says why.

/// `mmap2`: the offset, always 0 here, is in pages.
pub(crate) const MMAP: usize = 192;
pub(crate) const MPROTECT: usize = 125;
pub(crate) const MUNMAP: usize = 91;
pub(crate) const RT_SIGACTION: usize = 174;
pub(crate) const RT_SIGPROCMASK: usize = 175;
pub(crate) const PROCESS_VM_READV: usize = 347;
pub(crate) const WRITE: usize = 4;
pub(crate) const MINCORE: usize = 218;
pub(crate) const MADVISE: usize = 219;
pub(crate) const GETPID: usize = 20;
pub(crate) const SIGALTSTACK: usize = 186;
pub(crate) const GETTID: usize = 224;
pub(crate) const FUTEX: usize = 240;
pub(crate) const CLOCK_GETTIME: usize = 265;
pub(crate) const CLOCK_GETTIME64: usize = 403;
pub(crate) const FUTEX_TIME64: usize = 422;
pub(crate) const TGKILL: usize = 270;
pub(crate) const SET_ROBUST_LIST: usize = 311;
pub(crate) const GET_ROBUST_LIST: usize = 312;
pub(crate) const RT_TGSIGQUEUEINFO: usize = 335;
pub(crate) const MEMBARRIER: usize = 375;
pub(crate) const OPENAT: usize = 295;
pub(crate) const READ: usize = 3;
pub(crate) const CLOSE: usize = 6;
#[cfg(feature = "freestanding")]
pub(crate) const SET_THREAD_AREA: usize = 243;
pub(crate) const EXIT_GROUP: usize = 252;
