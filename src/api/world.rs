// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stopping the world, as a guard.

use core::marker::PhantomData;
use core::ops::ControlFlow;
use core::time::Duration;

use crate::api::config::nanos;
use crate::api::m::M;
use crate::api::panics as caught;
use crate::callback::inside::inside;
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
    /// Which stop this is. needm may start the world while this lives, and it may be stopped again.
    number: u64,
    /// The thread that stopped it is the one that starts it.
    here: PhantomData<*mut ()>,
}

/// Stops the world: from now on no callback code and no hook runs but this thread's own. Stops by
/// several threads take turns. A running callback stops at [`safepoint`], at a `ccall`,
/// or at its end.
///
/// If a fault, an overflow or [`panic()`](crate::panic()) ends the callback that has stopped
/// it, or the one around that once it has returned, with the guard undropped, the world goes on; so it does if the thread exits. The guard is then of no
/// effect: it shows no M, and its drop starts no later stop.
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
    inside(|_| world::stop(None)).map(Stopped::of)
}

/// As [`stop_the_world`], for at most `limit`: if other threads take longer to come to a stop, or
/// another thread has the world stopped for longer, the world runs again. A limit of zero does not
/// wait. In a callback, while another thread has the world stopped, it returns only when that
/// thread has started the world, because no callback code runs before.
///
/// # Errors
/// Those of [`stop_the_world`]; [`Error::TimedOut`]: the limit has passed.
///
/// ```
/// use std::time::Duration;
///
/// # needm::start(needm::Config::default())?;
/// let (inside, entered) = std::sync::mpsc::channel();
/// let (end, ended) = std::sync::mpsc::channel::<()>();
/// let busy = std::thread::spawn(move || {
///     needm::callback(|_| {
///         inside.send(()).expect("it is received");
///         ended.recv().expect("it is sent"); // it comes to no safepoint
///     })
///     .is_ok()
/// });
/// entered.recv()?;
/// let limit = Duration::from_millis(10);
/// assert_eq!(needm::stop_the_world_within(limit).err(), Some(needm::Error::TimedOut));
/// end.send(())?;
/// drop(needm::stop_the_world_within(Duration::from_secs(60))?);
/// assert!(busy.join().expect("the thread returns"));
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn stop_the_world_within(limit: Duration) -> Result<Stopped, Error> {
    inside(|_| world::stop(Some(nanos(limit)))).map(Stopped::of)
}

/// Calls `visit` for each M that has callbacks under way, while the world runs: a snapshot, in
/// which an M may be missing whose callback has begun meanwhile, and one may be shown whose
/// callback is over by now. Ends early, with its value, where `visit` breaks. Shows none if needm
/// is not started.
///
/// ```
/// use std::ops::ControlFlow;
///
/// # needm::start(needm::Config::default())?;
/// let inside = || {
///     let mut count = 0;
///     needm::each_inside::<()>(|_| {
///         count += 1;
///         ControlFlow::Continue(())
///     });
///     count
/// };
/// assert_eq!(inside(), 0);
/// assert_eq!(needm::callback(|_| inside())?, 1);
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn each_inside<B>(mut visit: impl FnMut(&M) -> ControlFlow<B>) -> Option<B> {
    let mut ended = None;
    let visit = |m: M| match visit(&m) {
        ControlFlow::Continue(()) => 0,
        ControlFlow::Break(value) => {
            ended = Some(value);
            1
        }
    };
    // If needm is not started, there is nothing to show.
    let _ = world::each_inside(M::of, visit);
    ended
}

impl Stopped {
    fn of(number: u64) -> Self {
        Self { number, here: PhantomData }
    }

    /// Calls `visit` for each M that has callbacks under way, with the addresses that
    /// its G's stack is in use from and to, and then once for each further stack of its callbacks
    /// ([`with_stack`](crate::Context::with_stack)); all its registers are in these ranges, also if a
    /// handler on a signal stack has interrupted a callback (if too little is left of the callback's
    /// stack, `visit` is called once more, for what the handler has in use). A stack
    /// that waits while the callback is on another one is shown from its lowest address. Ends
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
        // The visits may be made from another stack, over which no Rust panic goes.
        let visit = |m: &m::M, sp, hi| match caught::catch(|| visit(&M::of(m), sp..hi)) {
            Ok(ControlFlow::Continue(())) => 0,
            Ok(ControlFlow::Break(value)) => {
                ended = Some(Ok(value));
                1
            }
            Err(payload) => {
                ended = Some(Err(payload));
                1
            }
        };
        inside(|_| {
            if world::is_stopped_by(self.number) {
                let _ = world::each_m(visit);
            }
        });
        ended.map(caught::resume)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        inside(|_| {
            if world::is_stopped_by(self.number) {
                let _ = world::start();
            }
        });
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
