//! What the kernel's operations refuse with.

use core::fmt;

/// Why an operation was refused. The numbers are the C interface's `NEEDM_E…`.
///
/// ```
/// assert_eq!(needm::attach(), Err(needm::Error::NotStarted));
/// assert_eq!(needm::Error::NotStarted.to_string(), "the kernel is not started");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum Error {
    /// The kernel has not been started, or has been stopped.
    NotStarted = -1,
    /// The kernel has been started already.
    Already = -2,
    /// An argument, or the place of the call, makes no sense.
    Invalid = -3,
    /// The system has no memory for it.
    NoMemory = -4,
    /// No M became free within the configured wait; with bound Ms, `max_ms`
    /// threads that have called back are alive.
    TimedOut = -5,
    /// A callback is running where none may.
    Busy = -6,
    /// A panic ended the callback.
    Panic = -7,
    /// A hardware fault ended the callback.
    Fault = -8,
    /// The stack of a G does not hold it.
    Overflow = -9,
    /// The system refused; its own reason is in `errno` where there is one.
    System = -10,
}

/// One row for each [`Error`]: what it means, for people.
const MEANINGS: [(Error, &core::ffi::CStr); 10] = [
    (Error::NotStarted, c"the kernel is not started"),
    (Error::Already, c"the kernel is started already"),
    (Error::Invalid, c"invalid argument, or invalid here"),
    (Error::NoMemory, c"out of memory"),
    (Error::TimedOut, c"no M became free in time"),
    (Error::Busy, c"a callback is running"),
    (Error::Panic, c"a panic ended the callback"),
    (Error::Fault, c"a fault ended the callback"),
    (Error::Overflow, c"the stack of the G does not hold it"),
    (Error::System, c"the system refused"),
];

impl Error {
    /// The number that the C interface knows this error by; negative.
    ///
    /// ```
    /// assert_eq!(needm::Error::Fault.code(), -8); // NEEDM_EFAULT
    /// ```
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The error of a C interface's number, if it is one.
    ///
    /// ```
    /// assert_eq!(needm::Error::from_code(-8), Some(needm::Error::Fault));
    /// assert_eq!(needm::Error::from_code(1), None);
    /// ```
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        MEANINGS.iter().map(|(error, _)| *error).find(|error| error.code() == code)
    }

    /// What it means, in a few words.
    ///
    /// ```
    /// assert_eq!(needm::Error::TimedOut.meaning(), c"no M became free in time");
    /// ```
    #[must_use]
    pub fn meaning(self) -> &'static core::ffi::CStr {
        let row = MEANINGS.iter().find(|(error, _)| *error == self);
        row.map_or(c"unknown error", |(_, meaning)| *meaning)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.meaning().to_str().unwrap_or("unknown error"))
    }
}

impl core::error::Error for Error {}
