//! The records of one callback that assembly, the caller and the code on the G share: the
//! call, what a panic is, what a fault leaves on the G.
//!
//! # Safety
//! A caller that gives a `needm_panic_info` gives at least the bytes that its `size` says, and
//! waits until its callback is over.
#![allow(unsafe_code)] // records of the caller's

use crate::error::Error;
use crate::layout;
use core::ffi::c_int;
use core::ffi::c_void;

/// What a callback runs.
pub(crate) type Function = unsafe extern "C" fn(*mut c_void);

/// The record that entry code leaves on the caller's stack.
#[repr(C)]
pub(crate) struct Call {
    pub(crate) function: Option<Function>,
    pub(crate) frame: *mut u8,
    pub(crate) size: usize,
    pub(crate) info: *mut PanicInfo,
    pub(crate) arg: *mut u8,
    pub(crate) out: usize,
}

layout::prove_call!(Call);

/// How code on every architecture here wants its stack aligned, in bytes (their ABIs).
pub(crate) const ALIGN: usize = 16;

/// The segment is still to be built: the caller is on the G itself, and `enter` ran there, where
/// the callback's part is to be. Assembly moves the stack pointer below that first.
pub(crate) const PENDING_SEGMENT: usize = layout::call::ON_G;

/// A spare is to be made: this callback's M was the last on the extra list.
pub(crate) const PENDING_SPARES: usize = 2;

/// The caller is a handler on the thread's handler stack, which must be kept from the
/// handlers to come: `os::fault::Readiness::make_way`.
pub(crate) const PENDING_HANDLER_STACK: usize = 4;

/// A sanitizer is to be told of the switch of stacks.
pub(crate) const PENDING_TOOLS: usize = 8;

const _: () = {
    let pending = PENDING_SEGMENT | PENDING_SPARES | PENDING_HANDLER_STACK | PENDING_TOOLS;
    assert!(pending == layout::call::PENDING);
};

/// How a callback ended that did not return: C's `needm_panic_info`.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// let found = std::cell::Cell::new(None);
/// let recover = |deferred: &needm::Deferred| found.set(deferred.recover());
/// let ended: Result<(), _> = needm::callback(|cx| {
///     cx.defer(&recover).expect("there is room");
///     needm::panic(std::ptr::without_provenance_mut(7))
/// });
/// assert!(matches!(ended, Err(needm::CallbackError::Recovered)));
/// assert_eq!(found.get().map(|info| info.value.addr()), Some(7));
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PanicInfo {
    /// Bytes of this struct, set by who gives it.
    pub size: usize,
    /// The code of [`Error::Panic`], [`Error::Fault`] or [`Error::Overflow`].
    pub kind: i32,
    /// Of a fault: the signal's number, else 0.
    pub signo: i32,
    /// Of a fault: the signal's `si_code`, else 0.
    pub code: i32,
    /// Of a fault: the address that was touched (`si_addr`), else 0.
    pub addr: usize,
    /// Of a fault: the instruction, else 0.
    pub pc: usize,
    /// Of a panic: what it was given, else null.
    pub value: *mut c_void,
}

layout::prove_panic_info!(PanicInfo);
layout::prove_fault!(FaultFrame);

impl PanicInfo {
    /// Whether there is none, or one that is large enough to be filled.
    pub(crate) fn is_valid(info: *const Self) -> bool {
        // SAFETY: a caller that gives one gives at least its size.
        info.is_null() || unsafe { (*info).size } >= size_of::<Self>()
    }

    /// Fills `info` in, if there is one, and leaves its size alone.
    pub(crate) fn fill(&self, info: *mut Self) {
        if !info.is_null() {
            // SAFETY: it was found valid when it was given, and its owner waits.
            unsafe {
                let size = (*info).size;
                info.write(Self { size, ..*self });
            }
        }
    }

    /// Which kind of ending it was.
    ///
    /// ```
    /// let info = needm::PanicInfo { kind: -8, ..needm::PanicInfo::new() };
    /// assert_eq!(info.error(), Some(needm::Error::Fault));
    /// ```
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        Error::from_code(self.kind)
    }
}

impl Default for PanicInfo {
    fn default() -> Self {
        Self::new()
    }
}

/// A panic under way: lives in the frame that raises it.
#[repr(C)]
pub(crate) struct Panic {
    pub(crate) info: PanicInfo,
    pub(crate) recovered: bool,
}

/// What a fault leaves on the G's stack, below the frame that faulted.
#[repr(C)]
pub(crate) struct FaultFrame {
    /// The stack pointer at the fault: where an unwinder goes on.
    pub(crate) sp: usize,
    /// The instruction.
    pub(crate) pc: usize,
    /// The error code of its kind.
    pub(crate) kind: c_int,
    pub(crate) signo: c_int,
    pub(crate) code: c_int,
    /// The address that was touched.
    pub(crate) addr: usize,
    #[cfg(target_pointer_width = "64")]
    pub(crate) pad: usize,
}
