//! Hooks that do what they should not.

use crate::child::bodies;

bodies! {
    a_start_that_is_dropped_makes_no_thread => well();
    a_start_that_is_run_in_spite_of_an_error_has_made_a_thread => well();
    a_start_may_be_run_on_the_thread_that_spawns => well();
    hooks_that_call_needm_are_refused_or_served => well();
    a_refused_start_is_not_interrupted_in_its_middle => well();
}

mod body {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    use needm::{CallbackError, Config, Error, Hooks, M, Refused, Start};

    struct Threads(fn(Start) -> Result<(), i32>);

    impl Hooks for Threads {
        type Local = ();
        fn m_new(&self, _: &M) -> Result<Option<&'static ()>, Refused> {
            Ok(None)
        }
        fn thread_start(&self, start: Start) -> Result<(), i32> {
            (self.0)(start)
        }
    }

    static RAN: AtomicUsize = AtomicUsize::new(0);

    fn spawn() -> Result<(), Error> {
        needm::spawn(|| {
            RAN.fetch_add(1, SeqCst);
        })
    }

    pub(super) fn a_start_that_is_dropped_makes_no_thread() {
        static DROPS: Threads = Threads(|start| {
            drop(start);
            Ok(())
        });
        static REFUSES: Threads = Threads(|_| Err(11));
        static LATER: Threads = Threads(|start| {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(10));
                drop(start);
            });
            Ok(())
        });
        for hooks in [&DROPS, &REFUSES, &LATER] {
            needm::start_with(Config::default(), hooks).expect("it is not started");
            for _ in 0..10 {
                assert_eq!(spawn(), Err(Error::System));
            }
            needm::stop().expect("no thread was made");
        }
        assert_eq!(RAN.load(SeqCst), 0);
    }

    pub(super) fn a_start_that_is_run_in_spite_of_an_error_has_made_a_thread() {
        static LATE: Threads = Threads(|start| {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(10));
                start.run();
            });
            Err(11)
        });
        needm::start_with(Config::default(), &LATE).expect("it is not started");
        for _ in 0..10 {
            assert_eq!(spawn(), Ok(()));
            // What a frame that is gone would have become.
            std::hint::black_box([0xaa_u8; 4096]);
        }
        while RAN.load(SeqCst) != 10 {
            std::thread::yield_now();
        }
    }

    pub(super) fn a_start_may_be_run_on_the_thread_that_spawns() {
        static HERE: Threads = Threads(|start| {
            start.run();
            Ok(())
        });
        static IN_A_CALLBACK: Threads =
            Threads(|start| needm::callback(|_| start.run()).map_err(|_| 11));
        static IN_C: Threads = Threads(|start| {
            let called = needm::callback(|cx| cx.ccall(|| start.run()));
            called.map_err(|_| 11)?.map_err(|_| 12)
        });
        for hooks in [&HERE, &IN_A_CALLBACK, &IN_C] {
            RAN.store(0, SeqCst);
            needm::start_with(Config::default(), hooks).expect("it is not started");
            assert_eq!(spawn(), Ok(()));
            assert_eq!(needm::callback(|_| spawn()).expect("it returns"), Ok(()));
            assert_eq!(RAN.load(SeqCst), 2);
            // What the spawner has bound stays bound.
            needm::attach().expect("it is started");
            assert_eq!(spawn(), Ok(()));
            assert!(needm::with_m(|_| ()).is_some());
            needm::detach().expect("outside");
            assert_eq!(needm::stats().ms_bound, 0);
            needm::stop().expect("no callback runs");
        }
    }

    struct Calls;
    static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

    impl Calls {
        fn all(what: &str) {
            let made = (needm::detach(), needm::prefault(1), needm::safepoint());
            let _ = (needm::stats(), needm::with_m(needm::M::id));
            let mut seen = SEEN.lock().expect("no hook panics");
            seen.push(format!("{what}: {made:?}"));
        }
    }

    impl Hooks for Calls {
        type Local = u64;
        fn m_new(&self, m: &M) -> Result<Option<&'static u64>, Refused> {
            Self::all("m_new");
            Ok(Some(Box::leak(Box::new(m.id()))))
        }
        fn m_free(&self, m: &M, local: Option<&'static u64>) {
            assert_eq!(local, Some(&m.id()));
            assert!(needm::stop().is_err());
            Self::all("m_free");
        }
        fn minit(&self, m: &M, local: Option<&'static u64>) {
            assert_eq!(local, Some(&m.id()));
            Self::all("minit");
        }
        fn unminit(&self, m: &M, local: Option<&'static u64>) {
            assert_eq!(local, Some(&m.id()));
            Self::all("unminit");
        }
    }

    pub(super) fn hooks_that_call_needm_are_refused_or_served() {
        for binding in [needm::Binding::Thread, needm::Binding::Call] {
            for _ in 0..20 {
                let config = Config { binding, ..Config::default() };
                needm::start_with(config, &Calls).expect("it is not started");
                let threads = [(); 4].map(|()| {
                    std::thread::spawn(|| {
                        for _ in 0..10 {
                            let id = needm::callback(|cx| cx.local::<Calls>().copied());
                            assert!(id.expect("it returns").is_some());
                        }
                    })
                });
                for thread in threads {
                    thread.join().expect("it returns");
                }
                while needm::stop() == Err(Error::Busy) {}
                let _ = needm::stop();
            }
        }
        let seen = SEEN.lock().expect("no hook panics");
        for what in ["m_new", "m_free", "minit", "unminit"] {
            assert!(seen.iter().any(|line| line.starts_with(what)), "{what} was not called");
        }
    }

    pub(super) fn a_refused_start_is_not_interrupted_in_its_middle() {
        static PLAIN: Threads = Threads(|_| Err(11));
        needm::start_with(Config::default(), &PLAIN).expect("it is not started");
        let (send, receive) = std::sync::mpsc::channel();
        let watchdog = std::thread::spawn(move || {
            for m in receive {
                std::thread::sleep(Duration::from_micros(200));
                // SAFETY: from when it has sent its M, the callback only calls `start_with`.
                unsafe { needm::interrupt(&m, std::ptr::null_mut()) }.expect("it is in a callback");
            }
        });
        for _ in 0..200 {
            // SAFETY: the callback's frames hold nothing that has a destructor, nor a lock.
            let ended: Result<(), _> = unsafe {
                needm::callback_catching_faults(|cx| {
                    let m = cx.m().expect("a callback has one");
                    cx.ccall(|| send.send(m).expect("the watchdog waits")).expect("on the G");
                    while needm::start_with(Config::default(), &PLAIN) == Err(Error::Already) {}
                })
            };
            assert!(matches!(ended, Err(CallbackError::Interrupted(_))), "{ended:?}");
        }
        drop(send);
        watchdog.join().expect("it has no M left");
        assert_eq!(needm::stop(), Ok(()));
    }
}
