// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads that are in a callback from birth.
//!
//! # Safety
//! What the new thread is handed is its own once it has said so, or once it is made.
#![allow(unsafe_code)] // what one thread hands another

use core::ffi::c_void;
use core::ptr;

use crate::api::panics as caught;
use crate::call::FORWARDS_FAULTS;
use crate::callback::ccall;
use crate::callback::inside::inside;
use crate::error::Error;
use crate::gate;
use crate::os::wait::{wait, wake};
use crate::spawn::{self, Main};
use crate::sync::{AtomicU32, SeqCst};

#[cfg(feature = "std")]
pub use joinable::{JoinHandle, spawn_joinable};

/// Makes a thread that runs `f` as one callback from birth. A panic that ends it, of any kind,
/// prints a line and ends the process; so does a fault, as in
/// [`callback`](crate::callback()). `spawn_joinable` (feature `std`) returns a handle, and Rust
/// panics as errors.
///
/// # Errors
/// [`Error::NotStarted`]; [`Error::System`]: no thread could be made, or it can have no signal stack;
/// [`Error::TimedOut`], [`Error::NoMemory`]: the thread found no M; [`Error::Busy`]: this thread has
/// the world stopped, or is in a signal handler.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// let (send, receive) = std::sync::mpsc::channel();
/// needm::spawn(move || {
///     // In a callback from birth.
///     send.send(needm::with_m(|m| m.id()).is_some()).expect("the receiver waits");
/// })?;
/// assert!(receive.recv()?);
/// while needm::stop().is_err() {} // it is busy until the callback is over
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn spawn<F>(f: F) -> Result<(), Error>
where
    F: FnOnce() + Send + 'static,
{
    struct Handed<F> {
        function: Option<F>,
        taken: AtomicU32,
    }
    unsafe extern "C" fn run<F: FnOnce()>(handed: *mut c_void) {
        // SAFETY: `spawn` waits with it until `taken` is set.
        let handed = unsafe { &mut *handed.cast::<Handed<F>>() };
        let function = handed.function.take();
        let taken = ptr::from_ref(&handed.taken);
        handed.taken.store(1, SeqCst);
        // Only its address is used from here on.
        wake(taken, 1);
        if let Some(function) = function {
            caught::end_process(caught::catch(function));
        }
    }
    let mut handed = Handed { function: Some(f), taken: AtomicU32::new(0) };
    let arg = (&raw mut handed).cast();
    let main = Main { function: run::<F>, arg, tags: FORWARDS_FAULTS, over: None };
    inside(|_| {
        // What is waited for is in the new thread's callback.
        if gate::owns_the_world() {
            return Err(Error::Busy);
        }
        spawn::spawn(main)?;
        ccall::wait_off_g(&mut || {
            while handed.taken.load(SeqCst) == 0 {
                wait(&handed.taken, 0, None);
            }
        });
        Ok(())
    })
}

#[cfg(feature = "std")]
mod joinable {
    use core::ffi::c_void;
    use std::boxed::Box;
    use std::fmt;
    use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

    use crate::api::error::CallbackError;
    use crate::api::panics as caught;
    use crate::call::FORWARDS_FAULTS;
    use crate::callback::inside::inside;
    use crate::error::Error;
    use crate::spawn::{self, Main};

    /// What a thread and its handle share.
    struct Shared<R> {
        state: Mutex<State<R>>,
        over: Condvar,
    }

    struct State<R> {
        result: Option<caught::Caught<R>>,
        is_over: bool,
    }

    impl<R> Shared<R> {
        fn state(&self) -> MutexGuard<'_, State<R>> {
            // Nothing panics while it is locked.
            self.state.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// What a new thread is handed.
    struct Handed<F, R> {
        function: Option<F>,
        shared: Arc<Shared<R>>,
    }

    unsafe extern "C" fn run<F: FnOnce() -> R, R>(handed: *mut c_void) {
        // SAFETY: `spawn_joinable` made it for this thread, and `over` frees it.
        let handed = unsafe { &mut *handed.cast::<Handed<F, R>>() };
        if let Some(function) = handed.function.take() {
            let result = caught::catch(function);
            handed.shared.state().result = Some(result);
        }
    }

    unsafe extern "C" fn over<F, R>(handed: *mut c_void) {
        // SAFETY: it is the box of `spawn_joinable`, and `run` is done with it.
        let handed = unsafe { Box::from_raw(handed.cast::<Handed<F, R>>()) };
        handed.shared.state().is_over = true;
        handed.shared.over.notify_all();
    }

    /// A thread that [`spawn_joinable`] has made. Dropped, it lets the thread go on alone.
    pub struct JoinHandle<R> {
        shared: Arc<Shared<R>>,
    }

    impl<R> JoinHandle<R> {
        /// Waits until the thread has run its function and given its M back. Not in a callback
        /// that others may wait for, unless through [`Context::ccall`](crate::Context::ccall).
        ///
        /// # Errors
        /// [`CallbackError::Panicked`]: the function panicked.
        pub fn join(self) -> Result<R, CallbackError> {
            let mut state = self.shared.state();
            while !state.is_over {
                state = self.shared.over.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let result = state.result.take();
            drop(state);
            result
                .map_or(Err(CallbackError::Recovered), |result| result.map_err(caught::into_error))
        }

        /// Whether [`join`](Self::join) would return at once.
        #[must_use]
        pub fn is_finished(&self) -> bool {
            self.shared.state().is_over
        }
    }

    impl<R> fmt::Debug for JoinHandle<R> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("JoinHandle").field("is_finished", &self.is_finished()).finish()
        }
    }

    /// As [`spawn`](crate::spawn), with a handle that returns what `f` returned, or the Rust
    /// panic that ended it. A fault still ends the process, and [`panic()`](crate::panic()) too.
    ///
    /// # Errors
    /// As for [`spawn`](crate::spawn), but in a world that this thread has stopped [`Error::Busy`] only
    /// if there are [`Hooks`](crate::Hooks).
    ///
    /// ```
    /// # needm::start(needm::Config { stack_size: 256 << 10, ..needm::Config::default() })?;
    /// let answer = needm::spawn_joinable(|| 6 * 7)?;
    /// let broken = needm::spawn_joinable(|| panic!("of Rust's"))?;
    /// assert_eq!(answer.join()?, 42);
    /// let Err(needm::CallbackError::Panicked(payload)) = broken.join() else { panic!() };
    /// assert_eq!(payload.message(), Some("of Rust's"));
    /// needm::stop()?; // both have given their M back
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn_joinable<F, R>(f: F) -> Result<JoinHandle<R>, Error>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let state = Mutex::new(State { result: None, is_over: false });
        let shared = Arc::new(Shared { state, over: Condvar::new() });
        let handle = JoinHandle { shared: Arc::clone(&shared) };
        let handed = Box::into_raw(Box::new(Handed { function: Some(f), shared }));
        let main = Main {
            function: run::<F, R>,
            arg: handed.cast(),
            tags: FORWARDS_FAULTS,
            over: Some(over::<F, R>),
        };
        let made = inside(|_| spawn::spawn(main));
        if made.is_err() {
            // SAFETY: then no other thread has it, or will.
            drop(unsafe { Box::from_raw(handed) });
        }
        made.map(|()| handle)
    }
}
