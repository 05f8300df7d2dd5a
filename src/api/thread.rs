//! A thread and its M, outside callbacks.

use crate::api::m::M;
use crate::attach as attaching;
use crate::error::Error;
use crate::reconcile;

/// Takes an M for this thread now, so that its first callback costs nothing; it stays
/// until [`detach`] or the thread's exit, in both bindings. The uppermost page of its
/// stack is touched ahead; [`prefault`] does more. Not from a signal handler.
///
/// # Errors
/// [`Error::NotStarted`], [`Error::TimedOut`], [`Error::NoMemory`].
///
/// ```
/// # needm::start(needm::Config::default())?;
/// std::thread::spawn(|| {
///     needm::attach()?;
///     needm::prefault(16 * 1024)?;
///     // From here on no callback makes a system call, or meets a page fault in 16 KiB.
///     assert!(needm::with_m(|_| ()).is_some());
///     needm::detach()?;
///     assert!(needm::with_m(|_| ()).is_none());
///     Ok::<(), needm::Error>(())
/// })
/// .join()
/// .expect("the thread returns")?;
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn attach() -> Result<(), Error> {
    attaching::attach_ready()
}

/// Touches the uppermost `bytes` of this thread's stack for callbacks ahead (all of it,
/// if it has no more), so that a callback which uses no more than that meets no page fault: for
/// real-time threads, after [`attach`], where there is an example.
///
/// # Errors
/// [`Error::NotStarted`]; [`Error::Invalid`] without an M; [`Error::Busy`] inside a
/// callback.
pub fn prefault(bytes: usize) -> Result<(), Error> {
    attaching::prefault(bytes)
}

/// Gives this thread's M back now, and its signal stack; see [`attach`] for an example.
///
/// # Errors
/// [`Error::NotStarted`]; [`Error::Busy`] inside a callback.
pub fn detach() -> Result<(), Error> {
    attaching::detach()
}

/// Does something with what is to be known of this thread's M, if it has one; see [`M`] for an
/// example.
pub fn with_m<R>(f: impl FnOnce(&M) -> R) -> Option<R> {
    reconcile::current_m().map(|m| f(&M::of(m)))
}
