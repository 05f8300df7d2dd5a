//! Mappings. Their bytes are zeros; only what asks for access has any.

use super::Errno;
use crate::os::terms::{Access, Side};
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

pub(crate) const RESERVE: usize = 16 * 1024;
pub(crate) const RESERVE_OPENS_ITSELF: bool = false;
pub(crate) const LEAST_GUARD: usize = 1;

pub(crate) fn map_stack(_: Side, len: usize, _: &[(usize, usize)]) -> Result<usize, Errno> {
    map(len, Access::None)
}

pub(crate) fn unmap_spare_room() {}

#[allow(clippy::unnecessary_wraps)] // the contract's
pub(crate) unsafe fn open(_: usize, _: usize) -> Result<(), Errno> {
    Ok(())
}

pub(crate) unsafe fn close(start: usize, _: usize) {
    mappings::use_alone(start);
}

#[allow(clippy::unnecessary_wraps)] // the contract's
pub(crate) unsafe fn arm_reserve(_: usize, _: usize) -> Result<(), Errno> {
    Ok(())
}

/// No stack has memory in a model.
pub(crate) unsafe fn lowest_touched(_: usize, _: usize) -> Option<usize> {
    None
}

pub(crate) unsafe fn clear(start: usize, _: usize) {
    mappings::use_alone(start);
}

/// Only the memory of an M that no thread uses is given back.
pub(crate) unsafe fn discard(start: usize, _: usize) {
    mappings::use_alone(start);
}
