// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is shown of an M.

use crate::callback::inside::inside;
use crate::m;
use crate::m::MS;
use crate::pool;
use crate::thread::counts::while_open;
use crate::world;

/// What a host may know of an M: a copy, which may be kept, sent to another thread, and looked at
/// after [`stop`](crate::stop).
///
/// ```
/// # needm::start(needm::Config::default())?;
/// let m = needm::callback(|cx| cx.m())?.expect("a callback has one");
/// assert_eq!(m.id(), 1);
/// let (lo, hi) = m.g_bounds();
/// assert!(hi - lo >= needm::DEFAULT_STACK_SIZE);
/// assert_eq!(needm::with_m(|same| *same), Some(m)); // it stays with the thread
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct M {
    id: u64,
    g_lo: usize,
    g_hi: usize,
}

impl M {
    pub(super) fn of(m: &m::M) -> Self {
        let (g_lo, g_hi) = m.g_bounds();
        Self { id: m.id(), g_lo, g_hi }
    }

    /// Its number, from 1 on; it has the same until needm is stopped.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// The ID that the system has for the thread which it is bound to now, as `gettid` returns it
    /// there; `None` if it is idle, or if needm has been stopped since. A thread that has
    /// exited counts until its exit is noticed.
    ///
    /// ```
    /// # needm::start(needm::Config::default())?;
    /// let m = needm::callback(|cx| cx.m())?.expect("a callback has one");
    /// assert!(m.thread().is_some()); // it stays with this thread
    /// needm::detach()?;
    /// assert_eq!(m.thread(), None);
    /// # needm::stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn thread(&self) -> Option<u64> {
        inside(|_| self.ask(pool::thread_id)).filter(|id| *id != 0)
    }

    /// Bytes of its G that callbacks have used at most, in whole pages: from the lowest page that
    /// was ever touched to the top, so that a host can size
    /// [`Config::stack_size`](crate::Config::stack_size). 0 if the system does not say, and `None`
    /// if needm has been stopped since. A page that the system has swapped out may not count. One
    /// system call.
    ///
    /// ```
    /// # needm::start(needm::Config::default())?;
    /// let m = needm::callback(|cx| {
    ///     std::hint::black_box(&[std::hint::black_box(1_u8); 20_000]);
    ///     cx.m()
    /// })?;
    /// let used = m.and_then(|m| m.stack_used()).unwrap_or(0);
    /// assert!((20_000..=needm::DEFAULT_STACK_SIZE).contains(&used));
    /// # needm::stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stack_used(&self) -> Option<usize> {
        inside(|_| self.ask(m::M::stack_used))
    }

    /// The address where its outermost callback has left the stack of the thread that made it:
    /// what is in use there begins at this address, and holds what that callback's caller had in
    /// registers. `None` outside callbacks. It stays as it is until that callback ends, so it can
    /// be relied on for this thread's own M, and for those of others in a stopped world.
    ///
    /// ```
    /// # needm::start(needm::Config::default())?;
    /// let local = 0_u8;
    /// let (m, left) = needm::callback(|cx| {
    ///     let m = cx.m().expect("a callback has one");
    ///     (m, m.g0_sp().expect("it is in a callback"))
    /// })?;
    /// assert!(left < (&raw const local).addr());
    /// assert_eq!(m.g0_sp(), None); // the callback is over
    /// # needm::stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn g0_sp(&self) -> Option<usize> {
        inside(|_| self.ask(world::g0sp_of)).flatten()
    }

    /// Asks the M itself, unless needm has been stopped since.
    pub(super) fn ask<R>(&self, question: impl FnOnce(&m::M) -> R) -> Option<R> {
        let answer = while_open(|| {
            let m = MS.get(u32::try_from(self.id.checked_sub(1)?).ok()?)?;
            let same = pool::is_ready(m) && m.g_bounds() == self.g_bounds();
            same.then(|| question(m))
        });
        answer.flatten()
    }

    /// The lowest usable address of its G, and one past the highest.
    #[must_use]
    pub const fn g_bounds(&self) -> (usize, usize) {
        (self.g_lo, self.g_hi)
    }
}
