// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that must not compile, each before the one that differs only in what is wrong with
//! the first, so that it fails for no other reason. They are documentation tests, and no more.
//!
//! Error codes are looked at by a nightly `rustdoc` only.
#![allow(dead_code)] // the items carry the programs

/// [`panic`](crate::panic()) skips destructors.
///
/// ```compile_fail,E0133
/// let _: Result<(), _> = needm::callback(|_| needm::panic(std::ptr::null_mut()));
/// ```
///
/// ```no_run
/// // SAFETY: the callback's frames hold nothing.
/// let _: Result<(), _> = needm::callback(|_| unsafe { needm::panic(std::ptr::null_mut()) });
/// ```
struct PanicIsUnsafe;

/// So does a fault that is recovered.
///
/// ```compile_fail,E0133
/// let _ = needm::callback_catching_faults(|_| 42);
/// ```
///
/// ```no_run
/// // SAFETY: the callback's frames hold nothing.
/// let _ = unsafe { needm::callback_catching_faults(|_| 42) };
/// ```
struct CatchingFaultsIsUnsafe;

/// What an M carries has the type that the hooks say.
///
/// ```compile_fail,E0599
/// let _ = needm::with_m(|m| m.local());
/// ```
///
/// ```no_run
/// let _ = needm::with_m(|m| m.id());
/// ```
struct NoUntypedValueIsRead;

/// And only they set it.
///
/// ```compile_fail,E0599
/// needm::with_m(|m| m.set_local(std::ptr::null_mut()));
/// ```
///
/// ```no_run
/// needm::with_m(|m| m.g_bounds());
/// ```
struct NoUntypedValueIsWritten;

/// Any thread may find the value that an M carries.
///
/// ```compile_fail,E0277
/// struct Runtime;
/// impl needm::Hooks for Runtime {
///     type Local = std::cell::Cell<u32>;
///     fn m_new(&self, _: &needm::M) -> Result<Option<&'static Self::Local>, needm::Refused> {
///         Ok(None)
///     }
/// }
/// ```
///
/// ```no_run
/// struct Runtime;
/// impl needm::Hooks for Runtime {
///     type Local = std::sync::atomic::AtomicU32;
///     fn m_new(&self, _: &needm::M) -> Result<Option<&'static Self::Local>, needm::Refused> {
///         Ok(None)
///     }
/// }
/// ```
struct ValuesAreShared;

/// A callback is its own thread's.
///
/// ```compile_fail,E0277
/// let _ = needm::callback(|cx| std::thread::scope(|s| s.spawn(|| cx.m()).join().unwrap()));
/// ```
///
/// ```no_run
/// let _ = needm::callback(|cx| std::thread::scope(|_| cx.m()));
/// ```
struct ContextStaysOnItsThread;

/// It is over when its function has returned.
///
/// ```compile_fail
/// let _ = needm::callback(|cx| cx);
/// ```
///
/// ```no_run
/// let _ = needm::callback(|cx| cx.m());
/// ```
struct ContextStaysInside;

/// A deferred function runs when the callback's frames are gone.
///
/// ```compile_fail,E0597
/// let _ = needm::callback(|cx| {
///     let local = std::cell::Cell::new(0);
///     let end = |_: &needm::Deferred| local.set(1);
///     cx.defer(&end)
/// });
/// ```
///
/// ```no_run
/// let local = std::cell::Cell::new(0);
/// let end = |_: &needm::Deferred| local.set(1);
/// let _ = needm::callback(|cx| {
///     cx.defer(&end)
/// });
/// ```
struct DeferredOutlivesTheCallback;

/// [`Deferred`](crate::Deferred) is not for afterwards.
///
/// ```compile_fail,E0521
/// let kept = std::cell::Cell::new(None);
/// let end = |deferred: &needm::Deferred| kept.set(Some(deferred));
/// let _ = needm::callback(|cx| cx.defer(&end).is_ok());
/// drop(kept.take());
/// ```
///
/// ```no_run
/// let kept = std::cell::Cell::new(None);
/// let end = |deferred: &needm::Deferred| kept.set(deferred.recover());
/// let _ = needm::callback(|cx| cx.defer(&end).is_ok());
/// drop(kept.take());
/// ```
struct DeferredIsNotKept;

/// A stopped world goes on at once if the guard is not kept.
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// fn main() -> Result<(), needm::Error> {
///     needm::start(needm::Config::default())?;
///     needm::stop_the_world()?;
///     needm::stop()
/// }
/// ```
///
/// ```no_run
/// #![deny(unused_must_use)]
/// fn main() -> Result<(), needm::Error> {
///     needm::start(needm::Config::default())?;
///     drop(needm::stop_the_world()?);
///     needm::stop()
/// }
/// ```
struct GuardIsHeld;

/// The thread that has stopped the world starts it.
///
/// ```compile_fail,E0277
/// let stopped = needm::stop_the_world();
/// let _ = std::thread::spawn(move || drop(stopped));
/// ```
///
/// ```no_run
/// let stopped = needm::stop_the_world();
/// let _ = std::thread::spawn(move || ());
/// drop(stopped);
/// ```
struct GuardStaysOnItsThread;

/// A spawned thread outlives its maker's frame.
///
/// ```compile_fail,E0373
/// let local = 42;
/// let _ = needm::spawn(|| println!("{local}"));
/// ```
///
/// ```no_run
/// let local = 42;
/// let _ = needm::spawn(move || println!("{local}"));
/// ```
struct SpawnedClosureOwnsWhatItUses;

/// And runs elsewhere.
///
/// ```compile_fail,E0277
/// let shared = std::rc::Rc::new(42);
/// let _ = needm::spawn(move || println!("{shared}"));
/// ```
///
/// ```no_run
/// let shared = std::sync::Arc::new(42);
/// let _ = needm::spawn(move || println!("{shared}"));
/// ```
struct SpawnedClosureIsSent;

/// A thread is made once.
///
/// ```compile_fail,E0382
/// fn twice(start: needm::Start) {
///     start.run();
///     start.run();
/// }
/// ```
///
/// ```no_run
/// fn once(start: needm::Start) {
///     start.run();
/// }
/// ```
struct StartRunsOnce;

/// A payload that is no other thread's business is moved, not shared.
///
/// ```compile_fail,E0277
/// fn read(payload: &needm::PanicPayload) {
///     let _ = payload.downcast_ref::<std::cell::Cell<u32>>();
/// }
/// ```
///
/// ```no_run
/// fn read(payload: needm::PanicPayload) {
///     let _ = payload.into_inner().downcast_ref::<std::cell::Cell<u32>>();
/// }
/// ```
#[cfg(feature = "std")]
struct PayloadIsSharedAsItsTypeIs;

/// So is what a joined thread returns.
///
/// ```compile_fail,E0277
/// let _ = needm::spawn_joinable(|| std::rc::Rc::new(42));
/// ```
///
/// ```no_run
/// let _ = needm::spawn_joinable(|| std::sync::Arc::new(42));
/// ```
#[cfg(feature = "std")]
struct JoinedResultIsSent;
