//! Callbacks as closures.
//!
//! # Safety
//! A closure and the place for its result stand in the frame of the function that
//! waits for it; the untyped functions below get exactly that frame.
#![allow(unsafe_code)] // frames as untyped pointers

use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr;

use crate::api::config::{self, Hooks};
use crate::api::error::CallbackError;
use crate::api::panics as caught;
use crate::arch;
use crate::attach as attaching;
use crate::call::{Function, PanicInfo};
use crate::callback::{ccall, defer, panic as panics};
use crate::error::Error;
use crate::m::M;
use crate::os::wait::{wait, wake};
use crate::reconcile;
use crate::sync::{AtomicU32, SeqCst};

/// The inside of a callback. `'scope` is the callback's own time, deferred functions
/// included; what they use must outlive it, and so cannot be the callback's locals.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// let id = needm::callback(|cx| cx.m().map(|m| m.id()))?;
/// assert_eq!(id, Some(1));
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Context<'scope, 'env: 'scope> {
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
    /// Not for another thread.
    here: PhantomData<*mut ()>,
}

/// Runs `f` on this thread's G.
///
/// It nests: inside, [`Context::ccall`] runs code on the thread's own stack, which may
/// call back again.
///
/// A fault, an overflow or [`panic()`] in `f` skips the frames between there and here as
/// `longjmp` would: their destructors do not run. Do not keep on them what must be
/// dropped for safety's sake, a scope of threads for example. With the feature `std` a
/// Rust panic unwinds those frames as always and is returned.
///
/// # Errors
/// [`CallbackError`] says how it ended, if not by returning.
///
/// ```
/// needm::start(needm::Config::default())?;
/// assert_eq!(needm::callback(|_| 6 * 7)?, 42);
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn callback<'env, F, R>(f: F) -> Result<R, CallbackError>
where
    F: for<'scope> FnOnce(&'scope Context<'scope, 'env>) -> R,
{
    struct Frame<F, R> {
        function: Option<F>,
        result: Option<caught::Caught<R>>,
    }
    unsafe extern "C" fn run<'env, F, R>(frame: *mut c_void)
    where
        F: for<'scope> FnOnce(&'scope Context<'scope, 'env>) -> R,
    {
        // SAFETY: `callback` waits with just this frame.
        let frame = unsafe { &mut *frame.cast::<Frame<F, R>>() };
        if let Some(function) = frame.function.take() {
            let cx = Context { scope: PhantomData, env: PhantomData, here: PhantomData };
            frame.result = Some(caught::catch(|| function(&cx)));
        }
    }
    let mut frame = Frame { function: Some(f), result: None };
    let mut info = PanicInfo::new();
    let mark = caught::mark();
    // SAFETY: `run` is for this frame, which waits here, as `info` does.
    let code = unsafe {
        let frame = (&raw mut frame).cast();
        arch::needm_entry(Some(run::<F, R> as Function), frame, 0, (&raw mut info).cast())
    };
    let result = frame.result.take();
    if code == 0 {
        caught::forget(mark);
        return match result {
            Some(caught) => caught.map_err(caught::into_error),
            None => Err(CallbackError::Recovered),
        };
    }
    Err(caught::take(mark, info.value).unwrap_or_else(|| CallbackError::new(code, &info)))
}

impl<'scope, 'env> Context<'scope, 'env> {
    /// Runs `f` on the thread's own stack, out of the world.
    ///
    /// # Errors
    /// [`Error::Invalid`] off the callback's G: in a `ccall` of its own.
    ///
    /// ```
    /// # needm::start(needm::Config::default())?;
    /// let nested = needm::callback(|cx| {
    ///     // On the thread's own stack, as C would be: it may call back again.
    ///     cx.ccall(|| needm::callback(|_| 6 * 7))
    /// })???;
    /// assert_eq!(nested, 42);
    /// # needm::stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ccall<F, R>(&self, f: F) -> Result<R, Error>
    where
        F: FnOnce() -> R,
    {
        struct Frame<F, R> {
            function: Option<F>,
            result: Option<caught::Caught<R>>,
        }
        unsafe extern "C" fn run<F: FnOnce() -> R, R>(frame: *mut c_void) {
            // SAFETY: `ccall` waits with just this frame.
            let frame = unsafe { &mut *frame.cast::<Frame<F, R>>() };
            frame.result = frame.function.take().map(caught::catch);
        }
        let mut frame = Frame { function: Some(f), result: None };
        ccall::ccall(run::<F, R>, (&raw mut frame).cast())?;
        frame.result.take().map(caught::resume).ok_or(Error::Invalid)
    }

    /// Has `f` run when the callback ends, however it does; last in, first out.
    ///
    /// # Errors
    /// [`Error::NoMemory`]: [`MAX_DEFERRED`](crate::MAX_DEFERRED) are pending on this G.
    ///
    /// ```
    /// # use core::cell::Cell;
    /// # needm::start(needm::Config::default())?;
    /// let ended = Cell::new(false);
    /// let end = |_: &needm::Deferred| ended.set(true);
    /// needm::callback(|cx| cx.defer(&end))??;
    /// assert!(ended.get());
    /// # needm::stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn defer<F>(&self, f: &'scope F) -> Result<(), Error>
    where
        F: Fn(&Deferred),
    {
        unsafe extern "C" fn run<F: Fn(&Deferred)>(f: *mut c_void) {
            // SAFETY: `defer` gave a reference that lives for the callback's time.
            let f = unsafe { &*f.cast::<F>() };
            let deferred = Deferred { here: PhantomData };
            if let Err(caught) = caught::catch(|| f(&deferred)) {
                caught::replace(caught);
            }
        }
        defer::defer(run::<F>, ptr::from_ref(f).cast_mut().cast())
    }

    /// The M that runs this callback.
    ///
    /// ```
    /// # needm::start(needm::Config::default())?;
    /// needm::callback(|cx| {
    ///     let (lo, hi) = cx.m().expect("a callback has one").g_bounds();
    ///     let here = &raw const lo as usize;
    ///     assert!((lo..hi).contains(&here)); // on the M's own stack
    /// })?;
    /// # needm::stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn m(&self) -> Option<&'scope M> {
        reconcile::current_m()
    }

    /// The value that its M carries, if the kernel was started with hooks of this type.
    ///
    /// ```
    /// # struct Runtime;
    /// # impl needm::Hooks for Runtime {
    /// #     type Local = String;
    /// #     fn m_new(&self, m: &needm::M) -> Result<Option<&'static String>, needm::Refused> {
    /// #         Ok(Some(Box::leak(Box::new(format!("M {}", m.id())))))
    /// #     }
    /// # }
    /// # static RUNTIME: Runtime = Runtime;
    /// needm::start_with(needm::Config::default(), &RUNTIME)?;
    /// let own = needm::callback(|cx| cx.local::<Runtime>().cloned())?;
    /// assert_eq!(own.as_deref(), Some("M 1"));
    /// # needm::stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn local<H: Hooks>(&self) -> Option<&'static H::Local> {
        reconcile::current_m().and_then(config::local::<H>)
    }
}

/// The inside of a deferred function.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// let found = std::cell::Cell::new(None);
/// let recover = |deferred: &needm::Deferred| found.set(deferred.recover());
/// let ended: Result<(), _> = needm::callback(|cx| {
///     cx.defer(&recover).expect("there is room");
///     needm::panic(std::ptr::without_provenance_mut(7))
/// });
/// assert!(matches!(ended, Err(needm::CallbackError::Recovered)));
/// assert_eq!(found.get().map(|info| info.value.addr()), Some(7));
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Deferred {
    here: PhantomData<*mut ()>,
}

impl Deferred {
    /// Stops the panic that runs this function, if there is one; what it was.
    ///
    /// ```
    /// # needm::start(needm::Config::default())?;
    /// let found = std::cell::Cell::new(None);
    /// let recover = |deferred: &needm::Deferred| found.set(deferred.recover());
    /// let ended: Result<(), _> = needm::callback(|cx| {
    ///     cx.defer(&recover).expect("there is room");
    ///     needm::panic(std::ptr::without_provenance_mut(7))
    /// });
    /// assert!(matches!(ended, Err(needm::CallbackError::Recovered)));
    /// assert_eq!(found.get().map(|info| info.value.addr()), Some(7));
    /// # needm::stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn recover(&self) -> Option<PanicInfo> {
        panics::recover()
    }
}

/// Ends the innermost callback with [`CallbackError::Panic`]. Outside a callback,
/// prints one line and aborts.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// let value = std::ptr::without_provenance_mut(7);
/// let ended: Result<(), _> = needm::callback(|_| needm::panic(value));
/// assert!(matches!(ended, Err(needm::CallbackError::Panic(given)) if given == value));
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn panic(value: *mut c_void) -> ! {
    panics::panic(value)
}

/// Takes an M for this thread now, so that its first callback costs nothing; it stays
/// until [`detach`] or the thread's end, in both bindings. The uppermost page of its
/// stack is touched ahead; [`prefault`] does more. Not from a signal handler.
///
/// # Errors
/// [`Error::NotStarted`], [`Error::TimedOut`], [`Error::NoMemory`].
///
/// ```
/// # needm::start(needm::Config::default())?;
/// std::thread::spawn(|| {
///     needm::attach()?;
///     needm::prefault(16 * 1024)?;
///     // From here on no callback makes a system call, or meets a page fault in 16 KiB.
///     assert!(needm::with_m(|_| ()).is_some());
///     needm::detach()?;
///     assert!(needm::with_m(|_| ()).is_none());
///     Ok::<(), needm::Error>(())
/// })
/// .join()
/// .expect("the thread returns")?;
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn attach() -> Result<(), Error> {
    attaching::attach_ready()
}

/// Touches the uppermost `bytes` of this thread's stack for callbacks ahead (all of it,
/// if it has no more), so that one which uses no more than that meets no page fault: for
/// real-time threads, after [`attach`].
///
/// # Errors
/// [`Error::NotStarted`]; [`Error::Invalid`] without an M; [`Error::Busy`] inside a
/// callback.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// std::thread::spawn(|| {
///     needm::attach()?;
///     needm::prefault(16 * 1024)?;
///     // From here on no callback makes a system call, or meets a page fault in 16 KiB.
///     assert!(needm::with_m(|_| ()).is_some());
///     needm::detach()?;
///     assert!(needm::with_m(|_| ()).is_none());
///     Ok::<(), needm::Error>(())
/// })
/// .join()
/// .expect("the thread returns")?;
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn prefault(bytes: usize) -> Result<(), Error> {
    attaching::prefault(bytes)
}

/// Gives this thread's M back now, and its signal stack.
///
/// # Errors
/// [`Error::NotStarted`]; [`Error::Busy`] inside a callback.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// std::thread::spawn(|| {
///     needm::attach()?;
///     needm::prefault(16 * 1024)?;
///     // From here on no callback makes a system call, or meets a page fault in 16 KiB.
///     assert!(needm::with_m(|_| ()).is_some());
///     needm::detach()?;
///     assert!(needm::with_m(|_| ()).is_none());
///     Ok::<(), needm::Error>(())
/// })
/// .join()
/// .expect("the thread returns")?;
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn detach() -> Result<(), Error> {
    attaching::detach()
}

/// Does something with this thread's M, if it has one.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// assert_eq!(needm::with_m(|m| m.id()), None);
/// needm::attach()?;
/// assert_eq!(needm::with_m(|m| m.id()), Some(1));
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn with_m<R>(f: impl FnOnce(&M) -> R) -> Option<R> {
    reconcile::current_m().map(f)
}

/// Makes a thread that runs `f` as one callback from birth. A panic that ends it ends
/// the process.
///
/// # Errors
/// [`Error::NotStarted`]; [`Error::System`]: no thread could be made.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// let (send, receive) = std::sync::mpsc::channel();
/// needm::spawn(move || {
///     // In a callback from birth.
///     send.send(needm::with_m(|m| m.id()).is_some()).expect("somebody waits");
/// })?;
/// assert!(receive.recv()?);
/// while needm::stop().is_err() {} // it is busy until the thread has ended
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn spawn<F>(f: F) -> Result<(), Error>
where
    F: FnOnce() + Send + 'static,
{
    struct Handed<F> {
        function: Option<F>,
        taken: AtomicU32,
    }
    unsafe extern "C" fn run<F: FnOnce()>(handed: *mut c_void) {
        // SAFETY: `spawn` waits with it until `taken` is set.
        let handed = unsafe { &mut *handed.cast::<Handed<F>>() };
        let function = handed.function.take();
        let taken = ptr::from_ref(&handed.taken);
        handed.taken.store(1, SeqCst);
        // Only its address is used from here on.
        wake(taken, 1);
        if let Some(function) = function {
            caught::end_process(caught::catch(function));
        }
    }
    let mut handed = Handed { function: Some(f), taken: AtomicU32::new(0) };
    crate::spawn::spawn(run::<F>, (&raw mut handed).cast())?;
    while handed.taken.load(SeqCst) == 0 {
        wait(&handed.taken, 0, None);
    }
    Ok(())
}
