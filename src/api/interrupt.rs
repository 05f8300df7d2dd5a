// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ending another thread's callback.
#![allow(unsafe_code)] // a function whose callers have to promise something

use core::ffi::c_void;

use crate::api::m::M;
use crate::callback::inside::inside;
use crate::callback::interrupt;
use crate::error::Error;

/// Ends the innermost callback of `m` with
/// [`CallbackError::Interrupted`](crate::CallbackError::Interrupted): at any instruction of it that
/// is not inside needm, a deferred function, or C that it called by
/// [`ccall`](crate::Context::ccall); else as soon as the thread is back from there. From any
/// thread, and from signal handlers. It does not wait for the callback to end.
///
/// A callback of the safe [`callback()`](crate::callback()) is not ended, and neither is one of
/// [`callback_catching_faults`](crate::callback_catching_faults) while its thread panics: the request
/// is then kept until the callback is over, and forgotten.
///
/// # Errors
/// [`Error::Invalid`]: `m` is in no callback, or needm was started with
/// [`no_signals`](crate::Config::no_signals), or the system takes no more signals
/// (`RLIMIT_SIGPENDING`, if the signal is a real-time one). [`Error::NotStarted`]: also if needm has been stopped
/// since.
///
/// # Safety
/// As after a fault, all frames of the callback on its own stack are skipped. But a fault may
/// happen at some instructions, and this happens at any. So what
/// [`callback_catching_faults`](crate::callback_catching_faults) asks of its caller must hold for
/// the callback at each of its instructions: it allocates nothing, takes no lock, and changes
/// nothing that outlives it in more than one step, except in a `ccall`.
///
/// ```
/// use needm::CallbackError;
/// use std::sync::mpsc;
///
/// needm::start(needm::Config::default())?;
/// let (send, receive) = mpsc::channel();
/// let watchdog = std::thread::spawn(move || {
///     let m = receive.recv().expect("the callback sends its M");
///     // SAFETY: from when it has sent that, the callback only counts.
///     unsafe { needm::interrupt(&m, std::ptr::without_provenance_mut(7)) }
/// });
/// // SAFETY: the frames of the callback hold nothing that has a destructor, nor a lock.
/// let ended = unsafe {
///     needm::callback_catching_faults::<_, ()>(|cx| {
///         let m = cx.m().expect("a callback has one");
///         cx.ccall(|| send.send(m).expect("the watchdog waits")).expect("this is the callback");
///         let mut count = 0_u64;
///         loop {
///             count = std::hint::black_box(count + 1);
///         }
///     })
/// };
/// let Err(CallbackError::Interrupted(value)) = ended else { panic!() };
/// assert_eq!(value.as_ptr().addr(), 7);
/// watchdog.join().expect("the watchdog is done")?;
/// needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub unsafe fn interrupt(m: &M, value: *mut c_void) -> Result<(), Error> {
    inside(|_| m.ask(|m| interrupt::ask(m, value))).unwrap_or(Err(Error::NotStarted))
}
