//! Callbacks, as the host makes them.

use super::case::use_m;
use crate::arch::needm_entry;
use crate::tls::Tls;
use core::ffi::c_void;
use core::ptr;

/// Calls back: `work` runs on a G. Whether it did.
pub(super) fn call_back<W: FnMut()>(mut work: W) -> bool {
    unsafe extern "C" fn run<W: FnMut()>(work: *mut c_void) {
        // SAFETY: `call_back` gives its own work, and waits.
        let work = unsafe { &mut *work.cast::<W>() };
        work();
    }
    // SAFETY: the function may be called with the work, which waits here.
    let code = unsafe { needm_entry(Some(run::<W>), (&raw mut work).cast(), 0, ptr::null_mut()) };
    code == 0
}

/// In a callback: uses the stack of the M that this thread has.
pub(super) fn use_own_m() {
    use_m(Tls::current().m().expect("a callback has an M"));
}
