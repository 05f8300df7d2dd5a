//! Threads of our own (newm): a thread that has an M from its start and runs on its G.
//!
//! The host makes it, by its hook; else the system does (`os::thread::start`).
//!
//! # Safety
//! The thread that spawns gives the new one a pointer to its own stack, and waits there
//! until the new one has answered, which then no longer uses it.
#![allow(unsafe_code)] // what one thread hands another

use core::ffi::c_void;

use crate::arch;
use crate::call::Function;
use crate::error::Error;
use crate::os::wait::{wait, wake};
use crate::os::{last_error, thread};
use crate::state::{is_open, settings};
use crate::sync::{AtomicU32, AtomicUsize, SeqCst};

/// Threads that have been made and are not in their callback yet.
static SPAWNING: AtomicUsize = AtomicUsize::new(0);

/// Whether a thread is between its making and its callback.
pub(crate) fn is_under_way() -> bool {
    SPAWNING.load(SeqCst) != 0
}

/// In a forked child: no such thread exists.
pub(crate) fn fork_child() {
    SPAWNING.store(0, SeqCst);
    thread::fork_child();
}

/// What `spawn` gives the new thread: one callback, which ends the process if a
/// panic ends it.
struct Spawned {
    run: Run,
    answer: AtomicU32,
}

/// Makes a thread that runs `function(arg)` as a callback from birth.
pub(crate) fn spawn(function: Function, arg: *mut c_void) -> Result<(), Error> {
    if !is_open() {
        return Err(Error::NotStarted);
    }
    SPAWNING.fetch_add(1, SeqCst);
    let spawned = Spawned { run: Run { function, arg }, answer: AtomicU32::new(0) };
    let started = start_thread(&spawned);
    // The new thread takes an M, and what it needs off this stack, before it answers.
    let answer = started.and_then(|()| {
        while spawned.answer.load(SeqCst) == 0 {
            wait(&spawned.answer, 0, None);
        }
        match spawned.answer.load(SeqCst) {
            TAKEN => Ok(()),
            refused => Err(Error::from_code(-refused.cast_signed()).unwrap_or(Error::System)),
        }
    });
    if answer.is_err() {
        SPAWNING.fetch_sub(1, SeqCst);
    }
    answer
}

/// The answer of a spawned thread that runs; any other is an error's number without
/// its sign.
const TAKEN: u32 = u32::MAX;

fn start_thread(spawned: &Spawned) -> Result<(), Error> {
    let arg = core::ptr::from_ref(spawned).cast_mut().cast();
    let hooks = settings().hooks();
    let refused = match hooks.thread_start {
        // SAFETY: the host's own function, as `include/needm.h` says it is called.
        Some(hook) => unsafe { hook(hooks.user, spawned_main, arg) },
        // SAFETY: `spawned_main` is made for this argument, which stays until it answers.
        None => unsafe { thread::start(spawned_main, arg) }.err().unwrap_or(0),
    };
    if refused == 0 {
        return Ok(());
    }
    last_error::set(refused);
    Err(Error::System)
}

unsafe extern "C" fn spawned_main(arg: *mut c_void) -> *mut c_void {
    let mut run = {
        let attached = crate::attach::attach();
        // SAFETY: `spawn` waits until it is answered.
        let spawned = unsafe { &*arg.cast::<Spawned>() };
        let copied = spawned.run;
        let word = core::ptr::from_ref(&spawned.answer);
        let answer = attached.map_or_else(|error| error.code().unsigned_abs(), |()| TAKEN);
        spawned.answer.store(answer, SeqCst);
        // Only its address is used from here on.
        wake(word, 1);
        if attached.is_err() {
            return core::ptr::null_mut();
        }
        copied
    };
    let mut info = crate::call::PanicInfo::new();
    // SAFETY: `run` waits here for the callback.
    let code = unsafe {
        arch::needm_entry(Some(spawned_callback), (&raw mut run).cast(), 0, (&raw mut info).cast())
    };
    if let Some(error) = Error::from_code(code) {
        crate::fatal::throw(format_args!(
            "needm: a spawned thread ended: {error} (signal {}, addr {:#x}, pc {:#x}, value {:p})",
            info.signo, info.addr, info.pc, info.value
        ));
    }
    let _ = crate::attach::detach();
    core::ptr::null_mut()
}

#[derive(Clone, Copy)]
struct Run {
    function: Function,
    arg: *mut c_void,
}

unsafe extern "C" fn spawned_callback(run: *mut c_void) {
    // From here on `stop` sees a callback.
    SPAWNING.fetch_sub(1, SeqCst);
    // SAFETY: `spawned_main` waits with it.
    let run = unsafe { &*run.cast::<Run>() };
    // SAFETY: the caller of `spawn` lets the function be called with its argument, once.
    unsafe { (run.function)(run.arg) }
}
