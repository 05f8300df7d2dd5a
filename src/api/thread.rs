// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread: its M, how many callbacks it is inside and what is left of their stack, and the only
//! one of a forked child.

use crate::api::m::M;
use crate::attach as attaching;
use crate::callback::inside::inside;
use crate::error::Error;
use crate::lifecycle;
use crate::reconcile;

/// Binds an M to this thread now, so that its first callback costs no more than later ones. It stays
/// bound until [`detach`] or the thread's exit, with either binding. The uppermost page of its
/// stack is touched ahead; [`prefault`] does more. Inside a callback nothing happens. Not from a
/// signal handler: its return takes the signal stack away again.
///
/// # Errors
/// [`Error::NotStarted`]; [`Error::TimedOut`]; [`Error::NoMemory`]; [`Error::System`]: the thread can
/// have no signal stack; [`Error::Busy`] in a hook ([`Hooks`](crate::Hooks)).
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
    inside(|_| attaching::attach_ready())
}

/// Touches the uppermost `bytes` of this thread's G ahead (all of it, if it has no more), so that a callback which uses no more than that meets no page fault: for
/// real-time threads, after [`attach`], where there is an example.
///
/// # Errors
/// [`Error::NotStarted`]; [`Error::Invalid`] without an M; [`Error::Busy`] inside a
/// callback.
pub fn prefault(bytes: usize) -> Result<(), Error> {
    inside(|_| attaching::prefault(bytes))
}

/// Unbinds this thread's M now, if it has one, and takes needm's signal stack off; see [`attach`] for
/// an example. Not from a signal handler: its return installs that signal stack again.
///
/// # Errors
/// [`Error::NotStarted`]; [`Error::Busy`] inside a callback, and in a hook ([`Hooks`](crate::Hooks)).
pub fn detach() -> Result<(), Error> {
    inside(|_| attaching::detach())
}

/// Does something with what is to be known of this thread's M, if it has one; see [`M`] for an
/// example.
pub fn with_m<R>(f: impl FnOnce(&M) -> R) -> Option<R> {
    inside(|_| reconcile::current_m()).map(|m| f(&M::of(m)))
}

/// The callbacks that this thread is inside, those that its signal handlers have made included; 0
/// outside.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// assert_eq!(needm::depth(), 0);
/// let inner = needm::callback(|cx| {
///     assert_eq!(needm::depth(), 1);
///     cx.ccall(|| needm::callback(|_| needm::depth()))
/// });
/// assert!(matches!(inner, Ok(Ok(Ok(2)))));
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn depth() -> u32 {
    inside(|_| reconcile::depth())
}

/// The bytes that are left for the innermost callback of this thread, on its G or on the further
/// stack that it continues on ([`Context::with_stack`](crate::Context::with_stack)): for a runtime's
/// own limit of recursion, which can end with an error of its own where the guard would end the
/// callback. In C that the callback has called, what the callback has when C returns. `None`
/// outside callbacks, and on a stack that needm has not been told of.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// fn depth_that_fits(depth: u32) -> u32 {
///     let frame = std::hint::black_box([depth; 16]);
///     match needm::stack_left() {
///         Some(16_384..) => depth_that_fits(frame[0] + 1),
///         _ => depth, // 16 KiB remain
///     }
/// }
/// assert!(needm::callback(|_| depth_that_fits(0))? > 100);
/// assert_eq!(needm::stack_left(), None);
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn stack_left() -> Option<usize> {
    Some(inside(|_| reconcile::stack_left())).filter(|left| *left != 0)
}

/// Puts needm in order in the child of a fork. The C library's fork handlers do this by themselves,
/// where there are some; a child that was made by the raw system call, or in a program without
/// a C library, calls it before it calls anything else here. A second call changes nothing.
///
/// # Safety
/// This is the child of a fork, and the process has no other thread: those that needm remembers
/// lose their Ms, which are then bound to others.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// // SAFETY: the child does what is allowed between `fork` and `_exit` in a program with threads.
/// let child = unsafe { libc::fork() };
/// if child == 0 {
///     // SAFETY: it is the only thread.
///     unsafe { needm::atfork_child() };
///     let answer = needm::callback(|_| 42).unwrap_or(0);
///     // SAFETY: it ends the child.
///     unsafe { libc::_exit(answer) };
/// }
/// let mut status = 0;
/// // SAFETY: `status` is where the answer goes.
/// assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
/// assert_eq!(libc::WEXITSTATUS(status), 42);
/// # needm::stop()?;
/// # Ok::<(), needm::Error>(())
/// ```
#[allow(unsafe_code)] // declares a duty of the caller's, and does nothing of that kind itself
pub unsafe fn atfork_child() {
    inside(|_| lifecycle::fork_child());
}
