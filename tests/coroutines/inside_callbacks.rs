//! Coroutines in Rust inside callbacks: `Context::with_stack`. One test, because needm is of the whole
//! process.

use corosensei::CoroutineResult::{Return, Yield};
use corosensei::{Coroutine, Yielder};
use needm::{CallbackError, Config, Error};
use needm_coroutines::Task;
use std::cell::Cell;
use std::hint::black_box;

/// Faults at address 0.
fn crash() {
    // SAFETY: the compiler does not know the address; the hardware refuses the write.
    unsafe { black_box(std::ptr::null_mut::<u32>()).write_volatile(1) }
}

#[inline(never)]
#[allow(unconditional_recursion)] // until the stack has run out
fn overflow(depth: u32) -> u32 {
    let frame = black_box([depth; 64]);
    overflow(depth + 1) + frame[7]
}

/// A coroutine that is suspended three times in a callback: in its own code, or in C.
fn is_suspended_inside(name: u8, in_c: bool) -> Coroutine<(), (), Result<u8, CallbackError>> {
    Coroutine::new(move |yielder: &Yielder<(), ()>, ()| {
        needm::callback(|cx| {
            let kept = black_box([name; 512]);
            for _ in 0..3 {
                if in_c {
                    cx.ccall(|| yielder.suspend(())).expect("on a G");
                } else {
                    yielder.suspend(());
                }
            }
            assert_eq!(kept, [name; 512]);
            name
        })
    })
}

/// By the safe interfaces of both alone.
fn callbacks_that_coroutines_suspend_end_in_any_order() {
    for (in_c, order) in [(false, [0, 1]), (false, [1, 0]), (true, [0, 1]), (true, [1, 0])] {
        needm::start(Config::default()).expect("it is not started");
        let mut both = [is_suspended_inside(0, in_c), is_suspended_inside(1, in_c)];
        for _ in 0..3 {
            for one in &mut both {
                assert!(matches!(one.resume(()), Yield(())));
            }
        }
        for name in order {
            let Return(ended) = both[usize::from(name)].resume(()) else { panic!("{name}") };
            assert_eq!(ended.expect("it returns"), name);
            assert_eq!(needm::callback(|_| 7).expect("it returns"), 7);
        }
        needm::stop().expect("no callback runs");

        // With one M, the second one would have to end first.
        let wait = Some(std::time::Duration::from_millis(1));
        needm::start(Config { max_ms: 1, wait, ..Config::default() }).expect("it is not started");
        let mut first = is_suspended_inside(0, in_c);
        assert!(matches!(first.resume(()), Yield(())));
        let Return(refused) = is_suspended_inside(1, in_c).resume(()) else { panic!("it ran") };
        assert!(matches!(refused, Err(CallbackError::Refused(Error::TimedOut))), "{refused:?}");
        for _ in 0..2 {
            assert!(matches!(first.resume(()), Yield(())));
        }
        assert!(matches!(first.resume(()), Return(Ok(0))));
        needm::stop().expect("no callback runs");
    }
}

/// A coroutine whose callback has ended by a panic of a deferred function, while another such one is suspended.
fn panics_of_coroutines_come_to_their_own_callers() {
    needm::start(Config::default()).expect("it is not started");
    let panics_with = |name: &'static str| {
        Coroutine::new(move |yielder: &Yielder<(), ()>, ()| {
            let suspends = |_: &needm::Deferred| yielder.suspend(());
            let panics = |_: &needm::Deferred| std::panic::resume_unwind(Box::new(name));
            let ended: Result<(), _> = needm::callback(|cx| {
                cx.defer(&suspends).expect("there is room");
                cx.defer(&panics).expect("there is room");
            });
            let Err(CallbackError::Panicked(payload)) = ended else { panic!("{ended:?}") };
            payload.message() == Some(name)
        })
    };
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut all = ["first", "second", "third"].map(panics_with);
        for one in &mut all {
            assert!(matches!(one.resume(()), Yield(())));
        }
        for number in order {
            assert!(needm::callback(|_| true).expect("it returns"));
            assert!(matches!(all[number].resume(()), Return(true)));
        }
    }
    needm::stop().expect("no callback runs");
}

#[test]
fn coroutines_run_inside_callbacks() {
    callbacks_that_coroutines_suspend_end_in_any_order();
    panics_of_coroutines_come_to_their_own_callers();
    super::sound::all();
    needm::start(Config::default()).expect("it is not started");

    // It yields, and is resumed in the same callback.
    let sum = needm::callback(|cx| {
        let mut task = Task::new(|yielder, first| {
            let mut last = first;
            let mut sum = 0;
            while last != 0 {
                sum += last;
                last = yielder.suspend(sum);
            }
            sum
        });
        let mut seen = Vec::new();
        for given in [3, 4, 5, 0] {
            match task.resume(cx, given).expect("a callback runs") {
                Yield(sum) => seen.push(sum),
                Return(sum) => return (seen, sum),
            }
        }
        unreachable!()
    });
    assert_eq!(sum.expect("it returns"), (vec![3, 7, 12], 12));

    // A Rust panic goes through the coroutine to the callback's caller.
    let panicked: Result<(), _> = needm::callback(|cx| {
        let mut task = Task::new(|_, _| panic!("in a coroutine"));
        let _ = task.resume(cx, 0);
    });
    assert!(matches!(panicked, Err(CallbackError::Panicked(_))), "{panicked:?}");

    for _ in 0..100 {
        // A fault and an overflow end the callback, and what is deferred runs.
        let deferred = Cell::new(0);
        let count = |_: &needm::Deferred| deferred.set(deferred.get() + 1);
        let ends: [fn(); 2] = [crash, || {
            black_box(overflow(0));
        }];
        for (end, overflows) in ends.into_iter().zip([false, true]) {
            // SAFETY: the skipped frames hold nothing that has a destructor but the task, which
            // nothing drops, and its closure.
            let ended = unsafe {
                needm::callback_catching_faults(|cx| {
                    cx.defer(&count).expect("there is room");
                    let mut task = Task::new(move |_, _| {
                        end();
                        0
                    });
                    let _ = task.resume(cx, 0);
                })
            };
            match ended {
                Err(CallbackError::Fault(_)) => assert!(!overflows),
                Err(CallbackError::Overflow(_)) => assert!(overflows),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(deferred.get(), 2);

        // Callbacks inside, on the coroutine's stack.
        let nested = needm::callback(|cx| {
            let mut task = Task::new(|_, _| {
                let inner = needm::callback(|cx| {
                    let here = 0_u8;
                    needm::safepoint();
                    let out = cx.ccall(|| needm::callback(|_| 21)).expect("a callback runs");
                    (std::ptr::from_ref(&here).addr(), out.expect("it returns"))
                });
                let (at, out) = inner.expect("it returns");
                assert!(at != 0);
                out * 2
            });
            task.resume(cx, 0).expect("a callback runs").as_return()
        });
        assert_eq!(nested.expect("it returns"), Some(42));
    }

    needm::stop().expect("no callback runs");
}
