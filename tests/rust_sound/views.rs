//! What is shown of an M leads nowhere, and what is asked of needm may be asked at any time.

use crate::child::bodies;

bodies! {
    a_view_of_an_m_outlives_a_stop_and_its_thread => well();
    detach_inside_with_m_is_harmless => well();
    a_value_is_read_as_what_its_hooks_made => well();
    prefault_and_a_stop_may_meet => well();
    errors_go_to_other_threads => well();
    a_guard_whose_world_goes_on_starts_no_later_stop => well();
    hooks_see_no_m_of_others => well();
}

mod body {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::time::{Duration, Instant};

    use crate::{child, start};
    use needm::{Binding, CallbackError, Config, Error, Hooks, M, Refused};

    pub(super) fn a_view_of_an_m_outlives_a_stop_and_its_thread() {
        start();
        needm::attach().expect("it is started");
        let kept = needm::with_m(|m| {
            let before = *m;
            needm::stop().expect("no callback runs");
            assert_eq!((m.id(), m.g_bounds()), (before.id(), before.g_bounds()));
            *m
        });
        let kept = kept.expect("it was attached");
        assert_eq!(kept.id(), 1);
        start();
        let other = std::thread::spawn(move || {
            assert_eq!(kept.id(), 1);
            // The method alone is not general enough in its lifetimes.
            #[allow(clippy::redundant_closure_for_method_calls)]
            needm::callback(|cx| cx.m()).expect("it returns").expect("a callback has one")
        });
        let other = other.join().expect("it returns");
        needm::stop().expect("no callback runs");
        assert!(other.g_bounds().0 < other.g_bounds().1);
    }

    pub(super) fn detach_inside_with_m_is_harmless() {
        start();
        for _ in 0..100 {
            needm::attach().expect("it is started");
            let seen = needm::with_m(|m| {
                needm::detach().expect("outside");
                needm::callback(|_| ()).expect("it returns");
                m.id()
            });
            assert!(seen.is_some());
        }
    }

    struct Texts;
    impl Hooks for Texts {
        type Local = String;
        fn m_new(&self, m: &M) -> Result<Option<&'static String>, Refused> {
            Ok(Some(Box::leak(Box::new(format!("M {}", m.id())))))
        }
    }
    struct Numbers;
    impl Hooks for Numbers {
        type Local = u64;
        fn m_new(&self, _: &M) -> Result<Option<&'static u64>, Refused> {
            Ok(None)
        }
    }

    pub(super) fn a_value_is_read_as_what_its_hooks_made() {
        for _ in 0..10 {
            needm::start_with(Config::default(), &Texts).expect("it is not started");
            let both = || {
                needm::callback(|cx| (cx.local::<Texts>().cloned(), cx.local::<Numbers>().copied()))
            };
            assert_eq!(both().expect("it returns"), (Some("M 1".to_owned()), None));
            needm::stop().expect("no callback runs");
            needm::start_with(Config::default(), &Numbers).expect("it is not started");
            assert_eq!(both().expect("it returns"), (None, None));
            needm::stop().expect("no callback runs");
            start();
            assert_eq!(both().expect("it returns"), (None, None));
            needm::stop().expect("no callback runs");
        }
    }

    /// Does `work` on more threads than there are processors, so that some are in the middle of it,
    /// while needm is stopped and started all the time.
    fn meets_stops(config: Config, work: fn()) {
        static OVER: AtomicBool = AtomicBool::new(false);
        let time = Duration::from_secs(if child::is_emulated() { 1 } else { 2 });
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !OVER.load(SeqCst) {
                        work();
                    }
                });
            }
            let begin = Instant::now();
            while begin.elapsed() < time {
                needm::start(config).expect("only this thread starts it");
                while needm::stop().is_err() {}
            }
            OVER.store(true, SeqCst);
        });
    }

    pub(super) fn prefault_and_a_stop_may_meet() {
        // Large, so that a stop comes in the middle.
        let large = Config { stack_size: 16 << 20, ..Config::default() };
        meets_stops(large, || {
            let _ = needm::attach();
            let _ = needm::prefault(usize::MAX);
        });
    }

    pub(super) fn errors_go_to_other_threads() {
        fn passes() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            needm::callback(|_| ())?;
            Ok(())
        }
        fn moves<T: Send + Sync + 'static>(value: T) -> T {
            std::thread::spawn(move || value).join().unwrap_or_else(|_| panic!("it returns"))
        }
        assert_eq!(passes().unwrap_err().to_string(), "needm is not started");
        let refused = moves(needm::callback(|_| ()).unwrap_err());
        assert!(matches!(refused, CallbackError::Refused(Error::NotStarted)));
    }

    /// Under way in C, inside a callback, until `work` is over.
    fn beside_a_callback(work: impl FnOnce()) {
        let (entered, inside) = std::sync::mpsc::channel();
        let (over, until) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let in_c = || {
                    entered.send(()).expect("it is received");
                    until.recv().expect("it is sent");
                };
                needm::callback(|cx| cx.ccall(in_c)).expect("it returns").expect("on a G");
            });
            inside.recv().expect("it is sent");
            work();
            over.send(()).expect("it is received");
        });
    }

    pub(super) fn a_guard_whose_world_goes_on_starts_no_later_stop() {
        std::panic::set_hook(Box::new(|_| ()));
        start();
        let stale = std::cell::RefCell::new(None);
        let panics = |_: &needm::Deferred| panic!("it ends the callback, and the guard stays");
        needm::callback(|cx| {
            cx.defer(&panics).expect("there is room");
            *stale.borrow_mut() = Some(needm::stop_the_world().expect("it runs"));
        })
        .expect_err("a deferred function panics");
        let stale = stale.into_inner().expect("it was put there");
        beside_a_callback(|| {
            assert_eq!(stale.each_m(|_, _| std::ops::ControlFlow::Break(())), None);
            let stopped = needm::stop_the_world().expect("it runs");
            assert_eq!(stale.each_m(|_, _| std::ops::ControlFlow::Break(())), None);
            drop(stale);
            assert_eq!(needm::stop_the_world().err(), Some(Error::Already));
            assert!(stopped.each_m(|_, _| std::ops::ControlFlow::Break(())).is_some());
        });
        needm::stop().expect("no callback runs");
    }

    /// Each value that its hooks see is one of their own.
    struct Own<T: 'static>(&'static T);
    impl<T: PartialEq + Sync> Hooks for Own<T> {
        type Local = T;
        fn m_new(&self, _: &M) -> Result<Option<&'static T>, Refused> {
            Ok(Some(self.0))
        }
        fn minit(&self, _: &M, local: Option<&'static T>) {
            assert!(local.is_some_and(|local| std::ptr::eq(local, self.0)));
        }
        fn unminit(&self, _: &M, local: Option<&'static T>) {
            assert!(local.is_some_and(|local| std::ptr::eq(local, self.0)));
        }
    }

    pub(super) fn hooks_see_no_m_of_others() {
        static WORDS: Own<[u64; 8]> = Own(&[0x4141_4141_4141_4141; 8]);
        static BYTE: Own<u8> = Own(&7);
        static OVER: AtomicBool = AtomicBool::new(false);
        let time = Duration::from_secs(if child::is_emulated() { 1 } else { 3 });
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !OVER.load(SeqCst) {
                        let _ = needm::callback(|_| ());
                        let _ = needm::detach();
                    }
                });
            }
            let (begin, mut round) = (Instant::now(), 0);
            while begin.elapsed() < time {
                round += 1;
                for binding in [Binding::Thread, Binding::Call] {
                    let config = Config { seed_ms: 2, binding, ..Config::default() };
                    let started = match binding {
                        Binding::Thread => needm::start_with(config, &WORDS),
                        _ => needm::start_with(config, &BYTE),
                    };
                    started.expect("only this thread starts it");
                    if round % 2 == 0 {
                        std::thread::yield_now(); // to callbacks, which the stop then waits for
                    }
                    while needm::stop_within(Duration::from_secs(1)).is_err() {}
                }
            }
            OVER.store(true, SeqCst);
        });
    }
}
