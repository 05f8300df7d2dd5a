// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guide: from an empty folder to a callback on a foreign thread, for each kind of host;
//! what needm cannot protect from; and how it works.
//!
//! | page | for |
//! | --- | --- |
//! | [`rust_host`] | a runtime in Rust |
//! | [`c_host`] | a program or library in C |
//! | [`cpp_host`] | a program or library in C++ |
//! | [`bare_host`] | a program without a C library |
//! | [`windows`] | a program on Windows: what is different there |
//! | [`coroutines`] | callbacks with stacks of their own |
//! | [`no_std`] | templates of a `no_std` crate and of a program without a C library |
//! | [`plugin_host`] | hosts whose plug-ins crash |
//! | [`watchdog`] | callbacks that do not end by themselves |
//! | [`collector`] | runtimes with a garbage collector |
//! | [`real_time`] | callbacks on real-time threads |
//! | [`runtimes`] | needm beside Go, the JVM, CPython and others in one process |
//! | [`sandboxes`] | seccomp filters and containers: system calls, and what a refused one costs |
//! | [`sizing`] | how large stacks should be, and what Ms cost |
//! | [`tools`] | debuggers, sanitizers, valgrind, profilers |
//! | [`safety`] | every host: what a callback must not rely on |
//! | [`promises`] | what needm promises, and [`lessons`], the properties behind them |
//! | [`threat_model`] | hosts that run code that they do not trust |
//! | [`support`] | which systems, C libraries and versions of Rust are supported, and for how long |
//! | [`how_it_works`] | readers of the source |
//!
//! # Glossary
//!
//! | word | meaning |
//! | --- | --- |
//! | attach, detach | bind an M to a thread ahead of its first callback; unbind it now |
//! | bind, unbind | give an M to a thread; put it back on the extra list |
//! | callback | a function of the host's that a foreign thread runs through needm |
//! | ccall | a call from a callback to C, on the thread's own stack |
//! | deferred function | a function that runs when a callback ends, however it ends |
//! | epoch | the number of a start of needm; cached in each thread, and compared on each callback |
//! | extra list | the list from which a thread binds an M, and to which an M goes back when it is unbound |
//! | fault | a hardware exception in a callback: a bad address, a division by zero |
//! | foreign thread | a thread that needm did not start |
//! | G | the M's stack, with a guard below it, on which callbacks run |
//! | further stack | a stack of the host's on which a callback continues: a coroutine's, a fiber's |
//! | gate | the word that a callback reads when it begins: open, or closed while the world is stopped |
//! | host | the program, or runtime, that uses needm |
//! | interrupt | the end of a callback that another thread, or a handler, has asked for |
//! | M | the context that a thread needs to run a callback |
//! | needm, dropm | the steps that bind an M to a thread, and that unbind it |
//! | overflow | a callback's stack that has run out |
//! | panic | what ends a callback early: raised by the host, or made from a fault or an overflow |
//! | reserve | a part of a G below its usable end, opened for deferred functions after an overflow |
//! | segment | the record of one callback's part of a G |
//! | thread exit | the end of a thread, in any way: return, `pthread_exit`, cancellation, the raw system call |
//! | world | all threads that run callback code |

#[doc = include_str!("rust_host.md")]
pub mod rust_host {}
#[doc = include_str!("c_host.md")]
pub mod c_host {}
#[doc = include_str!("cpp_host.md")]
pub mod cpp_host {}
#[doc = include_str!("coroutines.md")]
pub mod coroutines {}
#[doc = include_str!("bare_host.md")]
pub mod bare_host {}
#[doc = include_str!("windows.md")]
pub mod windows {}
#[doc = include_str!("no_std.md")]
pub mod no_std {}
#[doc = include_str!("plugin_host.md")]
pub mod plugin_host {}
#[doc = include_str!("watchdog.md")]
pub mod watchdog {}
#[doc = include_str!("collector.md")]
pub mod collector {}
#[doc = include_str!("real_time.md")]
pub mod real_time {}
#[doc = include_str!("runtimes.md")]
pub mod runtimes {}
#[doc = include_str!("sandboxes.md")]
pub mod sandboxes {}
#[doc = include_str!("sizing.md")]
pub mod sizing {}
#[doc = include_str!("tools.md")]
pub mod tools {}
#[doc = include_str!("safety.md")]
pub mod safety {}
#[doc = include_str!("threat_model.md")]
pub mod threat_model {}
#[doc = include_str!("support.md")]
pub mod support {}
// Here the pictures are part of the page: rustdoc keeps no files beside it.
#[doc = include_str!("how_it_works.md")]
#[doc = "\n# Pictures\n"]
#[doc = include_str!("stacks.svg")]
#[doc = ""]
#[doc = include_str!("m_life.svg")]
pub mod how_it_works {}
#[doc = include_str!("promises.md")]
pub mod promises {}
#[doc = include_str!("lessons.md")]
pub mod lessons {}
