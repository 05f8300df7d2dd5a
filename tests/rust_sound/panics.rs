//! Rust panics and what else ends a callback at the same time: nothing waits for ever, and the
//! standard library's count of panics is right afterwards.

use crate::OVERFLOWED;
use crate::child::bodies;
use libc::{SIGABRT, SIGSEGV};

bodies! {
    a_fault_in_the_panic_hook_is_not_recovered => by(SIGSEGV);
    an_overflow_in_the_panic_hook_is_not_recovered => by(SIGSEGV).saying(OVERFLOWED);
    a_backtrace_that_overflows_leaves_no_lock ["RUST_BACKTRACE" = "full"] => by(SIGSEGV).saying(OVERFLOWED);
    a_panic_in_the_panic_hook_aborts => by(SIGABRT);
    a_fault_in_a_destructor_that_unwinds_is_not_recovered => by(SIGSEGV);
    a_destructor_that_unwinds_may_catch_faults => well();
    no_panic_is_counted_afterwards => well();
    a_recovered_rust_panic_has_its_payload => well();
    a_joined_thread_returns_its_value_or_its_panic => well();
    a_panic_in_a_spawned_thread_aborts => by(SIGABRT).saying("a spawned thread panicked: of Rust's");
}

// Others end a thread without unwinding it.
#[cfg(target_env = "gnu")]
bodies! {
    a_thread_that_exits_in_a_callback_aborts => by(SIGABRT);
    a_thread_that_is_cancelled_in_a_callback_aborts => by(SIGABRT);
}

mod body {
    use std::cell::Cell;
    use std::panic::{catch_unwind, panic_any, set_hook, take_hook};
    use std::ptr;
    use std::thread::panicking;

    use crate::{deep, start, went_on, write_through_null};
    use needm::{CallbackError, Deferred, PanicInfo};

    /// Panics in a callback that catches faults.
    fn panic_caught() {
        // SAFETY: the callback's frames hold nothing.
        let _: Result<(), _> = unsafe { needm::callback_catching_faults(|_| panic!("of Rust's")) };
        went_on();
    }

    pub(super) fn a_fault_in_the_panic_hook_is_not_recovered() {
        start();
        set_hook(Box::new(|_| write_through_null()));
        panic_caught();
    }

    pub(super) fn an_overflow_in_the_panic_hook_is_not_recovered() {
        start();
        set_hook(Box::new(|_| {
            std::hint::black_box(deep(0));
        }));
        panic_caught();
    }

    pub(super) fn a_backtrace_that_overflows_leaves_no_lock() {
        let small = needm::Config { stack_size: 8 << 10, ..needm::Config::default() };
        needm::start(small).expect("it is not started");
        panic_caught();
        let other = std::thread::spawn(|| panic!("the lock is free"));
        let _ = other.join();
    }

    pub(super) fn a_panic_in_the_panic_hook_aborts() {
        start();
        set_hook(Box::new(|_| panic!("again")));
        panic_caught();
    }

    struct OnDrop<F: Fn()>(F);
    impl<F: Fn()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }

    pub(super) fn a_fault_in_a_destructor_that_unwinds_is_not_recovered() {
        start();
        // SAFETY: what is skipped is not; that is looked at.
        let _: Result<(), _> = unsafe {
            needm::callback_catching_faults(|_| {
                let _faults = OnDrop(write_through_null);
                panic!("of Rust's");
            })
        };
        went_on();
    }

    pub(super) fn a_destructor_that_unwinds_may_catch_faults() {
        start();
        for _ in 0..10 {
            let caught = Cell::new(false);
            let ended = needm::callback(|_| {
                let _catches = OnDrop(|| {
                    assert!(panicking());
                    // SAFETY: the callback's frames hold nothing.
                    let ended =
                        unsafe { needm::callback_catching_faults(|_| write_through_null()) };
                    caught.set(matches!(ended, Err(CallbackError::Fault(_))));
                });
                panic_any(7);
            });
            assert!(caught.get());
            assert!(
                matches!(ended, Err(CallbackError::Panicked(p)) if p.downcast_ref() == Some(&7))
            );
            assert!(!panicking());
        }
    }

    pub(super) fn no_panic_is_counted_afterwards() {
        start();
        set_hook(Box::new(|_| ()));
        let again = |_: &Deferred| panic_any(3);
        for _ in 0..100 {
            let ended: [Result<(), CallbackError>; 3] = [
                needm::callback(|_| panic_any(1)),
                needm::callback(|cx| {
                    let _ = cx.ccall(|| panic_any(2));
                }),
                needm::callback(|cx| {
                    cx.defer(&again).expect("there is room");
                    panic_any(1);
                }),
            ];
            for (nth, ended) in (1..).zip(ended) {
                let Err(CallbackError::Panicked(payload)) = ended else { panic!("{ended:?}") };
                assert_eq!(payload.downcast_ref(), Some(&nth));
            }
            // SAFETY: the callback's frames hold nothing where it faults.
            let ended = unsafe {
                needm::callback_catching_faults(|_| {
                    let _ = catch_unwind(|| panic_any(1));
                    write_through_null();
                })
            };
            assert!(matches!(ended, Err(CallbackError::Fault(_))));
            assert!(!panicking());
        }
        let _ = take_hook();
    }

    pub(super) fn a_recovered_rust_panic_has_its_payload() {
        start();
        set_hook(Box::new(|_| ()));
        let found = Cell::new(None);
        let recovers = |deferred: &Deferred| found.set(deferred.recover());
        let panics = |_: &Deferred| panic_any(7);
        for _ in 0..100 {
            // It has returned before the deferred function panicked, and that is recovered.
            let ended = needm::callback(|cx| {
                cx.defer(&recovers)?;
                cx.defer(&panics)?;
                Ok::<_, needm::Error>(42)
            });
            assert!(matches!(ended, Ok(Ok(42))), "{ended:?}");
            let Some(PanicInfo::Panicked(payload)) = found.take() else { panic!() };
            assert_eq!(payload.downcast_ref(), Some(&7));
            assert!(!panicking());
        }
    }

    pub(super) fn a_joined_thread_returns_its_value_or_its_panic() {
        start();
        set_hook(Box::new(|_| ()));
        for nth in 0..50_u32 {
            let text = format!("{nth}");
            let returns = needm::spawn_joinable(move || {
                assert!(needm::with_m(needm::M::id).is_some());
                text + "!"
            });
            let panics = needm::spawn_joinable(move || -> u32 { panic_any(nth) });
            let (returns, panics) = (returns.expect("a thread"), panics.expect("a thread"));
            drop(needm::spawn_joinable(|| vec![1]).expect("a thread"));
            assert_eq!(returns.join().expect("it returns"), format!("{nth}!"));
            let Err(CallbackError::Panicked(payload)) = panics.join() else { panic!() };
            assert_eq!(payload.downcast_ref(), Some(&nth));
        }
        let last = needm::spawn_joinable(|| ()).expect("a thread");
        while !last.is_finished() {
            std::thread::yield_now();
        }
        last.join().expect("it returns");
        while needm::stats().ms_bound != 0 {
            std::thread::yield_now(); // of those whose handles were dropped
        }
        for _ in 0..200 {
            needm::spawn_joinable(|| ()).expect("a thread").join().expect("it returns");
            needm::stop().expect("a joined thread has given its M back");
            start();
        }
        needm::stop().expect("no callback is left");
        assert!(matches!(needm::spawn_joinable(|| ()), Err(needm::Error::NotStarted)));
    }

    pub(super) fn a_panic_in_a_spawned_thread_aborts() {
        start();
        needm::spawn(|| panic!("of Rust's")).expect("a thread");
        std::thread::sleep(std::time::Duration::from_secs(10));
        went_on();
    }

    #[cfg(target_env = "gnu")]
    pub(super) fn a_thread_that_exits_in_a_callback_aborts() {
        start();
        let _ = needm::callback(|_| {
            unsafe extern "C-unwind" {
                fn pthread_exit(value: *mut std::ffi::c_void) -> !;
            }
            // SAFETY: it unwinds this thread, whose frames hold nothing.
            unsafe { pthread_exit(ptr::null_mut()) }
        });
        went_on();
    }

    #[cfg(target_env = "gnu")]
    pub(super) fn a_thread_that_is_cancelled_in_a_callback_aborts() {
        start();
        let _ = needm::callback(|_| {
            unsafe extern "C-unwind" {
                fn pthread_cancel(thread: libc::pthread_t) -> libc::c_int;
                fn pthread_testcancel();
            }
            // SAFETY: the thread is this one. What unwinds it finds frames that hold nothing.
            unsafe {
                pthread_cancel(libc::pthread_self());
                pthread_testcancel();
            }
        });
        went_on();
    }
}
