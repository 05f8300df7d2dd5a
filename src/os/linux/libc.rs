// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a C library adds, where there is one: keys with destructors, threads,
//! fork handlers, the auxiliary vector, `errno`.
//!
//! The crate must link without any of them, so they are weak references in a
//! table: 0 where the program has none.
//!
//! # Safety
//! The types of the table are those of the C library's headers. What each function is
//! given lives as long as the C library keeps it: this library's code does, because the
//! key is deleted and the fork handlers are dropped before it is unloaded.

use core::ffi::{c_int, c_long, c_uint, c_ulong, c_void};
use core::ptr;

use crate::os::terms::{Main, OnExit};
#[cfg(feature = "freestanding")]
use crate::sync::{AtomicUsize, Relaxed};

crate::arch::weak_table!(
    "needm_libc":
    "pthread_key_create",
    "pthread_key_delete",
    "pthread_setspecific",
    "pthread_create",
    "pthread_detach",
    "__register_atfork",
    "pthread_atfork",
    "getauxval",
    "__errno_location",
    "__libc_current_sigrtmin",
    "__libc_start_main",
    "__libc_init",
);

/// The table above, in its order. `pthread_t` is a word in every C library here.
#[repr(C)]
struct Libc {
    key_create: Option<unsafe extern "C" fn(*mut c_uint, Option<OnExit>) -> c_int>,
    key_delete: Option<unsafe extern "C" fn(c_uint) -> c_int>,
    setspecific: Option<unsafe extern "C" fn(c_uint, *const c_void) -> c_int>,
    create: Option<unsafe extern "C" fn(*mut c_ulong, *const c_void, Main, *mut c_void) -> c_int>,
    detach: Option<unsafe extern "C" fn(c_ulong) -> c_int>,
    atfork: Option<
        unsafe extern "C" fn(
            Option<extern "C" fn()>,
            Option<extern "C" fn()>,
            Option<extern "C" fn()>,
            *mut c_void,
        ) -> c_int,
    >,
    /// musl's only one, which never unloads a library. glibc's shared library does not have it.
    atfork_for_good: Option<
        unsafe extern "C" fn(
            Option<extern "C" fn()>,
            Option<extern "C" fn()>,
            Option<extern "C" fn()>,
        ) -> c_int,
    >,
    getauxval: Option<unsafe extern "C" fn(c_ulong) -> c_ulong>,
    errno: Option<unsafe extern "C" fn() -> *mut c_int>,
    sigrtmin: Option<unsafe extern "C" fn() -> c_int>,
    /// The functions that the start files of glibc and musl, and of bionic, call: every program
    /// with a C library has one of them, even where the linker leaves out everything else.
    started: [usize; 2],
}

unsafe extern "C" {
    safe static needm_libc: Libc;
    /// This library's or program's own handle, by which the C library forgets
    /// its fork handlers when it is unloaded. The linker's start files have it.
    #[link_name = "needm_dso_handle"]
    safe static DSO_HANDLE: *mut c_void;
}

crate::arch::weak_table!("needm_dso_handle": hidden "__dso_handle");

/// Whether there is a C library. Threads are its to make, then.
pub(super) fn is_there() -> bool {
    needm_libc.errno.is_some() || needm_libc.create.is_some() || needm_libc.started != [0; 2]
}

/// The first real-time signal that the C library leaves to programs. It keeps those from 32 on,
/// of which glibc has two, and musl three, to itself; where it cannot be asked, three.
pub(super) fn first_free_signal() -> c_int {
    // SAFETY: the C library's own function, without arguments, which only returns a number.
    needm_libc.sigrtmin.map_or(35, |get| unsafe { get() })
}

/// Whether the C library has keys. Then it has robust mutexes, too, and registers each thread's
/// robust list: glibc as the thread starts, musl with the thread's first robust mutex.
pub(super) fn has_keys() -> bool {
    needm_libc.key_create.is_some() && needm_libc.setspecific.is_some()
}

/// Whether the C library is glibc, or one with glibc's threads: beside those only bionic has
/// `__register_atfork`, and that has `__libc_init`, too.
pub(super) fn is_glibc() -> bool {
    needm_libc.atfork.is_some() && needm_libc.started[1] == 0
}

/// A thread-specific key whose destructor runs as its thread exits.
#[derive(Clone, Copy)]
pub(super) struct Key(c_uint);

/// Makes a key, where there is a C library.
pub(super) fn key_create(destructor: OnExit) -> Option<Key> {
    let (create, _) = needm_libc.key_create.zip(needm_libc.setspecific)?;
    let mut key = 0;
    // SAFETY: the C library writes the key; the destructor lives as long as
    // this library does, and `stop` deletes the key before that ends.
    let refused = unsafe { create(&raw mut key, Some(destructor)) };
    (refused == 0).then_some(Key(key))
}

impl Key {
    /// Sets this thread's value; the destructor is given it if it is not null.
    pub(super) fn set(self, value: *const c_void) -> bool {
        // SAFETY: the key is one of the library's own making; the value is
        // never dereferenced by the C library.
        needm_libc.setspecific.is_some_and(|set| unsafe { set(self.0, value) } == 0)
    }

    /// No destructor of it runs after this.
    pub(super) fn delete(self) {
        if let Some(delete) = needm_libc.key_delete {
            // SAFETY: the key is one of the library's own making.
            unsafe { delete(self.0) };
        }
    }

    /// The number, to keep in an atomic.
    pub(super) fn number(self) -> u32 {
        self.0
    }

    /// The key of a number that [`Key::number`] gave.
    pub(super) fn from_number(number: u32) -> Self {
        Self(number)
    }
}

/// Runs `start(arg)` on a new thread that is not joined; what the C library said, if there
/// is one. A static program may have no function that lets go of a thread: of each one the stack would stay.
///
/// # Safety
/// `start` may be called with `arg` on another thread.
pub(super) unsafe fn spawn(start: Main, arg: *mut c_void) -> Option<Result<(), i32>> {
    let (create, detach) = needm_libc.create.zip(needm_libc.detach)?;
    let mut thread = 0;
    // SAFETY: null attributes are the defaults; the caller lets `start` be called with `arg`.
    let refused = unsafe { create(&raw mut thread, ptr::null(), start, arg) };
    if refused != 0 {
        return Some(Err(refused));
    }
    // SAFETY: the thread has just been made joinable, and no other code knows it.
    unsafe { detach(thread) };
    Some(Ok(()))
}

/// Has `child` called in every child of a fork, where there is a C library.
pub(crate) fn at_fork_in_child(child: extern "C" fn()) {
    if let Some(register) = needm_libc.atfork {
        // SAFETY: the function lives as long as this library, whose handle it
        // is registered under.
        unsafe { register(None, None, Some(child), DSO_HANDLE) };
    } else if let Some(register) = needm_libc.atfork_for_good {
        // SAFETY: the function lives as long as the process.
        unsafe { register(None, None, Some(child)) };
    }
}

// include/uapi/linux/auxvec.h
/// Bytes of a page.
pub(super) const AT_PAGESZ: usize = 6;
/// What a signal's frame needs on this machine; since Linux 5.14.
pub(super) const AT_MINSIGSTKSZ: usize = 51;
/// Where random bytes are, at the upper end of the first thread's stack.
pub(super) const AT_RANDOM: usize = 25;

/// The entries of the auxiliary vector that are asked for, as [`note_auxiliary`] keeps
/// them: what each is called, and its value, 0 where there was none.
#[cfg(feature = "freestanding")]
static NOTED: [(usize, AtomicUsize); 3] = [
    (AT_PAGESZ, AtomicUsize::new(0)),
    (AT_MINSIGSTKSZ, AtomicUsize::new(0)),
    (AT_RANDOM, AtomicUsize::new(0)),
];

/// Notes what matters of the auxiliary vector, for a program without a C library.
#[cfg(feature = "freestanding")]
pub(super) fn note_auxiliary(kind: usize, value: usize) {
    if let Some((_, noted)) = NOTED.iter().find(|(name, _)| *name == kind) {
        noted.store(value, Relaxed);
    }
}

/// What the system has put into this process's auxiliary vector, if the C library or
/// `_start` says so.
pub(super) fn auxiliary(kind: usize) -> Option<usize> {
    let Some(get) = needm_libc.getauxval else {
        #[cfg(feature = "freestanding")]
        return NOTED
            .iter()
            .find(|(name, _)| *name == kind)
            .map(|(_, noted)| noted.load(Relaxed))
            .filter(|value| *value != 0);
        #[cfg(not(feature = "freestanding"))]
        return None;
    };
    // SAFETY: it reads what the C library keeps, and changes nothing but errno, which is
    // put back. The numbers are small ints, which every `unsigned long` holds.
    let answer = keeping_errno(|| unsafe { get(kind as c_ulong) });
    usize::try_from(answer).ok().filter(|value| *value != 0)
}

fn errno() -> Option<*mut c_int> {
    // SAFETY: gives this thread's own errno.
    needm_libc.errno.map(|location| unsafe { location() })
}

/// Sets `errno`, where there is one.
pub(crate) fn set_errno(value: i32) {
    if let Some(errno) = errno() {
        // SAFETY: it is this thread's own int.
        unsafe { errno.write(value) };
    }
}

/// Runs `work` and leaves `errno` as it was.
pub(crate) fn keeping_errno<R>(work: impl FnOnce() -> R) -> R {
    let errno = errno();
    // SAFETY: it is this thread's own int, which lives as long as the thread.
    let before = errno.map(|errno| unsafe { errno.read() });
    let result = work();
    if let Some((errno, before)) = errno.zip(before) {
        // SAFETY: it is this thread's own int, which lives as long as the thread.
        unsafe { errno.write(before) };
    }
    result
}

const _: () = assert!(size_of::<c_long>() == size_of::<usize>());
