//! Coroutines that end, wait or are resumed in unusual places, by the safe interfaces of both alone.

use corosensei::CoroutineResult::{Return, Yield};
use corosensei::{Coroutine, ScopedCoroutine, Yielder};
use needm::{Config, Deferred, Error, Hooks, M, Refused};
use std::cell::Cell;
use std::hint::black_box;
use std::ops::ControlFlow;

/// C of one callback goes on in C of another's, on another fiber.
fn what_c_defers_runs_at_the_end_of_its_own_callback() {
    needm::start(Config::default()).expect("it is not started");
    let mut first = Coroutine::new(|yielder: &Yielder<(), ()>, ()| {
        let ran = Cell::new(0);
        let count = |_: &Deferred| ran.set(ran.get() + 1);
        let ended = needm::callback(|cx| {
            let own = cx.m();
            cx.ccall(|| {
                yielder.suspend(());
                assert_eq!(needm::with_m(|m| *m), own);
                cx.defer(&count)
            })
        });
        (ended.expect("it returns").expect("on a G"), ran.get())
    });
    assert!(matches!(first.resume(()), Yield(())));
    let around = needm::callback(|cx| cx.ccall(|| first.resume(())).expect("on a G"));
    assert!(matches!(around.expect("it returns"), Return((Ok(()), 1))));
    needm::stop().expect("no callback runs");
}

/// The next function on the thread's own stack would overwrite those that wait there.
fn nothing_waits_on_the_own_stack_for_a_coroutine_of_a_callback() {
    needm::start(Config::default()).expect("it is not started");
    let refused = needm::callback(|cx| {
        let inside = ScopedCoroutine::<(), (), _, _>::new(|_: &Yielder<(), ()>, ()| cx.ccall(|| ()));
        inside.scope(|mut inside| inside.as_mut().resume(()))
    });
    assert!(matches!(refused.expect("it returns"), Return(Err(Error::Invalid))));
    let visits_whole = needm::callback(|cx| {
        let mut visits = Coroutine::new(|yielder: &Yielder<(), ()>, ()| {
            let world = needm::stop_the_world().expect("no other thread has stopped it");
            let mut whole = true;
            let _ = world.each_m(|_, _| {
                let kept = black_box([0x5a_u8; 4000]);
                yielder.suspend(());
                whole &= kept == black_box([0x5a; 4000]);
                ControlFlow::<()>::Continue(())
            });
            whole
        });
        loop {
            if let Return(whole) = visits.resume(()) {
                return whole;
            }
            cx.ccall(|| black_box([0x77_u8; 6000])).expect("on a G");
        }
    });
    assert!(visits_whole.expect("it returns"));
    needm::stop().expect("no callback runs");
}

type Task = Coroutine<(), (), ()>;

std::thread_local! {
    /// Without a destructor, so that it is there for what runs at the thread's exit.
    static LEFT: Cell<Option<&'static Cell<Option<Task>>>> = const { Cell::new(None) };
}

struct ResumesAtTheExit;

impl Hooks for ResumesAtTheExit {
    type Local = ();

    fn m_new(&self, _: &M) -> Result<Option<&'static ()>, Refused> {
        Ok(None)
    }

    fn minit(&self, _: &M, _: Option<&'static ()>) {
        assert!(matches!(
            needm::callback(|_| ()),
            Err(needm::CallbackError::Refused(Error::Busy))
        ));
    }

    fn unminit(&self, _: &M, _: Option<&'static ()>) {
        if let Some(mut task) = LEFT.get().and_then(Cell::take) {
            assert!(matches!(task.resume(()), Return(())));
        }
    }
}

/// Its M has gone with its thread by then; and no other thread has that.
fn a_callback_may_end_at_its_threads_exit() {
    for binding in [needm::Binding::Thread, needm::Binding::Call] {
        needm::start_with(Config { binding, ..Config::default() }, &ResumesAtTheExit)
            .expect("it is not started");
        let leaves_one = || {
            let mut task = Task::new(|yielder: &Yielder<(), ()>, ()| {
                let kept = black_box([7_u8; 3000]);
                let ended = needm::callback(|cx| cx.ccall(|| yielder.suspend(())).expect("on a G"));
                ended.expect("it returns");
                assert_eq!(kept, [7; 3000]);
            });
            assert!(matches!(task.resume(()), Yield(())));
            LEFT.set(Some(Box::leak(Box::new(Cell::new(Some(task))))));
        };
        for _ in 0..20 {
            std::thread::spawn(leaves_one).join().expect("it ends");
            assert_eq!(needm::callback(|_| 7).expect("it returns"), 7);
        }
        needm::stop().expect("no callback runs");
        assert_eq!(needm::stats().ms_total, 0);
    }
}

pub(super) fn all() {
    what_c_defers_runs_at_the_end_of_its_own_callback();
    nothing_waits_on_the_own_stack_for_a_coroutine_of_a_callback();
    a_callback_may_end_at_its_threads_exit();
}
