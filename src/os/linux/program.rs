// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `os::program` offers on Linux: the parts for a program without a C library.

pub use super::Errno;
pub(crate) use super::clone::{Row, spawn_joinable};
pub(crate) use super::image::Image as ThreadArea;
pub(crate) use super::process::{exit, write};

/// `EINVAL` (include/uapi/asm-generic/errno-base.h).
#[cfg(feature = "capi")]
pub(crate) const INVALID: Errno = Errno(22);
