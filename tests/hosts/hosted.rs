//! What the bodies of `bodies.rs` need of a host, where there is a C library.
//!
//! # Safety
//! Threads are made with pthreads and detached. What a thread is given is leaked, so it
//! outlives the thread and all code that reads its thread ID.

use std::ffi::c_void;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::time::Duration;
use std::{env, fmt, fs, process, ptr};

pub(crate) use std::thread::sleep;

pub(crate) const HAS_C_LIBRARY: bool = true;

pub(crate) fn is_emulated() -> bool {
    env::var_os("NEEDM_RUNNER").is_some()
}

pub(crate) fn print(message: fmt::Arguments<'_>) {
    eprintln!("{message}");
}

pub(crate) fn fail() -> ! {
    process::exit(1)
}

/// Ends this thread at once, by the raw system call, of which the C library does not learn.
pub(crate) fn exit_thread() -> ! {
    // SAFETY: it ends this thread and frees nothing, so what others read of its stack stays.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    fail()
}

/// A thread of a body.
pub(crate) struct Foreign {
    shared: &'static Shared,
}

struct Shared {
    function: fn(usize),
    arg: usize,
    tid: AtomicI32,
}

extern "C" fn run(shared: *mut c_void) -> *mut c_void {
    // SAFETY: `foreign` passed a leaked `Shared`, which is never freed.
    let shared = unsafe { &*shared.cast::<Shared>() };
    // SAFETY: gettid takes nothing and touches no memory.
    shared.tid.store(unsafe { libc::gettid() }, SeqCst);
    (shared.function)(shared.arg);
    ptr::null_mut()
}

/// Runs `function(arg)` on a thread of the C library.
pub(crate) fn foreign(function: fn(usize), arg: usize) -> Foreign {
    let shared: &'static Shared =
        Box::leak(Box::new(Shared { function, arg, tid: AtomicI32::new(0) }));
    // Small stacks, because the C library never frees those of threads that exit raw.
    // SAFETY: the attributes are initialised before they are used and live to the end of the
    // block; the thread gets a leaked `Shared`; it is detached once and not named again.
    unsafe {
        let mut attributes = std::mem::zeroed();
        let mut thread = std::mem::zeroed();
        libc::pthread_attr_init(&raw mut attributes);
        libc::pthread_attr_setstacksize(&raw mut attributes, 128 * 1024);
        let arg = ptr::from_ref(shared).cast_mut().cast();
        let made = libc::pthread_create(&raw mut thread, &raw const attributes, run, arg);
        assert_eq!(made, 0);
        libc::pthread_detach(thread);
    }
    Foreign { shared }
}

impl Foreign {
    /// Waits until it has exited, in whichever way.
    pub(crate) fn join(self) {
        loop {
            let tid = self.shared.tid.load(SeqCst);
            // SAFETY: signal 0 is not delivered: the call only says whether the thread exists.
            let answer = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, 0) };
            if tid != 0 && answer != 0 {
                return;
            }
            sleep(Duration::from_micros(100));
        }
    }
}

/// Mappings of this process.
pub(crate) fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").map_or(0, |maps| maps.lines().count())
}
