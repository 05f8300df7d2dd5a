// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a callback did not return a value.
//!
//! # Safety
//! What is carried here is shared between threads as addresses, or as what may be shared.
#![allow(unsafe_code)] // a pointer and a payload that other threads may hold

use core::ffi::c_void;
use core::fmt;

use crate::call;
use crate::error::Error;

/// Details of a hardware fault.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// // SAFETY: no frame of the callback holds anything.
/// let ended: Result<(), _> = unsafe {
///     needm::callback_catching_faults(|_| {
///         std::hint::black_box(std::ptr::null_mut::<u8>()).write_volatile(1)
///     })
/// };
/// let Err(needm::CallbackError::Fault(fault)) = ended else { panic!("{ended:?}") };
/// assert_eq!((fault.signo, fault.addr), (11, 0)); // SIGSEGV
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The signal's number.
    pub signo: i32,
    /// Its `si_code`.
    pub code: i32,
    /// The address that was touched (`si_addr`).
    pub addr: usize,
    /// The instruction.
    pub pc: usize,
}

/// What [`panic()`](crate::panic()) or [`interrupt`](crate::interrupt) was given. Any thread may hold it, since nothing is read
/// through it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PanicValue(*mut c_void);

// SAFETY: it is an address, which safe code can only compare and print.
unsafe impl Send for PanicValue {}
// SAFETY: shared, it is still only an address that is compared and printed.
unsafe impl Sync for PanicValue {}

impl PanicValue {
    /// The pointer itself.
    #[must_use]
    pub const fn as_ptr(self) -> *mut c_void {
        self.0
    }
}

impl PartialEq<*mut c_void> for PanicValue {
    fn eq(&self, other: &*mut c_void) -> bool {
        self.0 == *other
    }
}

impl fmt::Debug for PanicValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:p}", self.0)
    }
}

/// What a Rust panic carries: as [`Any`](core::any::Any), but shared between threads as far as
/// its type may be.
#[cfg(feature = "std")]
pub struct PanicPayload(std::boxed::Box<dyn core::any::Any + Send>);

// SAFETY: through a shared payload only a `T` that is `Sync` can be reached.
#[cfg(feature = "std")]
unsafe impl Sync for PanicPayload {}

#[cfg(feature = "std")]
impl PanicPayload {
    pub(super) fn new(payload: std::boxed::Box<dyn core::any::Any + Send>) -> Self {
        Self(payload)
    }

    /// The payload, if it is a `T`.
    #[must_use]
    pub fn downcast_ref<T: core::any::Any + Sync>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }

    /// The message of `panic!`, if that was what panicked.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        let text = || self.downcast_ref::<std::string::String>().map(|text| &**text);
        self.downcast_ref::<&str>().copied().or_else(text)
    }

    /// The payload as `catch_unwind` gives it, for `resume_unwind`.
    #[must_use]
    pub fn into_inner(self) -> std::boxed::Box<dyn core::any::Any + Send> {
        self.0
    }
}

#[cfg(feature = "std")]
impl fmt::Debug for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PanicPayload").field(&self.message()).finish()
    }
}

/// What was ending a callback when a deferred function
/// [recovered](crate::Deferred::recover); see there for an example.
#[derive(Debug)]
#[non_exhaustive]
pub enum PanicInfo {
    /// [`panic()`](crate::panic()), with this value.
    Panic(PanicValue),
    /// A hardware fault.
    Fault(Fault),
    /// A stack that had run out.
    Overflow(Fault),
    /// [`interrupt`](crate::interrupt), with this value.
    Interrupted(PanicValue),
    /// A Rust panic in a deferred function.
    #[cfg(feature = "std")]
    Panicked(PanicPayload),
}

impl PanicInfo {
    /// What the C interface calls it.
    #[must_use]
    pub fn error(&self) -> Error {
        match self {
            Self::Panic(_) => Error::Panic,
            Self::Fault(_) => Error::Fault,
            Self::Overflow(_) => Error::Overflow,
            Self::Interrupted(_) => Error::Interrupted,
            #[cfg(feature = "std")]
            Self::Panicked(_) => Error::Panic,
        }
    }

    pub(super) fn new(info: &call::PanicInfo) -> Self {
        let call::PanicInfo { signo, code, addr, pc, value, .. } = *info;
        let fault = Fault { signo, code, addr, pc };
        match Error::from_code(info.kind) {
            Some(Error::Fault) => Self::Fault(fault),
            Some(Error::Overflow) => Self::Overflow(fault),
            Some(Error::Interrupted) => Self::Interrupted(PanicValue(value)),
            _ => Self::Panic(PanicValue(value)),
        }
    }
}

/// Why a callback returned no value.
///
/// It can be handed to another thread, and `?` turns it into any error type that wants that.
///
/// ```
/// fn answer() -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
///     Ok(needm::callback(|_| 42)?)
/// }
/// assert_eq!(answer().unwrap_err().to_string(), "needm is not started");
/// let ended = needm::callback(|_| ());
/// assert!(matches!(ended, Err(needm::CallbackError::Refused(needm::Error::NotStarted))));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum CallbackError {
    /// The callback did not run.
    Refused(Error),
    /// [`panic()`](crate::panic()) ended it, with this value.
    Panic(PanicValue),
    /// A hardware fault ended it: only in [`callback_catching_faults`](crate::callback_catching_faults).
    Fault(Fault),
    /// Its stack ran out: only in [`callback_catching_faults`](crate::callback_catching_faults).
    Overflow(Fault),
    /// [`interrupt`](crate::interrupt) ended it, with this value: only in
    /// [`callback_catching_faults`](crate::callback_catching_faults).
    Interrupted(PanicValue),
    /// A panic, fault, overflow or interrupt was ending it, and a deferred function
    /// [recovered](crate::Deferred::recover).
    Recovered,
    /// A Rust panic ended it.
    #[cfg(feature = "std")]
    Panicked(PanicPayload),
}

impl fmt::Display for CallbackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Panic(value) => write!(f, "panic({value:?}) ended the callback"),
            Self::Fault(fault) => write!(
                f,
                "signal {} (code {}) at {:#x} touching {:#x} ended the callback",
                fault.signo, fault.code, fault.pc, fault.addr
            ),
            Self::Overflow(fault) => {
                write!(f, "the callback's stack ran out at {:#x}", fault.pc)
            }
            Self::Interrupted(value) => write!(f, "interrupt({value:?}) ended the callback"),
            Self::Recovered => f.write_str("the callback was ended, and recovered"),
            #[cfg(feature = "std")]
            Self::Panicked(payload) => match payload.message() {
                Some(message) => write!(f, "a Rust panic ended the callback: {message}"),
                None => f.write_str("a Rust panic ended the callback"),
            },
        }
    }
}

impl core::error::Error for CallbackError {}

impl From<PanicInfo> for CallbackError {
    /// What the callback would have returned, had nothing recovered.
    fn from(info: PanicInfo) -> Self {
        match info {
            PanicInfo::Panic(value) => Self::Panic(value),
            PanicInfo::Fault(fault) => Self::Fault(fault),
            PanicInfo::Overflow(fault) => Self::Overflow(fault),
            PanicInfo::Interrupted(value) => Self::Interrupted(value),
            #[cfg(feature = "std")]
            PanicInfo::Panicked(payload) => Self::Panicked(payload),
        }
    }
}

impl CallbackError {
    /// `code` is what the entry returned, `info` what an ending has filled in.
    pub(super) fn new(code: i32, info: &call::PanicInfo) -> Self {
        match Error::from_code(code) {
            // A frame that the stack does not hold has the code of an overflow.
            Some(_) if info.kind == code => PanicInfo::new(info).into(),
            Some(error) => Self::Refused(error),
            None => Self::Recovered,
        }
    }
}
