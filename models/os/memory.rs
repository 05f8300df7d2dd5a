//! Mappings. Their bytes are zeros; only what asks for access has any.

use super::Errno;
use crate::os::terms::Access;
use crate::sync::mappings;

const PAGE: usize = 4096;

pub(crate) fn ask_page_size() {}

pub(crate) fn page_size() -> usize {
    PAGE
}

pub(crate) fn map(len: usize, access: Access) -> Result<usize, Errno> {
    Ok(mappings::map(len, access == Access::ReadWrite))
}

pub(crate) unsafe fn unmap(start: usize, len: usize) {
    mappings::unmap(start, len);
}

#[allow(clippy::unnecessary_wraps)] // the contract's
pub(crate) unsafe fn protect(_: usize, _: usize, _: Access) -> Result<(), Errno> {
    Ok(())
}

#[allow(clippy::unnecessary_wraps)] // the contract's
pub(crate) unsafe fn guard(_: usize, _: usize) -> Result<(), Errno> {
    Ok(())
}

pub(crate) unsafe fn take_small_pages(_: usize, _: usize) {}

/// Only the memory of an M that no thread uses is given back.
pub(crate) unsafe fn discard(start: usize, _: usize) {
    mappings::use_alone(start);
}
