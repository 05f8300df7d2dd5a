//! The guide: from an empty folder to a callback on a foreign thread, for each kind of
//! host; what the kernel cannot protect from; and how it works.
//!
//! | page | for |
//! | --- | --- |
//! | [`rust_host`] | a runtime in Rust |
//! | [`c_host`] | a program or library in C |
//! | [`bare_host`] | a host without a C library |
//! | [`safety`] | everybody: what a callback must not rely on |
//! | [`promises`] | what needm promises, and [`lessons`], properties behind them |
//! | [`how_it_works`] | who wants to know before trusting it with threads |

#[doc = include_str!("rust_host.md")]
pub mod rust_host {}
#[doc = include_str!("c_host.md")]
pub mod c_host {}
#[doc = include_str!("bare_host.md")]
pub mod bare_host {}
#[doc = include_str!("safety.md")]
pub mod safety {}
#[doc = include_str!("how_it_works.md")]
pub mod how_it_works {}
#[doc = include_str!("promises.md")]
pub mod promises {}
#[doc = include_str!("lessons.md")]
pub mod lessons {}
