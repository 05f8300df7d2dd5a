// SPDX-License-Identifier: MIT OR Apache-2.0
//! needm lets the functions of your language runtime be called on threads that the runtime did
//! not create: a C library's, an audio driver's, another language's. Such a callback runs on a
//! stack of its own with a guard page. So a panic, a crash or a stack overflow in it can come back
//! to the caller as an error. The safe [`callback()`] returns panics, and a crash ends the process
//! as usual; the unsafe [`callback_catching_faults`], and C's `needm_callback`, return all three.
//! After a thread's first callback, later ones allocate nothing, take no lock and make no system
//! call.
//!
//! ```
//! use needm::{CallbackError, Config};
//!
//! needm::start(Config::default())?;
//! // This thread stands for one that a C library has made.
//! let foreign = std::thread::spawn(|| {
//!     let null = std::hint::black_box(std::ptr::null_mut::<u32>());
//!     // SAFETY: the compiler does not know the address; the hardware refuses the write. The
//!     // callback holds nothing that must be dropped.
//!     let crashed = unsafe { needm::callback_catching_faults(|_| null.write_volatile(1)) };
//!     assert!(matches!(crashed, Err(CallbackError::Fault(fault)) if fault.addr == 0));
//!     // The same thread can call back again.
//!     needm::callback(|_| 6 * 7).ok()
//! });
//! assert_eq!(foreign.join().expect("the thread returns"), Some(42));
//! needm::stop()?;
//! # Ok::<(), needm::Error>(())
//! ```
//!
//! # Six words
//!
//! | word | meaning |
//! | --- | --- |
//! | M | the context that a thread needs to run a callback; it carries your per-thread data ([`Hooks`]) |
//! | G | the M's stack, with a guard below it, on which callbacks run |
//! | extra list | the list from which a thread binds an M, and to which an M goes back when it is unbound |
//! | binding | whether an M stays with its thread, or goes back to the extra list after each callback ([`Binding`]) |
//! | foreign thread | a thread that needm did not start |
//! | host | the program, or runtime, that uses needm |
//!
//! # Where to start
//!
//! [`start`] and [`callback()`]. Inside a callback, [`Context::ccall`] calls C on the thread's
//! own stack, and [`Context::defer`] has a closure run however the callback ends.
//! [`stop_the_world`] stops all callback code, for a garbage collector. [`attach`] prepares a
//! thread ahead of its first callback.
//!
//! The guide goes from an empty folder to a callback for each kind of host: [a runtime in
//! Rust](guide::rust_host), [a program in C](guide::c_host), [a program without a C
//! library](guide::bare_host). [Safety](guide::safety) says what a callback must not rely on,
//! the [threat model](guide::threat_model) what a hostile one can do, and [how it
//! works](guide::how_it_works) is a tour of the source.
//!
//! # Features
//!
//! | feature | adds |
//! | --- | --- |
//! | `std` | the default: a Rust panic in a callback is caught, and returned with its payload |
//! | `capi` | the C interface, `include/needm.h` |
//! | `freestanding` | `_start`, threads and a panic handler, for static programs without a C library; not with `std` |
//! | `asan`, `tsan` | AddressSanitizer or ThreadSanitizer is told of each switch of stacks; not both |
//!
//! With `default-features = false` the crate is `no_std` and uses no allocator. It uses what a C
//! library offers where one is linked, and links without.
//!
//! # Platforms
//!
//! Linux on x86_64, i386 (with SSE2), ARMv7 (hard-float), AArch64 and riscv64 (rv64gc);
//! [Windows](guide::windows) on x86_64 and i386, as far as wine shows it. [Support](guide::support)
//! has the details.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))] // says at each item which feature it takes
#![deny(unsafe_code)] // allowed file by file; each such file has a Safety section

#[cfg(all(feature = "std", feature = "freestanding", not(docsrs)))]
compile_error!(
    "the feature `freestanding` is for programs without a C library, `std` for those with one: \
     write `default-features = false`"
);

#[cfg(any(feature = "std", needm_loom))]
extern crate std;

// From the top down: a module imports only from those below it (tests/layers.rs). In all of them a
// comment `// model: NAME` marks where the package needm-models plants a bug (models/README.md).
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
mod abandoned;
mod fibers;
mod needm;
mod running;
mod segment_end;
mod thread;
mod lifecycle_lock;
mod gate;
mod tls;
mod pool;
mod thread_record;
mod barrier;
mod state;
mod settings;
mod m;
mod table;
mod part;
mod stack;
mod segment;
mod request;
mod tools;
mod index_list;
mod waiting;
mod call;
mod fatal;
mod os;
mod valgrind;
#[allow(unsafe_code)] // declares the assembly
#[path = "../arch/mod.rs"]
mod arch;
mod error;
mod sync;
#[deny(unused_imports, unused_macros)] // so that offsets without their check are an error
mod layout;

pub use api::*;
pub use error::Error;
#[cfg(feature = "capi")]
pub use fatal::abort;
pub use settings::{DEFAULT_GUARD_SIZE, DEFAULT_MAX_MS, DEFAULT_SIGNAL_ROOM, DEFAULT_STACK_SIZE};
pub use stack::MAX_DEFERRED;
pub use stats::{Stats, stats};

/// The panic handler of the C libraries. needm's own code reaches no panic. If a bug makes it
/// panic, the process aborts with one line.
#[cfg(needm_c_library)]
#[panic_handler]
fn internal_panic(_: &core::panic::PanicInfo<'_>) -> ! {
    abort("needm: internal panic")
}

/// The README's Rust example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
