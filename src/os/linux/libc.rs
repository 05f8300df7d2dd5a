//! What a C library adds, where there is one: keys with destructors, threads,
//! fork handlers, the auxiliary vector, `errno`.
//!
//! The crate must link without any of them, so they are weak references in a
//! table: 0 where the program has none.

use core::ffi::{c_int, c_long, c_uint, c_ulong, c_void};
use core::ptr;

#[cfg(feature = "freestanding")]
use crate::sync::{AtomicUsize, Relaxed};

crate::arch::weak_table!(
    "needm_host":
    "pthread_key_create",
    "pthread_key_delete",
    "pthread_setspecific",
    "pthread_create",
    "pthread_detach",
    "__register_atfork",
    "pthread_atfork",
    "getauxval",
    "__errno_location",
    "__libc_start_main",
    "__libc_init",
);

type Destructor = unsafe extern "C" fn(*mut c_void);
type Start = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

/// The table above, in its order. `pthread_t` is a word in every C library here.
#[repr(C)]
struct Host {
    key_create: Option<unsafe extern "C" fn(*mut c_uint, Option<Destructor>) -> c_int>,
    key_delete: Option<unsafe extern "C" fn(c_uint) -> c_int>,
    setspecific: Option<unsafe extern "C" fn(c_uint, *const c_void) -> c_int>,
    create: Option<unsafe extern "C" fn(*mut c_ulong, *const c_void, Start, *mut c_void) -> c_int>,
    detach: Option<unsafe extern "C" fn(c_ulong) -> c_int>,
    atfork: Option<
        unsafe extern "C" fn(
            Option<extern "C" fn()>,
            Option<extern "C" fn()>,
            Option<extern "C" fn()>,
            *mut c_void,
        ) -> c_int,
    >,
    /// Of musl, which has no other, and unloads no library: glibc's is not in its shared
    /// library.
    atfork_for_good: Option<
        unsafe extern "C" fn(
            Option<extern "C" fn()>,
            Option<extern "C" fn()>,
            Option<extern "C" fn()>,
        ) -> c_int,
    >,
    getauxval: Option<unsafe extern "C" fn(c_ulong) -> c_ulong>,
    errno: Option<unsafe extern "C" fn() -> *mut c_int>,
    /// What the start files of glibc and musl go on in, and those of bionic: every
    /// program with a C library has one, also where the linker leaves out all else.
    started: [usize; 2],
}

unsafe extern "C" {
    safe static needm_host: Host;
    /// This library's or program's own handle, by which the C library forgets
    /// its fork handlers when it is unloaded. The linker's start files have it.
    #[link_name = "needm_dso_handle"]
    safe static DSO_HANDLE: *mut c_void;
}

crate::arch::weak_table!("needm_dso_handle": hidden "__dso_handle");

/// Whether there is a C library. Threads are its to make, then.
pub(crate) fn is_there() -> bool {
    needm_host.errno.is_some() || needm_host.create.is_some() || needm_host.started != [0; 2]
}

/// A thread-specific key whose destructor runs as its thread ends.
#[derive(Clone, Copy)]
pub(crate) struct Key(c_uint);

/// Makes a key, where the host has them.
pub(crate) fn key_create(destructor: Destructor) -> Option<Key> {
    let (create, _) = needm_host.key_create.zip(needm_host.setspecific)?;
    let mut key = 0;
    // SAFETY: the C library writes the key; the destructor lives as long as
    // this library does, and `stop` deletes the key before that ends.
    let refused = unsafe { create(&raw mut key, Some(destructor)) };
    (refused == 0).then_some(Key(key))
}

impl Key {
    /// Sets this thread's value; the destructor is given it if it is not null.
    pub(crate) fn set(self, value: *const c_void) -> bool {
        // SAFETY: the key is one of the library's own making; the value is
        // never dereferenced by the C library.
        needm_host.setspecific.is_some_and(|set| unsafe { set(self.0, value) } == 0)
    }

    /// No destructor of it runs after this.
    pub(crate) fn delete(self) {
        if let Some(delete) = needm_host.key_delete {
            // SAFETY: the key is one of the library's own making.
            unsafe { delete(self.0) };
        }
    }

    /// The number, to keep in an atomic.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// The key of a number that [`Key::number`] gave.
    pub(crate) fn from_number(number: u32) -> Self {
        Self(number)
    }
}

/// Runs `start(arg)` on a new thread that nobody joins; what the C library said.
pub(crate) fn spawn(start: Start, arg: *mut c_void) -> Option<Result<(), i32>> {
    let create = needm_host.create?;
    let mut thread = 0;
    // SAFETY: null attributes are the defaults; the caller vouches for the rest.
    let refused = unsafe { create(&raw mut thread, ptr::null(), start, arg) };
    if refused != 0 {
        return Some(Err(refused));
    }
    if let Some(detach) = needm_host.detach {
        // SAFETY: the thread has just been made, and nobody else knows it.
        unsafe { detach(thread) };
    }
    Some(Ok(()))
}

/// Has `child` called in every child of a fork, where the host can.
pub(crate) fn at_fork_in_child(child: extern "C" fn()) {
    if let Some(register) = needm_host.atfork {
        // SAFETY: the function lives as long as this library, whose handle it
        // is registered under.
        unsafe { register(None, None, Some(child), DSO_HANDLE) };
    } else if let Some(register) = needm_host.atfork_for_good {
        // SAFETY: the function lives as long as the process.
        unsafe { register(None, None, Some(child)) };
    }
}

const AT_MINSIGSTKSZ: c_ulong = 51;

/// What a program without a C library was told of it.
#[cfg(feature = "freestanding")]
static NOTED: AtomicUsize = AtomicUsize::new(0);

/// Notes what matters of the auxiliary vector.
#[cfg(feature = "freestanding")]
pub(crate) fn note_auxiliary(kind: usize, value: usize) {
    if kind as c_ulong == AT_MINSIGSTKSZ {
        NOTED.store(value, Relaxed);
    }
}

/// What a signal frame needs on this machine, if the kernel said so at the
/// program's start: `AT_MINSIGSTKSZ` (include/uapi/linux/auxvec.h).
pub(crate) fn min_signal_stack() -> Option<usize> {
    let Some(get) = needm_host.getauxval else {
        #[cfg(feature = "freestanding")]
        return Some(NOTED.load(Relaxed)).filter(|size| *size != 0);
        #[cfg(not(feature = "freestanding"))]
        return None;
    };
    // SAFETY: a question without side effects but errno, which is put back.
    let answer = keeping_errno(|| unsafe { get(AT_MINSIGSTKSZ) });
    usize::try_from(answer).ok().filter(|size| *size != 0)
}

fn errno() -> Option<*mut c_int> {
    // SAFETY: gives this thread's own errno.
    needm_host.errno.map(|location| unsafe { location() })
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
    // SAFETY: it is this thread's own int, here and below.
    let before = errno.map(|errno| unsafe { errno.read() });
    let result = work();
    if let Some((errno, before)) = errno.zip(before) {
        // SAFETY: as above.
        unsafe { errno.write(before) };
    }
    result
}

const _: () = assert!(size_of::<c_long>() == size_of::<usize>());
