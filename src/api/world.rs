//! Stopping the world, as a guard.

use core::marker::PhantomData;
use core::ops::ControlFlow;

use crate::api::caught;
use crate::error::Error;
use crate::m::M;
use crate::world;

/// A world that this thread has stopped; it goes on when this is dropped.
#[derive(Debug)]
pub struct Stopped {
    /// The thread that stopped it is the one that starts it.
    here: PhantomData<*mut ()>,
}

/// Stops the world: from now on no callback code runs but this thread's own. Stops by
/// several threads take turns. A running callback stops at [`safepoint`], at a `ccall`,
/// or at its end.
///
/// # Errors
/// [`Error::NotStarted`]; [`Error::Already`]: this thread has it stopped.
pub fn stop_the_world() -> Result<Stopped, Error> {
    world::stop().map(|()| Stopped { here: PhantomData })
}

impl Stopped {
    /// Calls `visit` for each M that has callbacks under way, with the addresses that
    /// its G's stack is in use from and to; all its registers are in that range. Ends
    /// early, with its value, where `visit` breaks.
    pub fn each_m<B>(
        &self,
        mut visit: impl FnMut(&M, core::ops::Range<usize>) -> ControlFlow<B>,
    ) -> Option<B> {
        let mut ended = None;
        // It is stopped, and by this thread: nothing to refuse. The visits may be made from
        // another stack, over which no Rust panic goes.
        let _ = world::each_m(|m, sp, hi| match caught::catch(|| visit(m, sp..hi)) {
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
pub fn safepoint() {
    world::safepoint();
}
