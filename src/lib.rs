//! needm lends a thread that your runtime did not create what it needs to run your
//! code: a context (an M) with a guarded stack of its own (a G) and a signal stack.
//! It runs the callback there and takes the context back, with no allocation, no
//! lock and no system call on the way of a thread that has been here before.
//!
//! # The way of a callback
//!
//! Told once, in call order; each file starts from its station.
//!
//! 1. **In** (`arch/<arch>/entry.S`). The caller's registers and control words go
//!    onto its own stack. If this thread's pass is the gate's value, its M may be
//!    used unasked, and assembly does all of 4 and 5 by itself.
//! 2. **Where** (`callback/`). Otherwise: is the thread in a callback already, and
//!    where on which G does a new one go? What was jumped out of is dropped first
//!    (`drop_abandoned.rs`).
//! 3. **needm** (`needm.rs`). A thread without an M gets a record (`thread/`), a
//!    signal stack (`signal/minit.rs`), and an M from the extra list (`extra/`),
//!    published last.
//! 4. **The gate** (`world.rs`). Say "running", then look whether the world is being
//!    stopped; if so, step back and wait.
//! 5. **On the G** (`stack.rs`, `m.rs`). Switch; if this took the last M, make a
//!    spare; run the function.
//! 6. **How it ends** (`unwind.rs`, `signal/handler.rs`). A return, a panic, a fault
//!    made a panic by the signal handler, a stack run out: all run the deferred
//!    functions and come to the same place.
//! 7. **Out** (`entry.S` again, `callback/`). Back on the caller's stack; the
//!    segment is popped, "running" withdrawn, and an M that is not bound goes back.
//!
//! The guide (`src/guide`) shows each kind of host, from an empty folder to a callback.
//!
//! A thread's end is noticed in `thread/`. `runtime.rs` starts, stops and forks it
//! all; `capi.rs` says the same in C.
#![no_std]
#![deny(unsafe_code)] // opened room by room, each with its Safety section

#[cfg(all(feature = "std", feature = "freestanding"))]
compile_error!("`std` is for programs with a C library, `freestanding` for those without");

#[cfg(any(feature = "std", needm_loom))]
extern crate std;

// From the top down: a module imports only from those below it (tests/layers.rs).
#[cfg(needm_loom)] // by the package `needm-models`
#[path = "../models/checks/mod.rs"]
pub mod checks;
#[cfg(any(doc, doctest))]
pub mod guide;
#[cfg(feature = "freestanding")]
pub mod host;
#[cfg(feature = "capi")]
mod capi;
mod api;
mod stats;
mod lifecycle;
mod world;
mod spawn;
mod callback;
mod attach;
mod reconcile;
mod running;
mod needm;
mod thread;
mod gate;
mod tls;
mod pool;
mod thread_record;
mod barrier;
mod state;
mod settings;
mod m;
mod table;
mod stack;
mod segment;
mod tools;
mod index_list;
mod call;
mod fatal;
mod os;
#[allow(unsafe_code)] // declarations of the rooms' assembly
#[path = "../arch/mod.rs"]
mod arch;
mod error;
mod sync;
#[deny(unused_imports, unused_macros)] // a record that nothing proves
mod layout;

pub use api::*;
pub use call::PanicInfo;
pub use error::Error;
#[cfg(feature = "capi")]
pub use fatal::abort;
pub use m::M;
pub use settings::{DEFAULT_MAX_MS, DEFAULT_SIGNAL_ROOM, DEFAULT_STACK_SIZE};
pub use stack::MAX_DEFERRED;
pub use stats::{Stats, stats};

/// The README's Rust example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
