//! The Rust interface: the C interface's meaning in Rust's ways.

mod callback;
mod caught;
mod config;
mod world;

pub use callback::{
    CallbackError, Context, Deferred, Fault, attach, callback, detach, panic, prefault, spawn,
    with_m,
};
pub use config::{Binding, Config, Hooks, Refused, Start, start, start_with, stop};
pub use world::{Stopped, safepoint, stop_the_world};
