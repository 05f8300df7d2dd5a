//! The guide: from an empty folder to a callback on a foreign thread, for each kind of host;
//! what needm cannot protect from; and how it works.
//!
//! | page | for |
//! | --- | --- |
//! | [`rust_host`] | a runtime in Rust |
//! | [`c_host`] | a program or library in C |
//! | [`bare_host`] | a program without a C library |
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
//! | extra list | the Ms that no thread has |
//! | fault | a hardware exception in a callback: a bad address, a division by zero |
//! | foreign thread | a thread that needm did not start |
//! | G | the M's stack, with a guard below it, on which callbacks run |
//! | gate | the word that a callback reads when it begins: open, or closed while the world is stopped |
//! | host | the program, or runtime, that uses needm |
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
#[doc = include_str!("bare_host.md")]
pub mod bare_host {}
#[doc = include_str!("safety.md")]
pub mod safety {}
#[doc = include_str!("threat_model.md")]
pub mod threat_model {}
#[doc = include_str!("support.md")]
pub mod support {}
#[doc = include_str!("how_it_works.md")]
pub mod how_it_works {}
#[doc = include_str!("promises.md")]
pub mod promises {}
#[doc = include_str!("lessons.md")]
pub mod lessons {}
