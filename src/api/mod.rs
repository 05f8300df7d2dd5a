// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Rust interface: the C interface's meaning in Rust's ways.
//!
//! No safe function here can be used to break memory safety. So a callback that ends without
//! having run to its end, as after `longjmp`, is for `unsafe` code only; what is shown of an M
//! is a copy; and the value that an M carries is typed by the trait that makes it.

mod callback;
#[cfg(doctest)]
mod compile_fail;
mod config;
mod error;
mod hooks;
mod interrupt;
mod m;
mod panics;
mod spawn;
mod thread;
mod world;

pub use callback::{Context, Deferred, callback, callback_catching_faults, panic};
pub use config::{Binding, Config, start, stop, stop_within};
#[cfg(feature = "std")]
pub use error::PanicPayload;
pub use error::{CallbackError, Fault, PanicInfo, PanicValue};
pub use hooks::{FaultAnswer, Hooks, Refused, Start, start_with};
pub use interrupt::interrupt;
pub use m::M;
pub use spawn::spawn;
#[cfg(feature = "std")]
pub use spawn::{JoinHandle, spawn_joinable};
pub use thread::{atfork_child, attach, depth, detach, prefault, stack_left, with_m};
pub use world::{Stopped, each_inside, safepoint, stop_the_world, stop_the_world_within};
