//! Stopping the world, as a guard.

use core::marker::PhantomData;
use core::ops::ControlFlow;

use crate::api::m::M;
use crate::api::panics as caught;
use crate::error::Error;
use crate::m;
use crate::world;

/// A world that this thread has stopped; it goes on when this is dropped.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// needm::callback(|_| {
///     let stopped = needm::stop_the_world().expect("this thread has not stopped it");
///     // No other callback code runs now.
///     let mut bytes = 0;
///     stopped.each_m::<()>(|_, live| {
///         bytes += live.len(); // what a collector would scan
///         std::ops::ControlFlow::Continue(())
///     });
///     assert!(bytes > 0);
/// })?;
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the world goes on when this is dropped"]
pub struct Stopped {
    /// The thread that stopped it is the one that starts it.
    here: PhantomData<*mut ()>,
}

/// Stops the world: from now on no callback code runs but this thread's own. Stops by
/// several threads take turns. A running callback stops at [`safepoint`], at a `ccall`,
/// or at its end.
///
/// If a fault, an overflow or [`panic()`](crate::panic()) ends the callback that has stopped
/// it, with the guard undropped, the world goes on; so it does if the thread exits.
///
/// A callback that waits for something does not stop: if it waits for a lock that this thread
/// holds, both wait for ever. So take no lock around this that callbacks take, or have them
/// wait for it in a [`ccall`](crate::Context::ccall).
///
/// See [`Stopped`] for an example.
///
/// # Errors
/// [`Error::NotStarted`]; [`Error::NoMemory`]; [`Error::Already`]: this thread has it stopped.
pub fn stop_the_world() -> Result<Stopped, Error> {
    world::stop().map(|()| Stopped { here: PhantomData })
}

impl Stopped {
    /// Calls `visit` for each M that has callbacks under way, with the addresses that
    /// its G's stack is in use from and to; all its registers are in that range. Ends
    /// early, with its value, where `visit` breaks.
    ///
    /// It shows no more than that. What a callback has captured by reference, and what the
    /// frames of a [`ccall`](crate::Context::ccall) hold, lies on the thread's own stack: a
    /// collector must have other roots for it.
    pub fn each_m<B>(
        &self,
        mut visit: impl FnMut(&M, core::ops::Range<usize>) -> ControlFlow<B>,
    ) -> Option<B> {
        let mut ended = None;
        // It is stopped, and by this thread: nothing to refuse. The visits may be made from
        // another stack, over which no Rust panic goes.
        let _ =
            world::each_m(|m: &m::M, sp, hi| match caught::catch(|| visit(&M::of(m), sp..hi)) {
                Ok(ControlFlow::Continue(())) => 0,
                Ok(ControlFlow::Break(value)) => {
                    ended = Some(Ok(value));
                    1
                }
                Err(payload) => {
                    ended = Some(Err(payload));
                    1
                }
            });
        ended.map(caught::resume)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It is stopped, and by this thread: nothing to refuse.
        let _ = world::start();
    }
}

/// Inside a callback: stops here while the world is being stopped, else does nothing.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
/// static OVER: AtomicBool = AtomicBool::new(false);
/// let busy = std::thread::spawn(|| {
///     needm::callback(|_| {
///         while !OVER.load(SeqCst) {
///             needm::safepoint(); // or the stop below would wait for ever
///         }
///     })
///     .is_ok()
/// });
/// drop(needm::stop_the_world()?);
/// OVER.store(true, SeqCst);
/// assert!(busy.join().expect("the thread returns"));
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn safepoint() {
    world::safepoint();
}
