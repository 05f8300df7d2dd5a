//! The Rust interface: the C interface's meaning in Rust's ways.

mod callback;
mod config;
mod error;
mod panics;
mod world;

pub use callback::{Context, Deferred, attach, callback, detach, panic, prefault, spawn, with_m};
pub use config::{Binding, Config, Hooks, Refused, Start, start, start_with, stop};
pub use error::{CallbackError, Fault};
pub use world::{Stopped, safepoint, stop_the_world};
