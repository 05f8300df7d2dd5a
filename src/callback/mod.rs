//! One callback, from its entry to its end.

pub(crate) mod ccall;
pub(crate) mod defer;
pub(crate) mod enter;
pub(crate) mod exit;
pub(crate) mod fault;
pub(crate) mod overflow;
pub(crate) mod panic;
