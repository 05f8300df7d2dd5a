// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's hooks, and the value that each M carries for them.
//!
//! # Safety
//! Hooks are kept as untyped pointers beside functions that were made for their
//! type; both come from one call of [`start_with`]. What an M carries is set here and nowhere
//! else while such hooks are in force.
#![allow(unsafe_code)] // pointers back to what they were made from

use core::any::TypeId;
use core::ffi::{c_int, c_void};
use core::marker::PhantomData;
use core::{mem, ptr};

use crate::api::config::Config;
use crate::api::error::Fault;
use crate::api::m::M;
use crate::call::PanicInfo;
use crate::callback::inside::inside;
use crate::error::Error;
use crate::os;
use crate::os::wait::{wait, wake};
use crate::settings::{self, Answer, ThreadMain};
use crate::sync::{AtomicU32, SeqCst};
use crate::thread::left_behind::expect_safe_calls;
use crate::{lifecycle, m, state};

/// A hook's answer that it will not have this M; see [`Hooks`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// What becomes of a fault; see [`Hooks::fault`], also for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultAnswer {
    /// It ends the callback with an error. A fault of one of [`callback`](crate::callback())'s
    /// goes to the handler of before instead.
    End,
    /// The callback goes on, with the registers that the context says.
    Resume,
    /// It goes to the handler that was there before needm.
    Forward,
}

/// Called when an M is created, bound to a thread, unbound, and destroyed; and the type of a
/// value that each M carries. Only the trait sets it, and
/// [`Context::local`](crate::Context::local) finds it.
///
/// `m_new` runs where an M is made: in [`start_with`], on a G, in [`attach`](crate::attach), or
/// where a thread finds no M for long. `minit` and `unminit` run on the thread's own stack;
/// `unminit` on another thread's if this one has exited without giving its M back. A hook that
/// panics aborts the process. The hooks must make no callbacks themselves: the safe ones
/// are refused ([`Error::Busy`](crate::Error::Busy)). Nor may they have a coroutine go on that is in one:
/// if a safe one ends in the hook, that aborts the process.
///
/// In `m_new` outside callbacks, in `minit` and in `unminit`, [`attach`](crate::attach), [`detach`](crate::detach)
/// and [`stop`](crate::stop) are [`Error::Busy`](crate::Error::Busy): their thread is just binding or unbinding an M.
///
/// `m_new`, `minit` and `unminit` run when callback code may run: while another thread has the
/// world stopped they wait, and with them [`attach`](crate::attach), [`detach`](crate::detach) and
/// the exit of a thread. A thread that stops the world waits for a hook under way. `m_free` runs in
/// [`stop`](crate::stop), when no callback code runs.
///
/// ```
/// struct Runtime;
///
/// impl needm::Hooks for Runtime {
///     type Local = u64;
///     fn m_new(&self, m: &needm::M) -> Result<Option<&'static u64>, needm::Refused> {
///         if m.id() > 2 { Err(needm::Refused) } else { Ok(Some(Box::leak(Box::new(m.id())))) }
///     }
/// }
///
/// static RUNTIME: Runtime = Runtime;
/// needm::start_with(needm::Config::default(), &RUNTIME)?;
/// assert_eq!(needm::callback(|cx| cx.local::<Runtime>().copied())?, Some(1));
/// needm::stop()?;
/// let three = needm::Config { seed_ms: 3, ..needm::Config::default() };
/// assert_eq!(needm::start_with(three, &RUNTIME), Err(needm::Error::NoMemory));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Hooks: Sync + 'static {
    /// What each M carries.
    type Local: Sync + 'static;

    /// A new M exists; what it is to carry.
    ///
    /// # Errors
    /// [`Refused`]: the M is destroyed again.
    fn m_new(&self, m: &M) -> Result<Option<&'static Self::Local>, Refused>;

    /// The M is about to be destroyed.
    fn m_free(&self, m: &M, local: Option<&'static Self::Local>) {
        let _ = (m, local);
    }

    /// The M was just bound to this thread.
    fn minit(&self, m: &M, local: Option<&'static Self::Local>) {
        let _ = (m, local);
    }

    /// The M is about to be unbound from this thread, or from one that has exited. A stop calls it for the Ms of the
    /// thread that stops, and not for those that other threads still hold: of them only `m_free` is called.
    fn unminit(&self, m: &M, local: Option<&'static Self::Local>) {
        let _ = (m, local);
    }

    /// A callback on this thread has faulted, or its stack has run out: what becomes of it. By
    /// default it ends the callback, or, in one of [`callback`](crate::callback())'s, goes to the
    /// handler of before.
    ///
    /// `context` is the system's `ucontext_t` of the code that faulted; the hook may change it
    /// before it answers [`FaultAnswer::Resume`].
    ///
    /// # Safety
    /// For the caller: it is in the handler of a fault of the callback that `m` runs, and
    /// `context` is that handler's.
    ///
    /// For the implementation: it runs in a signal handler, on the signal stack, of which it may
    /// use 2 KiB if the thread brought its own, and has interrupted any instruction of the
    /// callback. So it only calls what a signal handler may call: it does not allocate, lock,
    /// panic or call back. With [`FaultAnswer::Resume`] it promises that the callback can go on
    /// as if it had not been interrupted.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    ///
    /// struct Barrier;
    /// static CLOSED: AtomicUsize = AtomicUsize::new(0); // a page that must not be written yet
    /// # unsafe extern "C" { fn mprotect(at: *mut u8, len: usize, prot: i32) -> i32; }
    ///
    /// impl needm::Hooks for Barrier {
    ///     type Local = ();
    ///     fn m_new(&self, _: &needm::M) -> Result<Option<&'static ()>, needm::Refused> {
    ///         Ok(None)
    ///     }
    ///     unsafe fn fault(
    ///         &self,
    ///         _: &needm::M,
    ///         _: Option<&'static ()>,
    ///         fault: &needm::Fault,
    ///         _: *mut std::ffi::c_void,
    ///     ) -> needm::FaultAnswer {
    ///         let page = CLOSED.load(Relaxed);
    ///         if fault.addr & !4095 != page {
    ///             return needm::FaultAnswer::End;
    ///         }
    ///         // SAFETY: it is this program's page; a write to it is what the callback is after.
    ///         unsafe { mprotect(page as *mut u8, 4096, 3) };
    ///         needm::FaultAnswer::Resume
    ///     }
    /// }
    ///
    /// # #[repr(align(65536))]
    /// # struct Pages([u8; 65536]);
    /// # let mut pages = Box::new(Pages([0; 65536]));
    /// # let page: *mut u8 = pages.0.as_mut_ptr();
    /// static BARRIER: Barrier = Barrier;
    /// needm::start_with(needm::Config::default(), &BARRIER)?;
    /// CLOSED.store(page as usize, Relaxed);
    /// # unsafe { mprotect(page, 4096, 1) };
    /// let page = page as usize;
    /// // SAFETY: no frame of the callback holds anything.
    /// unsafe { needm::callback_catching_faults(|_| (page as *mut u8).write_volatile(7)) }?;
    /// assert_eq!(pages.0[0], 7);
    /// # needm::stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    unsafe fn fault(
        &self,
        m: &M,
        local: Option<&'static Self::Local>,
        fault: &Fault,
        context: *mut c_void,
    ) -> FaultAnswer {
        let _ = (m, local, fault, context);
        FaultAnswer::End
    }

    /// Makes a thread that runs `start`; by default the C library does.
    ///
    /// # Errors
    /// The system's error number. It counts only if `start` is dropped: if another thread runs
    /// it in spite of the error, the thread has been made.
    fn thread_start(&self, start: Start) -> Result<(), i32> {
        start.by_the_c_library()
    }
}

/// What a new thread is to run: once, with [`Start::run`]. If it is dropped, no thread has been
/// made. [`spawn`](crate::spawn) waits until one of the two has happened.
///
/// ```
/// struct Runtime;
///
/// impl needm::Hooks for Runtime {
///     type Local = ();
///     fn m_new(&self, _: &needm::M) -> Result<Option<&'static ()>, needm::Refused> {
///         Ok(None)
///     }
///     fn thread_start(&self, start: needm::Start) -> Result<(), i32> {
///         std::thread::spawn(move || start.run());
///         Ok(())
///     }
/// }
///
/// static RUNTIME: Runtime = Runtime;
/// needm::start_with(needm::Config::default(), &RUNTIME)?;
/// let (send, receive) = std::sync::mpsc::channel();
/// needm::spawn(move || send.send(42).expect("the receiver waits"))?;
/// assert_eq!(receive.recv()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the thread is not made if this is dropped"]
pub struct Start {
    main: ThreadMain,
    arg: *mut c_void,
    /// [`UNUSED`] until it is run or dropped. In a frame that waits for that.
    fate: *const AtomicU32,
}

/// `EAGAIN`, with which C libraries refuse a thread.
const NO_THREADS: i32 = 11;

const UNUSED: u32 = 0;
const RUN: u32 = 1;
const DROPPED: u32 = 2;

// SAFETY: it is made to be run on another thread, which is all it can do there.
unsafe impl Send for Start {}

impl Start {
    /// Runs it; returns when the thread may end.
    pub fn run(self) {
        self.end(RUN);
        let (main, arg) = (self.main, self.arg);
        mem::forget(self);
        // SAFETY: `spawn` gave both, and waits for an answer from `main`, which runs only once,
        // since `self` is used up.
        unsafe { main(arg) };
    }

    /// Says what has become of it. The frame may be gone afterwards.
    fn end(&self, fate: u32) {
        // SAFETY: `thread_start` waits until this is not `UNUSED`.
        unsafe { &*self.fate }.store(fate, SeqCst);
        // Only the address is used from here on.
        wake(self.fate, 1);
    }

    fn by_the_c_library(self) -> Result<(), i32> {
        // SAFETY: `spawn` gave both for a new thread, and `self` is used up.
        let made = unsafe { os::thread::start(self.main, self.arg) };
        if made.is_ok() {
            self.end(RUN);
            mem::forget(self);
        }
        made
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        self.end(DROPPED);
    }
}

/// Starts needm with hooks. They are called until [`stop`](crate::stop). See [`Hooks`] for an
/// example.
///
/// # Errors
/// As for [`start`](crate::start); [`Error::NoMemory`] also if [`Hooks::m_new`] refuses one of
/// the Ms that are made at once.
pub fn start_with<H: Hooks>(config: Config, hooks: &'static H) -> Result<(), Error> {
    let mut settings = config.settings()?;
    settings.hooks = settings::Hooks {
        user: ptr::from_ref(hooks).cast_mut().cast(),
        kind: Some(TypeId::of::<H>),
        m_new: Some(Thunks::<H>::m_new),
        m_free: Some(Thunks::<H>::m_free),
        minit: Some(Thunks::<H>::minit),
        unminit: Some(Thunks::<H>::unminit),
        thread_start: Some(Thunks::<H>::thread_start),
        fault: Some(Thunks::<H>::fault),
    };
    expect_safe_calls();
    inside(|_| lifecycle::start(settings))
}

/// The value that `m` carries for hooks of this type, if needm was started with such.
pub(super) fn local<H: Hooks>(m: &m::M) -> Option<&'static H::Local> {
    let kind = state::settings().hooks().kind;
    let same = kind.is_some_and(|kind| kind() == TypeId::of::<H>());
    // SAFETY: with hooks of this type in force, `m` was made by `Thunks::m_new`, which has set
    // this, and nothing else of the Rust interface can.
    if same { unsafe { m.local().cast::<H::Local>().as_ref() } } else { None }
}

struct Thunks<H>(PhantomData<H>);

impl<H: Hooks> Thunks<H> {
    /// # Safety
    /// `user` is what [`start_with`] gave for hooks of type `H`, and `m` is an M that is not
    /// destroyed while this is in use.
    unsafe fn both<'a>(user: *mut c_void, m: *const m::M) -> (&'static H, &'a m::M) {
        // SAFETY: `user` was made from a `&'static H`; an M is a row that stays where it is.
        unsafe { (&*user.cast::<H>(), &*m) }
    }

    unsafe extern "C" fn m_new(user: *mut c_void, m: *const m::M) -> c_int {
        // SAFETY: `settings::Hooks` calls this with the pointer that stands beside it.
        let (hooks, m) = unsafe { Self::both(user, m) };
        // What an earlier start has left is of another type, perhaps.
        m.set_local(ptr::null_mut());
        match hooks.m_new(&M::of(m)) {
            Ok(local) => {
                m.set_local(local.map_or(ptr::null_mut(), |l| ptr::from_ref(l).cast_mut().cast()));
                0
            }
            Err(Refused) => -1,
        }
    }

    unsafe extern "C" fn m_free(user: *mut c_void, m: *const m::M) {
        // SAFETY: `settings::Hooks` calls this with the pointer that stands beside it.
        let (hooks, m) = unsafe { Self::both(user, m) };
        hooks.m_free(&M::of(m), local::<H>(m));
    }

    unsafe extern "C" fn minit(user: *mut c_void, m: *const m::M) {
        // SAFETY: `settings::Hooks` calls this with the pointer that stands beside it.
        let (hooks, m) = unsafe { Self::both(user, m) };
        hooks.minit(&M::of(m), local::<H>(m));
    }

    unsafe extern "C" fn unminit(user: *mut c_void, m: *const m::M) {
        // SAFETY: `settings::Hooks` calls this with the pointer that stands beside it.
        let (hooks, m) = unsafe { Self::both(user, m) };
        hooks.unminit(&M::of(m), local::<H>(m));
    }

    unsafe extern "C" fn fault(
        user: *mut c_void,
        m: *const m::M,
        info: *const PanicInfo,
        context: *mut c_void,
    ) -> c_int {
        // SAFETY: `settings::AskHost` calls this with the pointer that stands beside it, and with
        // what it has on its stack.
        let ((hooks, m), info) = unsafe { (Self::both(user, m), &*info) };
        let fault = Fault { signo: info.signo, code: info.code, addr: info.addr, pc: info.pc };
        // SAFETY: this is in the handler of a fault of the callback on `m`.
        let answer = unsafe { hooks.fault(&M::of(m), local::<H>(m), &fault, context) };
        match answer {
            FaultAnswer::End => Answer::End as c_int,
            FaultAnswer::Resume => Answer::Resume as c_int,
            FaultAnswer::Forward => Answer::Forward as c_int,
        }
    }

    unsafe extern "C" fn thread_start(
        user: *mut c_void,
        main: ThreadMain,
        arg: *mut c_void,
    ) -> c_int {
        // SAFETY: `user` was made from a `&'static H` by `start_with`.
        let hooks = unsafe { &*user.cast::<H>() };
        let fate = AtomicU32::new(UNUSED);
        let answer = hooks.thread_start(Start { main, arg, fate: &raw const fate });
        // Whatever the hook says: a thread that has `start` may still run it, and needs what
        // `arg` leads to.
        while fate.load(SeqCst) == UNUSED {
            wait(&fate, UNUSED, None);
        }
        match fate.load(SeqCst) {
            RUN => 0,
            _ => answer.err().filter(|errno| *errno != 0).unwrap_or(NO_THREADS),
        }
    }
}
