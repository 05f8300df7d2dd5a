// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why an operation of needm is refused.

use core::fmt;

/// Why an operation was refused. The numbers are the C interface's `NEEDM_E…`.
///
/// ```
/// let error = needm::attach().unwrap_err();
/// assert_eq!(error, needm::Error::NotStarted);
/// assert_eq!(error.to_string(), "needm is not started");
/// assert_eq!(needm::Error::from_code(error.code()), Some(error)); // as C knows it
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum Error {
    /// needm has not been started, or has been stopped, or is about to be
    /// ([`stop_within`](crate::stop_within)).
    NotStarted = -1,
    /// needm has been started already; or this thread has already stopped the world.
    Already = -2,
    /// An argument, or the place of the call, makes no sense.
    Invalid = -3,
    /// The system has no memory for it; or too many functions are deferred.
    NoMemory = -4,
    /// No M became free within the configured wait (with bound Ms, `max_ms`
    /// threads that have called back are alive); or the world did not stop in time.
    TimedOut = -5,
    /// Not while a callback runs, nor while the world is stopped; or not in a signal handler.
    Busy = -6,
    /// A panic ended the callback.
    Panic = -7,
    /// A hardware fault ended the callback.
    Fault = -8,
    /// The stack of a callback ran out; or a frame does not fit on it.
    Overflow = -9,
    /// The system refused; its own reason is in `errno` where there is one.
    System = -10,
    /// An interrupt ended the callback.
    Interrupted = -11,
}

/// A row for each [`Error`]: its name in the C interface, and what it means.
const MEANINGS: [(Error, &core::ffi::CStr, &core::ffi::CStr); 11] = [
    (Error::NotStarted, c"NEEDM_ENOTSTARTED", c"needm is not started"),
    (Error::Already, c"NEEDM_EALREADY", c"needm is started already"),
    (Error::Invalid, c"NEEDM_EINVAL", c"invalid argument, or invalid here"),
    (Error::NoMemory, c"NEEDM_ENOMEM", c"no memory for it, or m_new has refused"),
    (Error::TimedOut, c"NEEDM_ETIMEDOUT", c"not in the time that was allowed"),
    (
        Error::Busy,
        c"NEEDM_EBUSY",
        c"not now: a callback or a handler runs, or the world is stopped",
    ),
    (Error::Panic, c"NEEDM_EPANIC", c"a panic ended the callback"),
    (Error::Fault, c"NEEDM_EFAULT", c"a fault ended the callback"),
    (Error::Overflow, c"NEEDM_EOVERFLOW", c"the stack of the G does not hold it"),
    (Error::System, c"NEEDM_ESYS", c"the system refused"),
    (Error::Interrupted, c"NEEDM_EINTERRUPTED", c"an interrupt ended the callback"),
];

impl Error {
    /// The negative number of this error in the C interface.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The error of a number of the C interface, if there is one.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        MEANINGS.iter().map(|(error, ..)| *error).find(|error| error.code() == code)
    }

    /// What it means, in a few words.
    #[must_use]
    pub fn meaning(self) -> &'static core::ffi::CStr {
        let row = MEANINGS.iter().find(|(error, ..)| *error == self);
        row.map_or(c"unknown error", |(.., meaning)| *meaning)
    }

    /// Its name in the C interface.
    #[cfg(feature = "capi")]
    pub(crate) fn name(self) -> &'static core::ffi::CStr {
        let row = MEANINGS.iter().find(|(error, ..)| *error == self);
        row.map_or(c"unknown error", |(_, name, _)| *name)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.meaning().to_str().unwrap_or("unknown error"))
    }
}

impl core::error::Error for Error {}
