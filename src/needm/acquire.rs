// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first step of needm: an M from the extra list, a new one, or a wait for one.

use crate::barrier;
use crate::error::Error;
use crate::gate;
use crate::m::M;
use crate::pool;
use crate::pool::{Extra, claim};
use crate::running;
use crate::state;
use crate::sync::{AtomicUsize, Relaxed, SeqCst};
use crate::thread::reap;
use crate::thread_record::Thread;
use crate::tls::Tls;
use crate::waiting::Waiting;

/// The longest sleep of a waiter, in nanoseconds. Then it looks for exited threads again, because
/// an exit may wake no waiter.
pub(crate) const MAX_SLEEP: u64 = 10_000_000;

/// How long a waiter waits for another thread's spare before it makes an M itself, in
/// nanoseconds.
const GRACE: u64 = 1_000_000;

impl Extra {
    /// Binds the M that this thread had last, if it is still free.
    pub(super) fn rebind(&self, thread: &Thread) -> Option<&'static M> {
        let m = thread.last()?;
        claim(m, thread, false).then_some(m)
    }

    /// Binds an M, and waits for one if need be: the first step of needm.
    ///
    /// `nested`: an M is bound to this thread already. It must not wait for a spare, because it may be
    /// in a handler that has interrupted the code which makes that spare.
    /// `waits`: else it fails where it had to wait.
    pub(crate) fn acquire(
        &self,
        thread: &Thread,
        nested: bool,
        waits: bool,
    ) -> Result<&'static M, Error> {
        reap::reap_next();
        match self.pop(thread) {
            Some(m) => Ok(m),
            None => self.acquire_slow(thread, nested, waits),
        }
    }

    #[cold]
    fn acquire_slow(
        &self,
        thread: &Thread,
        nested: bool,
        waits: bool,
    ) -> Result<&'static M, Error> {
        let mut waiting = Waiting::begin();
        let limit = state::settings().wait_ns();
        let others = pool::begin_wait(thread);
        // From here on a thread that unbinds an M sees a waiter, or the M is seen here.
        barrier::heavy_barrier();
        let mut waited = false;
        let result = loop {
            let seen = self.returned.load(SeqCst);
            // Most often another thread is just making a spare. To go through all records and all
            // Ms then costs more the more there are, and brings nothing.
            let may_make = self.made.load(Relaxed) < state::settings().max_ms();
            let thorough = waited || nested || !may_make;
            let mut found = self.pop(thread);
            if found.is_none() && thorough {
                // model: a_waiter_that_does_not_reap
                reap::reap_all();
                found = self.pop(thread).or_else(|| Self::sweep(thread));
            }
            if let Some(m) = found {
                break Ok(m);
            }
            // A thread that holds an M may be in a callback, which has to come to its end.
            if !state::is_open() || gate::is_closing() && !nested {
                break Err(Error::NotStarted);
            }
            let elapsed = waiting.elapsed();
            let mut nap = MAX_SLEEP;
            if may_make {
                if nested || elapsed >= GRACE {
                    let mut made = Ok(None);
                    thread.in_hook(state::settings().hooks().m_new.is_some(), || {
                        made = self.make(Some(thread), None);
                    });
                    match made {
                        Ok(Some(m)) => {
                            m.owes_spare.store(true, Relaxed);
                            break Ok(m);
                        }
                        Ok(None) => {}
                        Err(error) => break Err(error),
                    }
                } else {
                    nap = GRACE;
                }
            }
            if !waits {
                break Err(Error::TimedOut);
            }
            if let Some(limit) = limit {
                if elapsed >= limit {
                    self.timeouts.fetch_add(1, Relaxed);
                    break Err(Error::TimedOut);
                }
                nap = nap.min(limit - elapsed);
            }
            if !waited {
                waited = true;
                self.waits.fetch_add(1, Relaxed);
            }
            let mut sleep = || {
                // model: a_waiter_that_reads_too_late
                waiting.sleep(&self.returned, seen, nap);
                false
            };
            // No stopper of the world waits for a callback that a handler has interrupted, and which goes on
            // only when this wait is over: the thread that holds the M may wait for the world.
            if gate::owns_the_world() {
                sleep();
            } else {
                running::while_none_runs(Tls::current().m(), sleep);
            }
        };
        pool::end_wait(thread, others);
        result
    }
}

impl Extra {
    /// newextram: makes the spare that the thread which took the last M owes the list, and one
    /// for each thread that waits. Runs on a G, after the gate. What cannot be made now is
    /// made by the thread that needs it. `making`: as for [`Extra::make`].
    pub(crate) fn newextram(&self, making: Option<&AtomicUsize>) {
        if reap::reap_next_asking() != 0 {
            return;
        }
        // model: a_taker_that_makes_no_spare
        for _ in 0..self.waiting().max(1) {
            // Spares that other threads make at the same time count.
            let wanted = self.listed.load(SeqCst) < self.waiting().max(1);
            if !wanted || !matches!(self.make(None, making), Ok(Some(_))) {
                return;
            }
        }
    }
}
