//! Hooks that have a coroutine go on which is in a callback.

use crate::child::bodies;

bodies! {
    a_callback_that_ends_in_minit_ends_the_process => by(6).saying(MESSAGE);
    a_callback_that_ends_in_minit_ends_the_process_per_call => by(6).saying(MESSAGE);
    a_callback_that_ends_in_unminit_ends_the_process => by(6).saying(MESSAGE);
    a_callback_that_panics_in_unminit_ends_the_process_per_call => by(6).saying(MESSAGE);
    callbacks_that_are_suspended_again_in_hooks_go_on => well();
    callbacks_that_are_suspended_again_in_hooks_go_on_per_call => well();
}

const MESSAGE: &str = "needm: a callback from before a hook ended in the hook";

mod body {
    use crate::child::WENT_ON;
    use corosensei::CoroutineResult::{Return, Yield};
    use corosensei::{Coroutine, Yielder};
    use needm::{Binding, CallbackError, Config, Error, Hooks, M, Refused};
    use std::cell::Cell;
    use std::hint::black_box;

    type Task = Coroutine<(), (), u8>;

    std::thread_local! {
        /// What the next hook of the kind has go on.
        static NEXT: Cell<Option<Task>> = const { Cell::new(None) };
        static KIND: Cell<Kind> = const { Cell::new(Kind::None) };
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        None,
        Minit,
        Unminit,
    }

    struct Resumes;

    /// A coroutine that has not been in a callback may make none.
    fn is_refused_a_callback() {
        let mut fresh = Coroutine::new(|_: &Yielder<(), ()>, ()| needm::callback(|_| ()));
        let Return(refused) = fresh.resume(()) else { panic!("it does not wait") };
        assert!(matches!(refused, Err(CallbackError::Refused(Error::Busy))), "{refused:?}");
    }

    fn resume(kind: Kind) {
        if KIND.get() != kind {
            return;
        }
        is_refused_a_callback();
        if let Some(mut task) = NEXT.take() {
            assert!(matches!(task.resume(()), Yield(())));
            NEXT.set(Some(task));
        }
        is_refused_a_callback();
    }

    impl Hooks for Resumes {
        type Local = ();

        fn m_new(&self, _: &M) -> Result<Option<&'static ()>, Refused> {
            Ok(None)
        }

        fn minit(&self, _: &M, _: Option<&'static ()>) {
            resume(Kind::Minit);
        }

        fn unminit(&self, _: &M, _: Option<&'static ()>) {
            resume(Kind::Unminit);
        }
    }

    /// Is suspended `waits` times in its callback, in C or in its own code, and returns or panics.
    fn task(waits: u8, in_c: bool, panics: bool) -> Task {
        Task::new(move |yielder: &Yielder<(), ()>, ()| {
            let ended = needm::callback(|cx| {
                let kept = black_box([waits; 500]);
                for _ in 0..waits {
                    if in_c {
                        cx.ccall(|| yielder.suspend(())).expect("on a G");
                    } else {
                        yielder.suspend(());
                    }
                }
                assert!(!panics, "as it should");
                assert_eq!(kept, black_box([waits; 500]));
                waits
            });
            ended.expect("it returns")
        })
    }

    fn start(binding: Binding) {
        let config = Config { binding, ..Config::default() };
        needm::start_with(config, &Resumes).expect("it is not started");
    }

    /// A callback beside one that is suspended has its M bound and unbound by itself.
    fn ends_in(kind: Kind, binding: Binding, panics: bool) {
        start(binding);
        let mut ends = task(1, binding == Binding::Call, panics);
        assert!(matches!(ends.resume(()), Yield(())));
        NEXT.set(Some(ends));
        KIND.set(kind);
        let _ = needm::callback(|_| ());
        println!("{WENT_ON}");
    }

    fn go_on(binding: Binding) {
        for (in_c, kind) in [(false, Kind::Minit), (true, Kind::Minit), (true, Kind::Unminit)] {
            start(binding);
            let mut first = task(20, in_c, false);
            assert!(matches!(first.resume(()), Yield(())));
            NEXT.set(Some(first));
            KIND.set(kind);
            for _ in 0..12 {
                assert_eq!(needm::callback(|_| 7).expect("it returns"), 7);
            }
            KIND.set(Kind::None);
            let mut first = NEXT.take().expect("it is there");
            let ended = std::iter::repeat_with(|| first.resume(())).find_map(|gone| match gone {
                Return(ended) => Some(ended),
                Yield(()) => None,
            });
            assert_eq!(ended, Some(20));
            needm::stop().expect("no callback runs");
            assert_eq!(needm::stats().ms_total, 0);
        }
    }

    pub(super) fn a_callback_that_ends_in_minit_ends_the_process() {
        ends_in(Kind::Minit, Binding::Thread, false);
    }

    pub(super) fn a_callback_that_ends_in_minit_ends_the_process_per_call() {
        ends_in(Kind::Minit, Binding::Call, false);
    }

    pub(super) fn a_callback_that_ends_in_unminit_ends_the_process() {
        ends_in(Kind::Unminit, Binding::Thread, false);
    }

    pub(super) fn a_callback_that_panics_in_unminit_ends_the_process_per_call() {
        ends_in(Kind::Unminit, Binding::Call, true);
    }

    pub(super) fn callbacks_that_are_suspended_again_in_hooks_go_on() {
        go_on(Binding::Thread);
    }

    pub(super) fn callbacks_that_are_suspended_again_in_hooks_go_on_per_call() {
        go_on(Binding::Call);
    }
}
