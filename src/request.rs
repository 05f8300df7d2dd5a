// SPDX-License-Identifier: MIT OR Apache-2.0
//! A request to interrupt one callback: a part of the callback's segment.
//!
//! Any thread, and any handler, may ask; the callback's own thread ends the callback. None of
//! them waits for another thread, which may be stopped, or be the code that a handler has
//! interrupted.
//!
//! One word says what there is, with a number that no other request has (the *ticket*):
//!
//! | | |
//! | --- | --- |
//! | ticket, no phase | nothing: the last request was forgotten, or taken back. 0: there was none |
//! | ticket, `CLAIMED` | a thread is about to store the value |
//! | ticket, `POSTED` | the callback is to be ended, with the value |
//! | ticket, `TAKEN` | nothing: the last request has ended a callback |
//!
//! A thread that finds another one's claim takes it over, because the other may never go on. If
//! the other one does, it may store its value late. Then the callback ends with that value, and
//! the thread that stored it says that it has asked: it has.
//!
//! Which callback a request is for: [`ask`](crate::callback::interrupt::ask).

use crate::sync::{AcqRel, Acquire, AtomicPtr, AtomicUsize, Relaxed};
use core::ffi::c_void;

const CLAIMED: usize = 1;
const POSTED: usize = 2;
const TAKEN: usize = 3;
const PHASE: usize = 3;

/// Counts tickets. They begin again after a thousand million requests on 32 bits.
static TICKETS: AtomicUsize = AtomicUsize::new(0);

/// A request, or none. All zeros is none.
#[repr(C)]
pub(crate) struct Request {
    state: AtomicUsize,
    value: AtomicPtr<c_void>,
}

/// What a thread knows of a request that it has posted.
#[derive(Clone, Copy)]
pub(crate) struct Posted {
    state: usize,
    /// Another thread has taken over the claim of this one, and may have posted its value.
    pub(crate) shared: bool,
}

/// What has become of a request that a thread has posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It waits for its callback.
    Posted,
    /// Its callback was over before it was acted on.
    Forgotten,
    /// It has ended its callback, or it has become a part of another thread's.
    OutOfHand,
}

impl Request {
    /// Posts a request, or joins the one that is posted.
    pub(crate) fn post(&self, value: *mut c_void) -> Posted {
        let ticket = TICKETS.fetch_add(1, Relaxed).wrapping_add(1) & usize::MAX >> 2;
        let own = ticket << 2;
        loop {
            let seen = self.state.load(Acquire);
            let is_posted = seen & PHASE == POSTED;
            let phase = if is_posted { POSTED } else { CLAIMED };
            let next = own | phase;
            if self.state.compare_exchange(seen, next, AcqRel, Relaxed).is_err() {
                continue;
            }
            if is_posted {
                // So that the other thread cannot take it back: this one has found the callback
                // under way later.
                return Posted { state: next, shared: false };
            }
            self.value.store(value, Relaxed);
            let posted = own | POSTED;
            let lost = self.state.compare_exchange(next, posted, AcqRel, Relaxed).is_err();
            // If so, it does not ask again: the value may be what ends the callback already.
            return Posted { state: posted, shared: lost };
        }
    }

    /// What has become of it.
    pub(crate) fn standing(&self, posted: Posted) -> Standing {
        match self.state.load(Acquire) {
            now if now == posted.state => Standing::Posted,
            // Any other word may be that of a later one, and this one may have been taken before.
            now if now == posted.state & !PHASE && !posted.shared => Standing::Forgotten,
            _ => Standing::OutOfHand,
        }
    }

    /// Takes back a request of the calling thread. False if it is out of hand, or forgotten.
    pub(crate) fn take_back(&self, posted: Posted) -> bool {
        self.state.compare_exchange(posted.state, posted.state & !PHASE, AcqRel, Relaxed).is_ok()
    }

    /// Whether there is one to act on.
    pub(crate) fn is_posted(&self) -> bool {
        self.state.load(Relaxed) & PHASE == POSTED
    }

    /// For the callback's own thread, which ends the callback now: the value.
    pub(crate) fn take(&self) -> Option<*mut c_void> {
        let seen = self.state.load(Acquire);
        if seen & PHASE != POSTED {
            return None;
        }
        let value = self.value.load(Relaxed);
        self.state.compare_exchange(seen, seen | TAKEN, AcqRel, Relaxed).is_ok().then_some(value)
    }

    /// The callback is over, or another one begins: there is no request for it.
    pub(crate) fn forget(&self) {
        let seen = self.state.load(Relaxed);
        if seen & PHASE != 0 && seen & PHASE != TAKEN {
            self.state.store(seen & !PHASE, Relaxed);
        }
    }

    /// Hands the request on to another callback.
    pub(crate) fn move_to(&self, other: &Self) {
        if let Some(value) = self.take() {
            other.post(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Posted, Request, Standing};
    use crate::sync::{AtomicPtr, AtomicUsize, Relaxed};
    use core::ffi::c_void;
    use core::ptr;

    fn value(number: usize) -> *mut c_void {
        ptr::without_provenance_mut(number)
    }

    fn empty() -> Request {
        Request { state: AtomicUsize::new(0), value: AtomicPtr::new(ptr::null_mut()) }
    }

    #[test]
    fn a_request_is_acted_on_once() {
        let request = empty();
        assert!(!request.is_posted() && request.take().is_none());
        let posted = request.post(value(7));
        assert!(request.is_posted());
        assert_eq!(request.take(), Some(value(7)));
        assert!(!request.is_posted() && request.take().is_none());
        assert!(!request.take_back(posted));
        request.forget();
        assert_eq!(request.standing(posted), Standing::OutOfHand);
    }

    #[test]
    fn a_request_that_is_taken_back_is_not_acted_on() {
        let request = empty();
        let posted = request.post(value(7));
        assert!(request.take_back(posted));
        assert!(request.take().is_none());
    }

    #[test]
    fn a_thread_does_not_take_back_what_another_has_joined() {
        let request = empty();
        let first = request.post(value(7));
        let second = request.post(value(8));
        assert!(!request.take_back(first));
        assert_eq!(request.take(), Some(value(7)));
        assert!(!request.take_back(second));
    }

    #[test]
    fn a_claim_that_never_goes_on_is_taken_over() {
        let request = empty();
        request.state.store(4 << 2 | super::CLAIMED, Relaxed);
        let Posted { shared, .. } = request.post(value(8));
        assert!(!shared);
        assert_eq!(request.take(), Some(value(8)));
    }

    #[test]
    fn what_is_forgotten_is_gone() {
        let request = empty();
        let posted = request.post(value(7));
        assert_eq!(request.standing(posted), Standing::Posted);
        request.forget();
        assert!(request.take().is_none());
        assert_eq!(request.standing(posted), Standing::Forgotten);
    }

    #[test]
    fn a_request_can_be_handed_on() {
        let (from, to) = (empty(), empty());
        from.post(value(7));
        from.move_to(&to);
        assert!(from.take().is_none());
        assert_eq!(to.take(), Some(value(7)));
    }
}
