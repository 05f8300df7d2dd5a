// SPDX-License-Identifier: MIT OR Apache-2.0
//! `abort` in a callback, which raises no exception: it calls the C library's handler of `SIGABRT`, if
//! there is one. So needm is that handler, in each C library that is loaded as a DLL when needm starts,
//! and raises an exception of its own, which the vectored handler takes for a fault.
//!
//! A C library forgets its handler before it calls it (Microsoft, "signal"), so that each call
//! installs it again. Until then another thread's `abort` ends the process, as it does without needm.

use core::ffi::{CStr, c_int, c_void};
use core::mem::transmute;
use core::ptr;

use super::last_error;
use super::process;
use super::stack_fields::is_in_callback;
use super::sys::{ExceptionRecord, GetModuleHandleA, GetProcAddress, RaiseException};
use crate::sync::{AtomicUsize, SeqCst};

/// `STATUS_FATAL_APP_EXIT` (ntstatus.h), which C libraries report an abort as.
pub(super) const CODE: u32 = 0x4000_0015;

/// The C libraries' number of it (signal.h).
const SIGABRT: c_int = 22;
/// `SIG_DFL` and `SIG_IGN`.
const DEFAULT: usize = 0;
const IGNORED: usize = 1;
/// `SIG_ERR`.
const REFUSED: usize = usize::MAX;

type Handler = unsafe extern "C" fn(c_int);
type Signal = unsafe extern "C" fn(c_int, usize) -> usize;

/// A C library.
struct Library {
    name: &'static CStr,
    handler: Handler,
    /// Its `signal`, 0 while nothing is installed.
    signal: AtomicUsize,
    /// The handler of before.
    before: AtomicUsize,
}

impl Library {
    const fn new(name: &'static CStr, handler: Handler) -> Self {
        Self { name, handler, signal: AtomicUsize::new(0), before: AtomicUsize::new(DEFAULT) }
    }
}

static LIBRARIES: [Library; 3] = [
    Library::new(c"msvcrt.dll", on_abort::<0>),
    Library::new(c"ucrtbase.dll", on_abort::<1>),
    Library::new(c"ucrtbased.dll", on_abort::<2>),
];

/// Begins to hear of aborts.
pub(super) fn install() {
    for library in &LIBRARIES {
        let signal = last_error::keeping(|| {
            // SAFETY: both names are C strings.
            unsafe {
                let module = GetModuleHandleA(library.name.as_ptr());
                if module.is_null() {
                    return ptr::null_mut();
                }
                GetProcAddress(module, c"signal".as_ptr())
            }
        });
        if signal.is_null() {
            continue;
        }
        let own = library.handler as *const () as usize;
        // SAFETY: it is that function of a C library. The handler lives as long as this library, and
        // `uninstall` takes it out before.
        let before = unsafe { transmute::<*mut c_void, Signal>(signal)(SIGABRT, own) };
        if before != REFUSED && before != own {
            library.before.store(before, SeqCst);
        }
        library.signal.store(signal as usize, SeqCst);
    }
}

/// Undoes [`install`].
pub(super) fn uninstall() {
    for library in &LIBRARIES {
        let signal = library.signal.swap(0, SeqCst);
        if signal == 0 {
            continue;
        }
        let before = library.before.swap(DEFAULT, SeqCst);
        // SAFETY: `install` stored that function, and a handler that the library has given.
        unsafe {
            let signal = transmute::<usize, Signal>(signal);
            let last = signal(SIGABRT, before);
            if last != library.handler as *const () as usize && last != REFUSED {
                // Another one has been installed since.
                signal(SIGABRT, last);
            }
        }
    }
}

/// From the C library number `WHICH`, on the thread that aborts.
unsafe extern "C" fn on_abort<const WHICH: usize>(number: c_int) {
    let library = &LIBRARIES[WHICH];
    let signal = library.signal.load(SeqCst);
    if signal != 0 {
        // SAFETY: `install` stored that function, whose handler this is.
        unsafe {
            transmute::<usize, Signal>(signal)(SIGABRT, library.handler as *const () as usize)
        };
        if is_in_callback() {
            raise();
        }
    }
    // It is not a callback's.
    match library.before.load(SeqCst) {
        DEFAULT => process::abort(),
        IGNORED => {}
        // SAFETY: it is the handler that the library had, which gets what it would have got.
        before => unsafe { transmute::<usize, Handler>(before)(number) },
    }
}

/// By its address in the record, the exception is known to be this one.
static TOKEN: AtomicUsize = AtomicUsize::new(0); // a variable: no constant is at the same place

fn token() -> usize {
    (&raw const TOKEN).expose_provenance()
}

/// Comes back if no callback's code has aborted.
fn raise() {
    let information = token();
    // SAFETY: Windows copies the word.
    unsafe { RaiseException(CODE, 0, 1, &raw const information) };
}

/// Whether this is the exception that [`raise`] raises.
pub(super) fn is_one(record: &ExceptionRecord) -> bool {
    record.code == CODE && record.count == 1 && record.information[0] == token()
}
