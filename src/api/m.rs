//! What is shown of an M.

use crate::m;

/// What a host may know of an M: a copy, which says how the M was when it was made. It leads
/// nowhere, and so may be kept, sent to another thread, and looked at after [`stop`](crate::stop).
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

    /// The lowest usable address of its G, and one past the highest.
    #[must_use]
    pub const fn g_bounds(&self) -> (usize, usize) {
        (self.g_lo, self.g_hi)
    }
}
