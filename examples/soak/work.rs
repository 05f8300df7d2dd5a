//! What a thread of the soak does: random operations, each of which checks its result.
//!
//! # Safety
//! The functions of `foreign.c` are declared as there. A frame that is jumped over or ended
//! by a fault holds nothing that must be dropped. Writes through null fault: nothing is
//! mapped there.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst, compiler_fence};

use needm::{CallbackError, Context, Deferred, Error, PanicInfo};

unsafe extern "C" {
    // examples/soak/foreign.c
    fn soak_catch(call: extern "C" fn(*mut c_void), arg: *mut c_void) -> c_int;
    fn soak_jump() -> !;
    fn soak_fibers(body: extern "C" fn(), order: u64);
    fn soak_wait();
    fn soak_signal();
    fn soak_fork(call: extern "C" fn() -> c_int) -> c_int;
}

/// Counts of what threads have caused, and of what was reported to them.
#[derive(Default)]
pub(crate) struct Account {
    /// Callbacks called; refused because needm was stopped; refused because the thread's own
    /// signal stack had no room; and run.
    pub(crate) asked: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) cramped: AtomicU64,
    pub(crate) ran: AtomicU64,
    /// Caused in a callback, and reported to its caller (`met`).
    pub(crate) faults: AtomicU64,
    pub(crate) faults_met: AtomicU64,
    pub(crate) overflows: AtomicU64,
    pub(crate) overflows_met: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) panics_met: AtomicU64,
    pub(crate) recovered: AtomicU64,
    pub(crate) jumps: AtomicU64,
    pub(crate) jumps_met: AtomicU64,
    /// Callbacks in which a fiber has waited while others ran.
    pub(crate) waited: AtomicU64,
    pub(crate) stops: AtomicU64,
    pub(crate) forks: AtomicU64,
    /// Results that nothing above explains.
    pub(crate) wrong: AtomicU64,
}

impl Account {
    /// Callbacks that have run or were refused: in the end, all that were called.
    pub(crate) fn answered(&self) -> u64 {
        [&self.ran, &self.refused, &self.cramped].iter().map(|count| count.load(Relaxed)).sum()
    }
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

/// Calls back, and counts it; `None` if it was refused.
fn call<'env, F, R>(f: F) -> Option<Result<R, CallbackError>>
where
    F: for<'scope> FnOnce(&'scope Context<'scope, 'env>) -> R,
{
    one(&ACCOUNT.asked);
    // SAFETY: the frames of `f` hold nothing that must be dropped where it ends otherwise than
    // by returning.
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
    // SAFETY: nothing is mapped at address 0, so the write faults and changes nothing.
    // `black_box` hides the address from the compiler.
    unsafe { null.write_volatile(1) }
}

#[allow(unconditional_recursion)] // it is to overflow the stack
fn deeper(depth: usize) -> usize {
    let frame = black_box([depth; 64]);
    deeper(depth + 1) + frame[depth % 64]
}

fn plain(random: &mut Random) {
    for _ in 0..=random.below(100) {
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
        // SAFETY: the frames of this callback hold nothing.
        unsafe { needm::panic(ptr::without_provenance_mut(7)) }
    });
    match ended {
        Some(Err(CallbackError::Panic(value))) if value.as_ptr().addr() == 7 => {
            one(&ACCOUNT.panics_met);
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

/// C jumps over two callbacks and the frames between them.
fn jumps() {
    extern "C" fn over(_: *mut c_void) {
        call(|cx| {
            let _ = cx.ccall(|| {
                call(|_| {
                    one(&ACCOUNT.jumps);
                    // SAFETY: `soak_catch` is on this thread's stack, and the frames up to it,
                    // `call` and needm's, hold nothing that must be dropped.
                    unsafe { soak_jump() }
                })
            });
        });
    }
    // SAFETY: `over` does not read its argument, and may leave by `soak_jump`.
    if unsafe { soak_catch(over, ptr::null_mut()) } == 1 {
        one(&ACCOUNT.jumps_met);
    }
}

/// Fibers whose callbacks wait in C and end in any order: one in four by a fault.
fn fibers(random: &mut Random) {
    extern "C" fn body() {
        let number = ACCOUNT.waited.fetch_add(1, Relaxed);
        let fails = number.is_multiple_of(4);
        let ended = call(|cx| {
            // SAFETY: the body waits once. C switches back to this stack.
            let out = cx.ccall(|| unsafe { soak_wait() });
            if fails {
                write_through_null();
            }
            out.is_ok().then_some(number)
        });
        match ended {
            Some(Ok(Some(same))) if !fails && same == number => {}
            Some(Err(CallbackError::Fault(_))) if fails => one(&ACCOUNT.faults_met),
            None => {}
            other => wrong("a fiber", &other),
        }
    }
    // SAFETY: `body` may run on any stack, and `order` may be any number.
    unsafe { soak_fibers(body, random.below(3)) }
}

fn stops(inside: bool) {
    let stop = || {
        let Ok(stopped) = needm::stop_the_world() else { return };
        one(&ACCOUNT.stops);
        let others = || loop {
            let handled = handled();
            let ran = ACCOUNT.ran.load(Relaxed);
            // Read again if a handler ran in between, because its callback counts in both.
            if self::handled() == handled {
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
    /// Callbacks of handlers on this thread, which run also while it has stopped the world.
    static HANDLED: AtomicU64 = const { AtomicU64::new(0) };
}

/// Their count. The compiler must not take it from an earlier look, which no handler has changed.
fn handled() -> u64 {
    compiler_fence(SeqCst);
    let count = HANDLED.with(|count| count.load(Relaxed));
    compiler_fence(SeqCst);
    count
}

/// What the signal handler calls.
pub(crate) extern "C" fn on_signal() {
    match call(|_| HANDLED.with(one)) {
        Some(Ok(())) | None => {}
        other => wrong("a callback of a handler", &other),
    }
}

extern "C" fn in_a_child() -> c_int {
    if let Err(CallbackError::Refused(_)) = needm::callback(|_| ()) {
        // needm is stopped here, or another thread was stopping or starting it at the fork.
        if needm::start(needm::Config::default()).is_err() {
            return 1;
        }
    }
    // qemu-user aborts on a fault in the child of a process with threads.
    // SAFETY: the callback's frames hold nothing.
    let fault = || unsafe { needm::callback_catching_faults(|_| write_through_null()) };
    let faults = crate::emulated() || matches!(fault(), Err(CallbackError::Fault(_)));
    c_int::from(!faults || !matches!(needm::callback(|_| 42), Ok(42)))
}

fn forks() {
    one(&ACCOUNT.forks);
    // SAFETY: `in_a_child` only calls back and starts needm, which a forked child may do, and
    // the child exits without running what its parent has registered.
    let status = unsafe { soak_fork(in_a_child) };
    if status != 0 {
        wrong("a child's status", &status);
    }
}

/// The work of a thread: operations chosen by the seed and its number.
pub(crate) fn live(seed: u64, number: u64) {
    let mut random = Random::new(seed, number);
    // qemu-user keeps memory of each exited thread: there, fewer threads run longer.
    let longest = if crate::emulated() { 1000 } else { 40 };
    for _ in 0..=random.below(longest) {
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
            80..83 => jumps(),
            83..85 => fibers(&mut random),
            85..89 => stops(random.below(2) == 0),
            89..93 => attaches(&mut random),
            // SAFETY: the handler only calls back.
            93..98 if !crate::handlers_lose_their_thread() => unsafe { soak_signal() },
            99 if random.below(10) == 0 => forks(),
            98 => std::thread::yield_now(),
            _ => {}
        }
    }
}
