//! Coroutines that are forgotten in callbacks, whose thread exits. What they have lent to other threads stays.

use crate::child::bodies;

bodies! {
    the_g_of_a_forgotten_coroutine_stays => well();
    it_stays_where_nothing_tells_of_the_exit => well();
}

mod body {
    use corosensei::CoroutineResult::Yield;
    use corosensei::{Coroutine, Yielder};
    use needm::Config;
    use std::hint::black_box;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    /// What a thread's code has lent to another thread stays, if it is in a callback of a coroutine that is forgotten.
    pub(super) fn the_g_of_a_forgotten_coroutine_stays() {
        static WRITES: AtomicUsize = AtomicUsize::new(0);
        static OVER: AtomicBool = AtomicBool::new(false);
        let wait_for_writes = || {
            let seen = WRITES.load(SeqCst);
            while WRITES.load(SeqCst) < seen + 2 {
                std::thread::yield_now();
            }
        };
        needm::start(Config { max_ms: 1, ..Config::default() }).expect("it is not started");
        let forget_one = move || {
            let mut task = Coroutine::new(|yielder: &Yielder<(), ()>, ()| {
                let ended = needm::callback(|_| {
                    let word = AtomicUsize::new(0);
                    std::thread::scope(|scope| {
                        scope.spawn(|| {
                            while !OVER.load(SeqCst) {
                                word.store(7, SeqCst);
                                WRITES.fetch_add(1, SeqCst);
                            }
                        });
                        yielder.suspend(());
                    });
                });
                ended.expect("it returns");
            });
            assert!(matches!(task.resume(()), Yield(())));
            wait_for_writes();
            std::mem::forget(task);
        };
        std::thread::spawn(forget_one).join().expect("it ends");

        // Another thread gets the M, and nothing of that writes to its callback's frames.
        let stays_zero = move || {
            let array = black_box([const { AtomicUsize::new(0) }; 4096]);
            wait_for_writes();
            array.iter().all(|word| word.load(SeqCst) == 0)
        };
        let next = move || needm::callback(|_| stays_zero()).expect("it returns");
        assert!(std::thread::spawn(next).join().expect("it ends"));
        needm::stop().expect("no thread that lives is in a callback");
        wait_for_writes();
        OVER.store(true, SeqCst);
    }

    /// Other libraries have taken the keys with room in each thread.
    pub(super) fn it_stays_where_nothing_tells_of_the_exit() {
        for _ in 0..40 {
            let mut key = 0;
            // SAFETY: the key is to be written to this variable.
            assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, None) }, 0);
        }
        the_g_of_a_forgotten_coroutine_stays();
    }
}
