// SPDX-License-Identifier: MIT OR Apache-2.0
//! Callbacks as closures.
//!
//! # Safety
//! A closure and the place for its result stand in the frame of the function that
//! waits for it; the untyped functions below get exactly that frame.
#![allow(unsafe_code)] // frames as untyped pointers

use core::ffi::c_void;
use core::marker::PhantomData;
use core::ops::Range;
use core::ptr;

use crate::api::error::{CallbackError, PanicInfo};
use crate::api::hooks::{self, Hooks};
use crate::api::m::M;
use crate::api::panics as caught;
use crate::arch;
use crate::call::{self, FORWARDS_FAULTS, Function, UNLESS_PANICKING};
use crate::callback::inside::inside;
use crate::callback::{ccall, defer, panic as panics, raising, stacks};
use crate::error::Error;
use crate::part::Entered;
use crate::reconcile;

/// The inside of a callback. `'scope` is the callback's own time, deferred functions
/// included; what they use must outlive it, and so cannot be the callback's locals.
///
/// ```
/// # use core::cell::Cell;
/// # needm::start(needm::Config::default())?;
/// let ended = Cell::new(false);
/// let end = |_: &needm::Deferred| ended.set(true);
/// let nested = needm::callback(|cx| {
///     cx.defer(&end)?; // runs when the callback ends, however it does
///     let (lo, hi) = cx.m().expect("a callback has one").g_bounds();
///     assert!((lo..hi).contains(&(&raw const lo as usize))); // on the M's own stack
///     // On the thread's own stack, as C would be: it may call back again.
///     cx.ccall(|| needm::callback(|_| 6 * 7))
/// })???;
/// assert_eq!(nested, 42);
/// assert!(ended.get());
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Context<'scope, 'env: 'scope> {
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
    /// What the caller of this callback waits with. Not for another thread.
    info: *const call::PanicInfo,
}

/// Runs `f` on this thread's G.
///
/// It nests: inside, [`Context::ccall`] runs code on the thread's own stack, which may
/// call back again.
///
/// - With the feature `std` a Rust panic unwinds `f` and is returned.
/// - A hardware fault in `f`, or its stack running out, goes to the handler that was installed
///   before needm: the process ends as it would without needm. If it was the stack, needm
///   prints a line first. [`callback_catching_faults`] makes errors of these.
/// - [`interrupt`](crate::interrupt) does not end it: the request is forgotten when it returns.
/// - A thread must not exit inside `f` (`pthread_exit`, a cancellation): what unwinds its stack
///   then cannot pass the callback's boundary, and aborts the process. Without the feature `std`
///   a Rust panic does the same.
///
/// # Errors
/// [`CallbackError`] says why there is no result. [`Error::TimedOut`] also: another fiber of this thread is in
/// a callback, and no M is left for this one. [`Error::Busy`]: a hook that binds or unbinds an M calls this, or a handler
/// that has interrupted one.
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
    // SAFETY: with this tag neither a fault nor an interrupt comes back, so none skips a frame of `f`.
    unsafe { enter(f, FORWARDS_FAULTS) }
}

/// As [`callback`], but a hardware fault in `f`, or its stack running out, is an error, and
/// [`interrupt`](crate::interrupt) ends it.
///
/// A fault in a callback inside `f` is that callback's: it is returned there, or, if that is
/// one of [`callback`]'s, ends the process. With the feature `std`, a fault while the thread
/// panics (in the panic hook, or in a destructor that the unwinding runs) is not recovered
/// either, and goes the way that [`callback`] describes: the hook holds locks of the standard
/// library, which would stay locked for ever.
///
/// # Safety
/// A fault, a stack that runs out, [`panic()`] and [`interrupt`](crate::interrupt) skip the frames
/// between there and here, as `longjmp` does. No destructor in these frames runs, and all else is
/// left as it was at that instruction. So wherever one of the four may happen (a stack may run out in
/// any call, and an interrupt may come at any instruction):
/// 1. The frames of `f`, and of what it calls on the callback's stack, hold no value on whose
///    destructor safety rests: no scope of threads (`std::thread::scope`), no iterator that
///    moves out of a collection (`Vec::drain`), no sort with a comparison that may fault, no
///    guard that puts a broken value right, no pinned value that others point to.
/// 2. What outlives `f` (captured by reference, static, reached through pointers) is in a state
///    that safe code may see.
/// 3. They hold no lock or borrow that is waited for afterwards: a mutex, a `RefCell`, the lock
///    of the standard library's output, of its allocator, or of its panic hook. If the thread
///    was panicking already when this was called, `f` does not start another panic.
///
/// [`Hooks::m_new`] may run on the callback's stack: the same holds for it. Frames of
/// [`Context::ccall`] are not skipped by a fault there, which is never this callback's.
///
/// # Errors
/// [`CallbackError`] says why there is no result.
///
/// ```
/// # fn parse(text: &[u8]) -> usize { text.len() }
/// needm::start(needm::Config::default())?;
/// // SAFETY: the callback's frames hold nothing that has a destructor, nor a lock.
/// let ended = unsafe {
///     needm::callback_catching_faults(|_| {
///         let length = parse(b"untrusted");
///         std::hint::black_box(std::ptr::null_mut::<usize>()).write_volatile(length); // a bug
///         length
///     })
/// };
/// assert!(matches!(ended, Err(needm::CallbackError::Fault(fault)) if fault.addr == 0));
/// assert_eq!(needm::callback(|_| 42)?, 42); // the thread can call back at once
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub unsafe fn callback_catching_faults<'env, F, R>(f: F) -> Result<R, CallbackError>
where
    F: for<'scope> FnOnce(&'scope Context<'scope, 'env>) -> R,
{
    // If it panics already, a panic of `f`'s cannot be told from that one.
    let tags = if call::is_panicking() { 0 } else { UNLESS_PANICKING };
    // SAFETY: the caller's promise is about just these frames; those of needm between hold
    // nothing that has a destructor but `f` itself.
    unsafe { enter(f, tags) }
}

/// Runs `f` on this thread's G; `tags` say what becomes of its faults.
///
/// # Safety
/// The frames of `f` may be skipped by the faults that `tags` let come back.
unsafe fn enter<'env, F, R>(f: F, tags: usize) -> Result<R, CallbackError>
where
    F: for<'scope> FnOnce(&'scope Context<'scope, 'env>) -> R,
{
    struct Frame<F, R> {
        function: Option<F>,
        result: Option<caught::Caught<R>>,
        context: *const Context<'static, 'static>,
    }
    unsafe extern "C" fn run<'env, F, R>(frame: *mut c_void)
    where
        F: for<'scope> FnOnce(&'scope Context<'scope, 'env>) -> R,
    {
        // SAFETY: `enter` waits with just this frame.
        let frame = unsafe { &mut *frame.cast::<Frame<F, R>>() };
        if let Some(function) = frame.function.take() {
            // Deferred functions may look at it when this frame is gone.
            // SAFETY: it is in a frame of `enter`, too, which waits until the callback is over. The lifetimes are those
            // of what it lets code do, and it holds nothing that has any.
            let cx = unsafe { &*frame.context.cast::<Context<'_, 'env>>() };
            frame.result = Some(caught::catch(|| function(cx)));
        }
    }
    let mut info = call::PanicInfo::new();
    info.size |= tags;
    let context = Context { scope: PhantomData, env: PhantomData, info: &raw const info };
    let mut frame = Frame { function: Some(f), result: None, context: &raw const context };
    // SAFETY: `run` is for this frame, which waits here, as `info` does.
    let code = unsafe {
        let frame = (&raw mut frame).cast();
        arch::needm_entry(Some(run::<F, R> as Function), frame, 0, (&raw mut info).cast())
    };
    let result = frame.result.take();
    if code == 0 {
        caught::forget(&info);
        return match result {
            Some(caught) => caught.map_err(caught::into_error),
            None => Err(CallbackError::Recovered),
        };
    }
    Err(caught::take(&info).unwrap_or_else(|| CallbackError::new(code, &info)))
}

impl<'scope> Context<'scope, '_> {
    /// Runs `f` on the thread's own stack, out of the world: a thread that stops the world
    /// does not wait for it. A fault there is never the callback's.
    ///
    /// # Errors
    /// [`Error::Invalid`] off the callback's stacks: in a `ccall` of its own, or on a coroutine's stack that
    /// [`with_stack`](Self::with_stack) does not declare.
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
        ccall::ccall(run::<F, R>, (&raw mut frame).cast(), ccall::From::OwnStacks)?;
        frame.result.take().map(caught::resume).ok_or(Error::Invalid)
    }

    /// Has `f` run when the callback ends, however it does; last in, first out.
    ///
    /// # Errors
    /// [`Error::NoMemory`]: [`MAX_DEFERRED`](crate::MAX_DEFERRED) are pending on this G. [`Error::Invalid`]: in C of this
    /// callback's, while the thread's innermost callback is another fiber's.
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
        let arg = ptr::from_ref(f).cast_mut().cast();
        inside(|_| defer::defer_within(self.info, run::<F>, arg))
    }

    /// Runs `f` while this callback continues on `stack`, a further stack of the host's: `f` resumes
    /// a coroutine there and comes back when the coroutine yields, or is itself on it. Until
    /// then, code there is the callback's as on its G: it may fault and panic, defer, call
    /// back, [`ccall`](Self::ccall) to the thread's own stack, and stop at a
    /// [`safepoint`](crate::safepoint).
    ///
    /// Only these exact bounds say whose a stack pointer is. The page below `stack.start`, and all of
    /// the inaccessible mapping that ends there, is the guard: an access there is an overflow,
    /// after which the deferred functions run on the G.
    ///
    /// ```
    /// # needm::start(needm::Config::default())?;
    /// # let (memory, page) = (vec![0_u8; 1 << 16], 4096);
    /// # let stack = memory.as_ptr().addr() + page..memory.as_ptr().addr() + memory.len();
    /// # fn resume() -> u32 { 42 } // stands for a coroutine library's
    /// let result = needm::callback(|cx| {
    ///     // SAFETY: nothing else runs on the coroutine's stack, and it stays mapped.
    ///     unsafe { cx.with_stack(stack, || resume()) }
    /// })??;
    /// assert_eq!(result, 42);
    /// # needm::stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`]: in a `ccall`, or the range is empty, or part of a G, of the stack of a
    /// waiting caller, or of a further stack (all of one that was entered before is allowed).
    /// [`Error::NoMemory`]: too many.
    ///
    /// # Safety
    /// 1. `stack` is memory of a stack, mapped until `f` has returned or the callback is over,
    ///    and below it lies a page that is not accessible.
    /// 2. Only this callback's code runs on it in that time.
    /// 3. If a fault, an overflow or [`panic()`] ends the callback, the frames on it are
    ///    skipped, as [`callback_catching_faults`] says of those on the G; a coroutine with such
    ///    frames is not resumed, nor dropped in a way that unwinds it.
    /// 4. Code on it does not leave it (suspend, yield) in a [`ccall`](Self::ccall) of this callback's.
    pub unsafe fn with_stack<F, R>(&self, stack: Range<usize>, f: F) -> Result<R, Error>
    where
        F: FnOnce() -> R,
    {
        /// Leaves it also where `f` panics.
        struct Within(Entered);
        impl Drop for Within {
            fn drop(&mut self) {
                // It was entered last, or the callback is in C: then its end leaves it.
                let _ = inside(|_| stacks::leave_stack(&self.0));
            }
        }
        let _within = inside(|_| stacks::enter_stack(stack.start, stack.end)).map(Within)?;
        Ok(f())
    }

    /// The M that runs this callback.
    #[must_use]
    pub fn m(&self) -> Option<M> {
        inside(|_| reconcile::current_m()).map(M::of)
    }

    /// The value that its M carries, if needm was started with hooks of this type; see
    /// [`Hooks`] for an example.
    #[must_use]
    pub fn local<H: Hooks>(&self) -> Option<&'static H::Local> {
        inside(|_| reconcile::current_m()).and_then(hooks::local::<H>)
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
///     // SAFETY: the frames up to the callback hold nothing that has a destructor.
///     unsafe { needm::panic(std::ptr::without_provenance_mut(7)) }
/// });
/// assert!(matches!(ended, Err(needm::CallbackError::Recovered)));
/// let Some(needm::PanicInfo::Panic(value)) = found.take() else { panic!() };
/// assert_eq!(value.as_ptr().addr(), 7);
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Deferred {
    here: PhantomData<*mut ()>,
}

impl Deferred {
    /// Stops what is ending the callback and runs this function, if there is such; what it was.
    /// A Rust panic of the callback itself is not: it has unwound the callback already, and is
    /// returned.
    #[must_use]
    pub fn recover(&self) -> Option<PanicInfo> {
        let info = inside(|_| panics::recover())?;
        Some(caught::take_out(info.value).unwrap_or_else(|| PanicInfo::new(&info)))
    }
}

/// Ends the innermost callback with [`CallbackError::Panic`]; see [`Deferred`] for an example.
/// Outside a callback, prints a line and aborts.
///
/// # Safety
/// The frames between here and the start of the innermost callback are skipped, with those of
/// a [`Context::ccall`] among them. For them and at this point holds what
/// [`callback_catching_faults`] asks, whichever way the callback was started.
pub unsafe fn panic(value: *mut c_void) -> ! {
    raising::panic(value)
}
