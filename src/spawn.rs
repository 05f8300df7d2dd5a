// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads of our own (newm): a thread that has an M from its start and runs on its G.
//!
//! The host makes it, by its hook; else the system does (`os::thread::start`).
//!
//! # Safety
//! The thread that spawns gives the new one a pointer to its own stack, and waits there
//! until the new one has answered, which then no longer uses it.
#![allow(unsafe_code)] // what one thread hands another

use core::ffi::c_void;
use core::iter::successors;

use crate::abandoned;
use crate::arch;
use crate::call::{Function, PanicInfo};
use crate::callback::ccall;
use crate::error::Error;
use crate::gate;
use crate::needm;
use crate::os;
use crate::os::wait::{wait, wake};
use crate::os::{last_error, thread};
use crate::state::{is_open, settings};
use crate::sync::{AtomicU32, AtomicUsize, Relaxed, SeqCst};
use crate::tls::Tls;

/// Threads that have been made and are not in their callback yet.
static SPAWNING: AtomicUsize = AtomicUsize::new(0);

/// Whether a thread is between its making and its callback.
pub(crate) fn is_under_way() -> bool {
    SPAWNING.load(SeqCst) != 0
}

/// In a forked child: no such thread exists.
pub(crate) fn fork_child(tls: &Tls) {
    SPAWNING.store(0, SeqCst);
    thread::fork_child(tls.address());
}

/// What a thread runs: one callback, which ends the process if a panic ends it.
#[derive(Clone, Copy)]
pub(crate) struct Main {
    pub(crate) function: Function,
    pub(crate) arg: *mut c_void,
    /// What its faults do: bits for `PanicInfo::size`.
    pub(crate) tags: usize,
    /// Called with `arg` when the callback is over and the M is given back.
    pub(crate) over: Option<Function>,
}

/// What `spawn` gives the new thread.
struct Spawned {
    main: Main,
    answer: AtomicU32,
}

/// Makes a thread that runs `main` from birth. If this fails, nothing of `main` was called,
/// and nothing will be.
pub(crate) fn spawn(main: Main) -> Result<(), Error> {
    // The hooks of the new thread would wait for this one to start the world.
    if settings().hooks().any_of_an_m() && gate::owns_the_world() {
        return Err(Error::Busy);
    }
    // First: a callback that was jumped out of may be a handler's, and its M may be the one that the
    // new thread needs.
    let tls = Tls::current();
    abandoned::drop_abandoned(tls, arch::needm_sp());
    if is_open() && is_in_a_handler(tls) {
        return Err(Error::Busy);
    }
    // Before it is seen open: `lifecycle::stop` says that it is closed, then looks for spawned threads.
    SPAWNING.fetch_add(1, SeqCst);
    if !is_open() {
        SPAWNING.fetch_sub(1, SeqCst);
        return Err(Error::NotStarted);
    }
    let spawned = Spawned { main, answer: AtomicU32::new(0) };
    let started = start_thread(&spawned);
    // The new thread takes an M, and what it needs off this stack, before it answers.
    let answer = started.and_then(|()| {
        ccall::wait_off_g(&mut || {
            while spawned.answer.load(SeqCst) == 0 {
                wait(&spawned.answer, 0, None);
            }
        });
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

/// How far a handler's own frames, and those of what it calls, are taken to reach, in bytes.
const FAR: usize = 1 << 18;

/// Whether this thread is in a handler, or in a callback that one has made. `pthread_create` may wait
/// for locks that the interrupted code holds. A handler on the stack of that code which blocks no signal
/// is not seen.
fn is_in_a_handler(tls: &Tls) -> bool {
    let stack = os::fault::handler_stack();
    let on_handler_stack =
        |at| stack.holds(at) || tls.thread().is_some_and(|thread| thread.ready.holds(at));
    let is_handlers = |at: usize| {
        on_handler_stack(at) || os::interrupt::a_handler_seems_to_run(at..at.saturating_add(FAR))
    };
    let ms = successors(needm::current(tls), |m| m.prev_current());
    let callbacks = ms.flat_map(|m| successors(m.segment(), |inner| inner.outer()));
    let mut calls = callbacks.map(|inner| inner.call.load(Relaxed) as usize);
    stack.in_use() || is_handlers(arch::needm_sp()) || calls.any(is_handlers)
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
    let mut main = {
        let attached = crate::attach::attach();
        // Now that `spawn` succeeds, a stop has to wait for the callback.
        set_admitted(true);
        // SAFETY: `spawn` waits until it is answered.
        let spawned = unsafe { &*arg.cast::<Spawned>() };
        let copied = spawned.main;
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
    let mut info = PanicInfo::new();
    info.size |= main.tags;
    let code = loop {
        // SAFETY: `main` and `info` wait here for the callback.
        let code = unsafe {
            let frame = (&raw mut main).cast();
            arch::needm_entry(Some(spawned_callback), frame, 0, (&raw mut info).cast())
        };
        // A stop that meets a thread under way is refused, and opens again at once.
        if code != Error::NotStarted.code() {
            break code;
        }
    };
    if let Some(error) = Error::from_code(code) {
        crate::fatal::throw(format_args!(
            "needm: a spawned thread ended: {error} (signal {}, addr {:#x}, pc {:#x}, value {:p})",
            info.signo, info.addr, info.pc, info.value
        ));
    }
    let _ = crate::attach::detach();
    if let Some(over) = main.over {
        // SAFETY: the caller of `spawn` lets it be called with its argument, once.
        unsafe { over(main.arg) };
    }
    core::ptr::null_mut()
}

/// Has this thread's callback begin also while needm is closing, or no longer.
fn set_admitted(admitted: bool) {
    if let Some(own) = Tls::current().thread() {
        own.set_admitted(admitted);
    }
}

unsafe extern "C" fn spawned_callback(main: *mut c_void) {
    set_admitted(false);
    // From here on `stop` sees a callback.
    SPAWNING.fetch_sub(1, SeqCst);
    // SAFETY: `spawned_main` waits with it.
    let main = unsafe { &*main.cast::<Main>() };
    // SAFETY: the caller of `spawn` lets the function be called with its argument, once.
    unsafe { (main.function)(main.arg) }
}
