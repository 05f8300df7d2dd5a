// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads of our own (newm): a thread that has an M from its start and runs on its G.
//!
//! The host makes it, by its hook; else the system does (`os::thread::start`).
//!
//! # Safety
//! The host's hook and the system are given `spawned_main` and what it is made for: a ticket, by
//! which it finds what this thread hands it (`spawn/handover.rs`).
#![allow(unsafe_code)] // what one thread hands another

mod handover;

use core::ffi::c_void;

use crate::abandoned;
use crate::arch;
use crate::attach;
use crate::call::PanicInfo;
use crate::callback::ccall;
use crate::callback::inside::{Mark, inside};
use crate::error::Error;
use crate::gate;
use crate::needm;
use crate::os::{last_error, thread as os_thread};
use crate::spawn::handover::HandOver;
pub(crate) use crate::spawn::handover::{Main, is_under_way};
use crate::state::{is_open, settings};
use crate::thread;
use crate::tls::Tls;

/// In a forked child: no other thread exists.
pub(crate) fn fork_child(tls: &Tls) {
    handover::fork_child(tls.thread());
    os_thread::fork_child(tls.address());
}

/// When needm is stopped: unmaps what the hand-overs were in.
///
/// # Safety
/// needm is stopped, and no other thread is in [`spawn`], but for one that waits for its new thread.
pub(crate) unsafe fn forget_rows() {
    // SAFETY: no other thread is in `offer`, which only `spawn` calls; needm is stopped, by the caller's
    // promise.
    unsafe { handover::forget_rows() };
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
    if !is_open() {
        return Err(Error::NotStarted);
    }
    if abandoned::is_in_a_handler(tls) {
        return Err(Error::Busy);
    }
    let (own, mark) = (thread::record(tls)?, Mark::new());
    let Some(offered) = handover::offer(tls, own, &main, mark.seal())? else {
        return Err(Error::NotStarted);
    };
    // The new thread binds an M before it answers. And what makes it takes locks, of the C library for one: an
    // overflow of the G would leave them held.
    let mut answer = Ok(());
    ccall::wait_off_g(&mut || answer = start_thread(offered).and_then(|()| offered.wait()));
    offered.give_up();
    answer
}

fn start_thread(offered: HandOver) -> Result<(), Error> {
    let arg = core::ptr::without_provenance_mut(offered.ticket());
    let hooks = settings().hooks();
    let refused = match hooks.thread_start {
        // SAFETY: the host's own function, as `include/needm.h` says it is called.
        Some(hook) => unsafe { hook(hooks.user, spawned_main, arg) },
        // SAFETY: `spawned_main` may run on any thread, and takes a ticket, which `arg` is.
        None => unsafe { os_thread::start(spawned_main, arg) }.err().unwrap_or(0),
    };
    if refused == 0 {
        return Ok(());
    }
    last_error::set(refused);
    Err(Error::System)
}

/// What a new thread is in until its callback is over.
struct Begun {
    main: Main,
    offered: HandOver,
}

unsafe extern "C" fn spawned_main(arg: *mut c_void) -> *mut c_void {
    let Some((offered, main)) = handover::take(arg.addr()) else {
        return core::ptr::null_mut();
    };
    // Marked as a call of the host's: its hook may run this in a callback, on the thread that spawns. Then what that
    // thread has stays bound.
    let had_one = inside(|tls| needm::current(tls).is_some());
    let attached = inside(|_| attach::attach());
    // Now that `spawn` succeeds, a stop has to wait for the callback.
    set_admitted(true);
    offered.answer(attached);
    if attached.is_err() {
        return core::ptr::null_mut();
    }
    let mut begun = Begun { main, offered };
    let mut info = PanicInfo::new();
    info.size |= main.tags;
    let code = loop {
        // SAFETY: `begun` and `info` wait here for the callback.
        let code = unsafe {
            let frame = (&raw mut begun).cast();
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
    if !had_one {
        let _ = inside(|_| attach::detach());
    }
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

unsafe extern "C" fn spawned_callback(begun: *mut c_void) {
    set_admitted(false);
    // SAFETY: `spawned_main` waits with it.
    let begun = unsafe { &*begun.cast::<Begun>() };
    // From here on `stop` sees a callback.
    begun.offered.begun();
    // SAFETY: the caller of `spawn` lets the function be called with its argument, once.
    unsafe { (begun.main.function)(begun.main.arg) }
}
