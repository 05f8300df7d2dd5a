//! The Rust interface. There is one needm in a process, so the tests take turns.

use std::cell::Cell;
use std::panic::panic_any;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Barrier, Mutex, MutexGuard};
use std::thread;

use needm::{Binding, CallbackError, Config, Deferred, Error, Hooks, M, Refused};

static TURN: Mutex<()> = Mutex::new(());

/// needm, started; the drop stops it.
struct Started(#[allow(dead_code)] MutexGuard<'static, ()>);

fn start(config: Config) -> Started {
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    needm::start(config).expect("it is not started");
    Started(turn)
}

impl Drop for Started {
    fn drop(&mut self) {
        needm::stop().expect("no callback is left");
    }
}

fn fault() {
    let null = std::hint::black_box(std::ptr::null_mut::<u8>());
    // SAFETY: a volatile write to an address that the compiler does not know: what
    // happens is the hardware's doing, a fault, which ends the callback.
    unsafe { null.write_volatile(1) };
}

#[allow(unconditional_recursion)] // it overflows the stack
fn overflow(depth: usize) -> usize {
    let frame = std::hint::black_box([depth; 64]);
    overflow(depth + 1) + frame[depth % 64]
}

#[test]
fn a_callback_returns_what_its_closure_returns_on_any_thread() {
    let _started = start(Config::default());
    let text = String::from("borrowed");
    assert_eq!(needm::callback(|_| text.len()).expect("it returns"), 8);
    let threads: Vec<_> = (0..20_u64)
        .map(|n| {
            thread::spawn(move || {
                (0..2000).map(|_| needm::callback(|_| n).unwrap_or(0)).sum::<u64>()
            })
        })
        .collect();
    let sum: u64 = threads.into_iter().map(|thread| thread.join().expect("it returns")).sum();
    assert_eq!(sum, 2000 * 190);
}

#[test]
fn a_thread_knows_how_deep_it_is_and_what_is_left_of_its_stack() {
    let _started = start(Config::default());
    assert_eq!((needm::depth(), needm::stack_left()), (0, None));
    let seen = needm::callback(|cx| {
        let here = (needm::depth(), needm::stack_left().expect("it is on a G"));
        let in_c = cx.ccall(|| (needm::depth(), needm::stack_left())).expect("it is on the G");
        let nested = needm::callback(|cx| {
            cx.ccall(|| needm::callback(|_| (needm::depth(), needm::stack_left())))
        });
        (here, in_c, nested)
    });
    let (here, in_c, nested) = seen.expect("it returns");
    assert_eq!(here.0, 1);
    assert!((1..=needm::DEFAULT_STACK_SIZE).contains(&here.1), "{here:?}");
    // In C it is what the callback has when C returns: a little more than in the closure.
    assert_eq!(in_c.0, 1);
    assert!(in_c.1.expect("the callback has a stack").abs_diff(here.1) < 4096, "{in_c:?} {here:?}");
    let inner = nested.expect("it returns").expect("it is on the G").expect("it returns");
    assert_eq!(inner.0, 3);
    assert!(inner.1.expect("it is on a G") < here.1, "{inner:?} {here:?}");
    // What ended early does not count.
    // SAFETY: the skipped frame holds nothing.
    let ended = unsafe { needm::callback_catching_faults(|_| fault()) };
    assert!(ended.is_err());
    assert_eq!((needm::depth(), needm::stack_left()), (0, None));
}

#[test]
fn faults_overflows_and_panics_are_errors_with_their_details() {
    let _started = start(Config { binding: Binding::Call, ..Config::default() });
    for _ in 0..100 {
        // SAFETY: the callback's frames hold nothing.
        let faulted = unsafe { needm::callback_catching_faults(|_| fault()) };
        assert!(matches!(faulted, Err(CallbackError::Fault(f)) if f.addr == 0 && f.signo == 11));
        // SAFETY: the callback's frames hold nothing.
        let overflowed = unsafe { needm::callback_catching_faults(|_| overflow(0)) };
        assert!(matches!(overflowed, Err(CallbackError::Overflow(_))));
        let value = (&raw const TURN).cast_mut().cast();
        // SAFETY: the callback's frames hold nothing.
        let panicked = needm::callback(|_| -> () { unsafe { needm::panic(value) } });
        assert!(matches!(panicked, Err(CallbackError::Panic(v)) if v == value));
    }
}

#[test]
fn deferred_closures_run_last_in_first_out_and_recover() {
    let _started = start(Config::default());
    let order = Cell::new(0);
    let first = |_: &Deferred| order.set(order.get() * 10 + 1);
    let second = |deferred: &Deferred| {
        order.set(order.get() * 10 + 2);
        assert!(deferred.recover().is_some_and(|info| info.error() == Error::Fault));
        assert!(deferred.recover().is_none());
    };
    // SAFETY: the callback's frames hold nothing.
    let ended = unsafe {
        needm::callback_catching_faults(|cx| {
            cx.defer(&first)?;
            cx.defer(&second)?;
            fault();
            Ok::<_, Error>(())
        })
    };
    assert!(matches!(ended, Err(CallbackError::Recovered)));
    assert_eq!(order.get(), 21);
}

#[test]
fn callbacks_nest_through_ccall_and_borrow_from_their_callers() {
    let _started = start(Config::default());
    fn down(depth: u32) -> u32 {
        let deeper =
            needm::callback(
                |cx| {
                    if depth == 100 { Ok(depth) } else { cx.ccall(|| down(depth + 1)) }
                },
            );
        deeper.expect("the stack holds it").expect("it is on the G")
    }
    assert_eq!(down(0), 100);
    let refused = needm::callback(|cx| cx.ccall(|| cx.ccall(|| ())));
    assert!(matches!(refused, Ok(Ok(Err(Error::Invalid)))));
}

#[test]
fn misuse_is_refused() {
    let _started = start(Config::default());
    assert_eq!(needm::start(Config::default()), Err(Error::Already));
    let inside = needm::callback(|_| (needm::stop(), needm::detach(), needm::attach()));
    assert_eq!(inside.expect("it returns"), (Err(Error::Busy), Err(Error::Busy), Ok(())));
    needm::stop().expect("no callback is left");
    assert!(matches!(needm::callback(|_| ()), Err(CallbackError::Refused(Error::NotStarted))));
    let zero = Config { wait: Some(std::time::Duration::ZERO), ..Config::default() };
    assert_eq!(needm::start(zero), Err(Error::Invalid));
    needm::start(Config::default()).expect("it is stopped");
}

struct Counting {
    made: AtomicUsize,
    taken: AtomicUsize,
    values: [AtomicU64; 8],
}
static COUNTING: Counting = Counting {
    made: AtomicUsize::new(0),
    taken: AtomicUsize::new(0),
    values: [const { AtomicU64::new(0) }; 8],
};
impl Hooks for Counting {
    type Local = AtomicU64;
    fn m_new(&self, m: &M) -> Result<Option<&'static AtomicU64>, Refused> {
        let value = COUNTING.values.get(self.made.fetch_add(1, SeqCst)).ok_or(Refused)?;
        value.store(m.id(), SeqCst);
        Ok(Some(value))
    }
    fn minit(&self, m: &M, local: Option<&'static AtomicU64>) {
        assert_eq!(local.map(|value| value.load(SeqCst)), Some(m.id()));
        self.taken.fetch_add(1, SeqCst);
    }
    fn unminit(&self, _: &M, _: Option<&'static AtomicU64>) {
        self.taken.fetch_sub(1, SeqCst);
    }
}

#[test]
fn hooks_have_a_typed_value_in_each_m() {
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    needm::start_with(Config::default(), &COUNTING).expect("it is not started");
    let same = needm::callback(|cx| {
        let value = cx.local::<Counting>().map(|value| value.load(SeqCst));
        value.is_some() && value == cx.m().map(|m| m.id())
    });
    assert!(same.expect("it returns"));
    assert_eq!(COUNTING.taken.load(SeqCst), 1);
    needm::detach().expect("outside");
    assert_eq!(COUNTING.taken.load(SeqCst), 0);
    needm::stop().expect("no callback is left");
    drop(turn);
}

#[test]
fn a_stopped_world_stays_so_until_the_guard_is_dropped() {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static OVER: AtomicUsize = AtomicUsize::new(0);
    let _started = start(Config::default());
    let threads = [(); 4].map(|()| {
        thread::spawn(|| {
            while OVER.load(SeqCst) == 0 {
                needm::callback(|_| COUNT.fetch_add(1, SeqCst)).expect("it returns");
            }
        })
    });
    for _ in 0..200 {
        let world = needm::stop_the_world().expect("it goes on");
        let before = COUNT.load(SeqCst);
        let all: Option<()> = world.each_m(|m, live| {
            assert!(live.start <= live.end && live.end == m.g_bounds().1);
            std::ops::ControlFlow::Continue(())
        });
        assert!(all.is_none());
        assert_eq!(COUNT.load(SeqCst), before);
    }
    OVER.store(1, SeqCst);
    for thread in threads {
        thread.join().expect("it returns");
    }
}

#[test]
fn a_spawned_closure_runs_as_a_callback() {
    static MET: Barrier = Barrier::new(2);
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    needm::start(Config::default()).expect("it is not started");
    let text = String::from("moved");
    needm::spawn(move || {
        assert_eq!(text, "moved");
        assert!(needm::with_m(M::id).is_some());
        MET.wait();
    })
    .expect("a thread");
    assert_eq!(needm::stop(), Err(Error::Busy));
    MET.wait();
    while needm::stop() == Err(Error::Busy) {
        thread::yield_now();
    }
    drop(turn);
}

#[cfg(feature = "std")]
#[test]
fn rust_panics_come_back_with_their_payload_and_drop_what_they_unwind() {
    struct Dropped<'a>(&'a Cell<u32>);
    impl Drop for Dropped<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let _started = start(Config::default());
    let drops = Cell::new(0);
    let payload = |ended: Result<(), CallbackError>| match ended {
        Err(CallbackError::Panicked(payload)) => payload.downcast_ref::<u32>().copied(),
        _ => None,
    };
    for n in 0..100_u32 {
        let ended = needm::callback(|_| {
            let _dropped = Dropped(&drops);
            panic_any(n);
        });
        assert_eq!(payload(ended), Some(n));
        // Out of C that the callback called, through the callback.
        let ended = needm::callback(|cx| {
            let _dropped = Dropped(&drops);
            let _ = cx.ccall(|| panic_any(n + 1));
        });
        assert_eq!(payload(ended), Some(n + 1));
        // In a deferred function it replaces what there was.
        let deferred = |_: &Deferred| panic_any(n + 2);
        // SAFETY: the callback's frames hold nothing.
        let ended = unsafe {
            needm::callback_catching_faults(|cx| {
                let _ = cx.defer(&deferred);
                fault();
            })
        };
        assert_eq!(payload(ended), Some(n + 2));
    }
    assert_eq!(drops.get(), 200);
}
