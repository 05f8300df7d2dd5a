//! What a thread of the soak does: operations by chance, each of which says what it expects.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use needm::{CallbackError, Context, Deferred, Error, PanicInfo};

unsafe extern "C" {
    // examples/soak/foreign.c
    fn soak_catch(call: extern "C" fn(*mut c_void), arg: *mut c_void) -> c_int;
    fn soak_jump() -> !;
    fn soak_signal();
    fn soak_fork(call: extern "C" fn() -> c_int) -> c_int;
}

/// What has been done and met so far.
#[derive(Default)]
pub(crate) struct Account {
    /// Callbacks asked for; refused because the kernel was stopped, or for want of room on
    /// the signal stack of a thread that brought its own; and run.
    pub(crate) asked: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) cramped: AtomicU64,
    pub(crate) ran: AtomicU64,
    /// Raised inside, and met outside.
    pub(crate) faults: AtomicU64,
    pub(crate) faults_met: AtomicU64,
    pub(crate) overflows: AtomicU64,
    pub(crate) overflows_met: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) panics_met: AtomicU64,
    pub(crate) recovered: AtomicU64,
    pub(crate) jumps: AtomicU64,
    pub(crate) jumps_met: AtomicU64,
    pub(crate) stops: AtomicU64,
    pub(crate) forks: AtomicU64,
    /// Answers that none of the above explains.
    pub(crate) wrong: AtomicU64,
}

pub(crate) static ACCOUNT: std::sync::LazyLock<Account> =
    std::sync::LazyLock::new(Account::default);

fn one(count: &AtomicU64) {
    count.fetch_add(1, Relaxed);
}

fn wrong(what: &str, found: &dyn std::fmt::Debug) {
    eprintln!("soak: {what}: {found:?}");
    one(&ACCOUNT.wrong);
}

/// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators").
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number << 1 | 1);
        for _ in 0..8 {
            random.below(2);
        }
        random
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

/// A callback that is counted; `None` if it was refused.
fn call<'env, F, R>(f: F) -> Option<Result<R, CallbackError>>
where
    F: for<'scope> FnOnce(&'scope Context<'scope, 'env>) -> R,
{
    one(&ACCOUNT.asked);
    // SAFETY: what is called here holds nothing where it faults, overflows or panics.
    let answer = unsafe {
        needm::callback_catching_faults(|cx| {
            one(&ACCOUNT.ran);
            f(cx)
        })
    };
    match answer {
        Err(CallbackError::Refused(Error::NotStarted)) => one(&ACCOUNT.refused),
        Err(CallbackError::Refused(Error::Overflow)) => one(&ACCOUNT.cramped),
        other => return Some(other),
    }
    None
}

fn write_through_null() {
    let null = black_box(ptr::null_mut::<u8>());
    one(&ACCOUNT.faults);
    // SAFETY: what happens is the hardware's doing: a fault, which ends the callback.
    unsafe { null.write_volatile(1) }
}

#[allow(unconditional_recursion)] // that is the point
fn deeper(depth: usize) -> usize {
    let frame = black_box([depth; 64]);
    deeper(depth + 1) + frame[depth % 64]
}

fn plain(random: &mut Random) {
    for _ in 0..1 + random.below(100) {
        let sum = random.below(1000);
        match call(|_| sum + 1) {
            Some(Ok(next)) if next == sum + 1 => {}
            None => {}
            other => wrong("a sum", &other),
        }
    }
}

fn faults() {
    match call(|_| write_through_null()) {
        Some(Err(CallbackError::Fault(fault))) if fault.addr == 0 => one(&ACCOUNT.faults_met),
        None => {}
        other => wrong("a fault", &other),
    }
}

fn overflows() {
    let ended = call(|_| {
        one(&ACCOUNT.overflows);
        deeper(0)
    });
    match ended {
        Some(Err(CallbackError::Overflow(_))) => one(&ACCOUNT.overflows_met),
        None => {}
        other => wrong("an overflow", &other),
    }
}

fn panics() {
    let ended = call(|_| {
        one(&ACCOUNT.panics);
        // SAFETY: the two frames of this callback hold nothing.
        unsafe { needm::panic(ptr::without_provenance_mut(7)) }
    });
    match ended {
        Some(Err(CallbackError::Panic(value))) if value.as_ptr().addr() == 7 => {
            one(&ACCOUNT.panics_met)
        }
        None => {}
        Some(Err(other)) => wrong("a panic", &other),
        Some(Ok(())) => wrong("a panic", &"returned"),
    }
}

fn recovers() {
    let found = Cell::new(0);
    let recover = |deferred: &Deferred| {
        if let Some(PanicInfo::Fault(fault)) = deferred.recover() {
            found.set(fault.signo);
        }
    };
    let ended = call(|cx| {
        if cx.defer(&recover).is_ok() {
            write_through_null();
        }
    });
    match ended {
        Some(Err(CallbackError::Recovered)) if found.get() == 11 => {
            one(&ACCOUNT.recovered);
            one(&ACCOUNT.faults_met);
        }
        None => {}
        other => wrong("a recovery", &other),
    }
}

fn nests(random: &mut Random, depth: u64) {
    let fails = random.below(4) == 0;
    let ended = call(|cx| {
        let out = cx.ccall(|| {
            if depth > 0 {
                nests(random, depth - 1);
            } else {
                faults();
            }
        });
        if fails {
            write_through_null();
        }
        out.is_ok()
    });
    match ended {
        Some(Ok(true)) if !fails => {}
        Some(Err(CallbackError::Fault(_))) if fails => one(&ACCOUNT.faults_met),
        None => {}
        other => wrong("a nest", &other),
    }
}

/// C jumps over two callbacks and what it was called by.
fn jumps() {
    extern "C" fn over(_: *mut c_void) {
        call(|cx| {
            let _ = cx.ccall(|| {
                call(|_| {
                    one(&ACCOUNT.jumps);
                    // SAFETY: the frames between hold nothing that must be dropped.
                    unsafe { soak_jump() }
                })
            });
        });
    }
    // SAFETY: as above.
    if unsafe { soak_catch(over, ptr::null_mut()) } == 1 {
        one(&ACCOUNT.jumps_met);
    }
}

fn stops(inside: bool) {
    let stop = || {
        let Ok(stopped) = needm::stop_the_world() else { return };
        one(&ACCOUNT.stops);
        let others = || loop {
            let handled = HANDLED.get();
            let ran = ACCOUNT.ran.load(Relaxed);
            // A handler in between counts in both.
            if HANDLED.get() == handled {
                break ran - handled;
            }
        };
        let ran = others();
        let mut bytes = 0;
        stopped.each_m::<()>(|_, live| {
            bytes += live.len();
            ControlFlow::Continue(())
        });
        black_box(bytes);
        if others() != ran {
            wrong("a callback ran in a stopped world", &ran);
        }
    };
    if inside {
        call(|_| stop());
    } else {
        stop();
    }
}

fn attaches(random: &mut Random) {
    match needm::attach() {
        Ok(()) => plain(random),
        Err(Error::NotStarted) => {}
        other => wrong("attach", &other),
    }
    match needm::detach() {
        Ok(()) | Err(Error::NotStarted) => {}
        other => wrong("detach", &other),
    }
}

thread_local! {
    /// Callbacks of handlers on this thread: who has stopped the world runs them.
    static HANDLED: Cell<u64> = const { Cell::new(0) };
}

/// What the handler of a signal does.
pub(crate) extern "C" fn on_signal() {
    match call(|_| HANDLED.set(HANDLED.get() + 1)) {
        Some(Ok(())) | None => {}
        other => wrong("a callback of a handler", &other),
    }
}

extern "C" fn in_a_child() -> c_int {
    if let Err(CallbackError::Refused(_)) = needm::callback(|_| ()) {
        // The kernel is stopped here, or another thread was just stopping or starting it.
        if needm::start(needm::Config::default()).is_err() {
            return 1;
        }
    }
    // qemu-user fails on a fault in a child of a process with threads.
    // SAFETY: the callback's frames hold nothing.
    let fault = || unsafe { needm::callback_catching_faults(|_| write_through_null()) };
    let faults = crate::emulated() || matches!(fault(), Err(CallbackError::Fault(_)));
    c_int::from(!faults || !matches!(needm::callback(|_| 42), Ok(42)))
}

fn forks() {
    one(&ACCOUNT.forks);
    // SAFETY: the child does no more than calling back.
    let status = unsafe { soak_fork(in_a_child) };
    if status != 0 {
        wrong("a child's status", &status);
    }
}

/// A thread's life: so many operations, chosen by the seed and its number.
pub(crate) fn live(seed: u64, number: u64) {
    let mut random = Random::new(seed, number);
    // qemu-user keeps memory of each thread that there was: fewer of them live longer.
    let longest = if crate::emulated() { 1000 } else { 40 };
    for _ in 0..1 + random.below(longest) {
        match random.below(100) {
            0..40 => plain(&mut random),
            40..50 => faults(),
            50..55 => overflows(),
            55..60 => panics(),
            60..70 => recovers(),
            70..80 => {
                let depth = random.below(6);
                nests(&mut random, depth);
            }
            80..85 => jumps(),
            85..89 => stops(random.below(2) == 0),
            89..93 => attaches(&mut random),
            // SAFETY: the handler calls back, and no more.
            93..98 if !crate::handlers_lose_their_thread() => unsafe { soak_signal() },
            99 if random.below(10) == 0 => forks(),
            98 => std::thread::yield_now(),
            _ => {}
        }
    }
}
