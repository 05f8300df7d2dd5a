// SPDX-License-Identifier: MIT OR Apache-2.0
//! The unwinder that the C library loads by itself, as glibc does for `pthread_exit` and for
//! cancellation in programs that do not link one. What it loads so is not found by name.
//!
//! # Safety
//! The types of the table are those of the C library's headers.
#![allow(unsafe_code)] // functions of the C library

use core::ffi::{c_char, c_int, c_void};

crate::arch::upcalls! {
    "needm_loaded_unwinder" => loaded,
}

crate::arch::weak_table!("needm_loader": "dlopen", "dlsym");

/// The table above, in its order.
#[repr(C)]
struct Loader {
    open: Option<unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void>,
    symbol: Option<unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void>,
}

unsafe extern "C" {
    safe static needm_loader: Loader;
}

/// `RTLD_LAZY` and `RTLD_NOLOAD` (dlfcn.h of glibc and musl): only if it is loaded already.
const IF_LOADED: c_int = 1 | 4;

/// The function of this name, or 0. It runs while a thread is being unwound, when the C library
/// has loaded the unwinder and keeps it loaded.
extern "C" fn loaded(name: *const c_char) -> usize {
    let (Some(open), Some(symbol)) = (needm_loader.open, needm_loader.symbol) else { return 0 };
    // SAFETY: both names are C strings, and the handle is one that the loader gave.
    unsafe {
        let library = open(c"libgcc_s.so.1".as_ptr(), IF_LOADED);
        if library.is_null() { 0 } else { symbol(library, name) as usize }
    }
}
