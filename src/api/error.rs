//! Why a callback did not return a value.

use core::ffi::c_void;
use core::fmt;

use crate::call::PanicInfo;
use crate::error::Error;

/// What a fault was.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// let ended: Result<(), _> = needm::callback(|_| {
///     let null = std::hint::black_box(std::ptr::null_mut::<u8>());
///     // SAFETY: what happens is the hardware's doing: a fault, which ends the callback.
///     unsafe { null.write_volatile(1) }
/// });
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

/// Why there is no result of a callback.
///
/// ```
/// let ended = needm::callback(|_| ());
/// assert!(matches!(ended, Err(needm::CallbackError::Refused(needm::Error::NotStarted))));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum CallbackError {
    /// The callback did not run.
    Refused(Error),
    /// [`panic()`](crate::panic()) ended it, with this value.
    Panic(*mut c_void),
    /// A hardware fault ended it.
    Fault(Fault),
    /// Its stack ran out.
    Overflow(Fault),
    /// A panic, fault or overflow ended it, and a deferred function recovered.
    Recovered,
    /// A Rust panic ended it; its payload.
    #[cfg(feature = "std")]
    Panicked(std::boxed::Box<dyn core::any::Any + Send>),
}

impl fmt::Display for CallbackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Panic(value) => write!(f, "panic({value:p}) ended the callback"),
            Self::Fault(fault) => write!(
                f,
                "signal {} (code {}) at {:#x} touching {:#x} ended the callback",
                fault.signo, fault.code, fault.pc, fault.addr
            ),
            Self::Overflow(fault) => {
                write!(f, "the callback's stack ran out at {:#x}", fault.pc)
            }
            Self::Recovered => f.write_str("the callback was ended, and recovered"),
            #[cfg(feature = "std")]
            Self::Panicked(_) => f.write_str("a Rust panic ended the callback"),
        }
    }
}

impl core::error::Error for CallbackError {}

impl CallbackError {
    pub(super) fn new(code: i32, info: &PanicInfo) -> Self {
        let PanicInfo { signo, code: si_code, addr, pc, value, .. } = *info;
        let fault = Fault { signo, code: si_code, addr, pc };
        match Error::from_code(code) {
            Some(Error::Panic) => Self::Panic(value),
            Some(Error::Fault) => Self::Fault(fault),
            Some(Error::Overflow) if info.kind == code => Self::Overflow(fault),
            Some(error) => Self::Refused(error),
            None => Self::Recovered,
        }
    }
}
