//! The threads of `worker.c`, as Rust sees them.
//!
//! # Safety
//! The structs repeat those of `worker.h` and `needm.h`, field by field. One controller
//! calls these functions, from one thread. Between `command` and the return of `wait` the
//! worker owns its report; outside of that it waits, and the controller may read it.

use std::ffi::{CStr, c_char, c_int};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::operation::{Config, Kind};

/// A thread was entered: a callback, a function in C, or a handler. As in worker.h.
pub const ENTERED: c_int = 0;
/// The called function has returned.
pub const CAME_BACK: c_int = 1;
/// The operation is done.
pub const DONE: c_int = 2;
/// The jump has arrived.
pub const JUMPED: c_int = 3;

/// How long an operation may take, also under an emulator.
const LIMIT_MS: c_int = 30_000;

/// What a deferred function wrote down.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: c_int,
    pub code: c_int,
    pub value: usize,
}

/// `needm_panic_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Info {
    pub size: usize,
    pub kind: c_int,
    pub signo: c_int,
    pub code: c_int,
    pub addr: usize,
    pub pc: usize,
    pub value: usize,
}

/// `needm_stats`, without its size.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    pub total: u64,
    pub idle: u64,
    pub bound: u64,
    pub reclaimed: u64,
    pub waits: u64,
    pub timeouts: u64,
    pub panics: u64,
    pub faults: u64,
    pub overflows: u64,
}

/// `needm_stats`.
#[repr(C)]
struct Sized {
    size: usize,
    stats: Stats,
}

const LOG: usize = 64;

/// What a thread saw; as in worker.h.
#[repr(C)]
#[derive(Clone)]
pub struct Report {
    pub event: c_int,
    pub code: c_int,
    pub quiet: c_int,
    pub on_signal_stack: c_int,
    pub signal_stack: c_int,
    pub child: c_int,
    logged: c_int,
    wrong: *const c_char,
    frame: usize,
    pub m: u64,
    pub visited: u64,
    pub info: Info,
    log: [Entry; LOG],
}

impl Report {
    /// The first mistake that C found.
    pub fn wrong(&self) -> Option<String> {
        // SAFETY: `wrong` is null or points to a string literal of worker.c, which is never freed.
        let text = (!self.wrong.is_null()).then(|| unsafe { CStr::from_ptr(self.wrong) });
        text.map(|text| text.to_string_lossy().into_owned())
    }

    /// What deferred functions wrote down, in the order in which they ran.
    pub fn log(&self) -> &[Entry] {
        &self.log[..usize::try_from(self.logged).unwrap_or(0).min(LOG)]
    }
}

unsafe extern "C" {
    fn fuzz_make(which: c_int);
    fn fuzz_command(which: c_int, operation: c_int, arg: c_int, arg2: c_int, mask: u64);
    fn fuzz_wait(which: c_int, ms: c_int) -> *const Report;
    fn fuzz_begun(which: c_int) -> c_int;
    fn fuzz_join(which: c_int);
    fn fuzz_handle(on_signal_stack: c_int);
    fn fuzz_emulated(yes: c_int);
    fn fuzz_guard(installed: c_int);
    fn fuzz_fault_kind(kind: c_int, signo: *mut c_int, code: *mut c_int);
    fn fuzz_configure(binding: c_int, seed_ms: c_int, max_ms: c_int, hooks: c_int);
    fn fuzz_start() -> c_int;
    fn fuzz_counts(made: *mut u64, bound: *mut u64);
    fn needm_stop() -> c_int;
    fn needm_get_stats(out: *mut Sized);
}

fn number(which: usize) -> c_int {
    c_int::try_from(which).expect("a few")
}

/// An operation with its operands, as worker.c takes them.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    pub kind: Kind,
    pub arg: c_int,
    pub arg2: c_int,
    pub mask: u64,
}

/// The signal and the `si_code` of a kind of fault.
pub fn fault_kind(kind: u8) -> (c_int, c_int) {
    let (mut signo, mut code) = (0, 0);
    // SAFETY: it writes two ints, which live through the call.
    unsafe { fuzz_fault_kind(kind.into(), &raw mut signo, &raw mut code) };
    (signo, code)
}

/// Makes a thread; returns once it waits for its first command.
pub fn make(which: usize) {
    // SAFETY: the model makes only threads that do not exist: never made, or joined.
    unsafe { fuzz_make(number(which)) }
}

/// Tells a waiting thread what to do.
pub fn command(which: usize, command: Command) {
    let Command { kind, arg, arg2, mask } = command;
    // SAFETY: the thread waits for a command, because `wait` or `make` has returned since the
    // last one; the model plans only operations that may be run there.
    unsafe { fuzz_command(number(which), c_int::from(kind as u8), arg, arg2, mask) }
}

/// What the thread saw; `None` if the operation does not end.
pub fn wait(which: usize) -> Option<Report> {
    // SAFETY: null, or a static report that the thread does not change until the next command.
    unsafe { fuzz_wait(number(which), LIMIT_MS).as_ref() }.cloned()
}

/// Waits until the thread sleeps in needm: false if the operation ends instead, or nothing
/// happens in time.
pub fn is_blocked(which: usize) -> bool {
    let start = Instant::now();
    let mut seen = 0;
    while start.elapsed() < Duration::from_millis(LIMIT_MS.unsigned_abs().into()) {
        // SAFETY: both read words of a static worker, one of them atomically.
        let (tid, done) = unsafe { (fuzz_begun(number(which)), fuzz_wait(number(which), 1)) };
        if !done.is_null() {
            return false;
        }
        let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat"));
        let sleeps = stat.is_ok_and(|stat| stat.contains(") S "));
        seen = if tid != 0 && sleeps { seen + 1 } else { 0 };
        if seen == 3 {
            return true;
        }
        sleep(Duration::from_micros(50));
    }
    false
}

/// Waits for a thread that exits.
pub fn join(which: usize) {
    // SAFETY: the thread was made and not joined yet; its last command has it exit.
    unsafe { fuzz_join(number(which)) }
}

/// Installs the handlers that are there before needm's: of faults, and the one that calls back.
pub fn begin(config: &Config, emulated: bool) {
    // SAFETY: needm is stopped and no worker exists, so nothing reads what this writes.
    unsafe {
        fuzz_emulated(emulated.into());
        fuzz_guard(1);
        fuzz_handle(config.on_signal_stack.into());
        let ms = |count: u32| c_int::try_from(count).expect("a few");
        let (seed_ms, max_ms) = (ms(config.seed_ms), ms(config.max_ms));
        fuzz_configure(config.per_call.into(), seed_ms, max_ms, config.hooks.into());
    }
}

/// Removes what [`begin`] has installed.
pub fn end() {
    // SAFETY: needm is stopped and no worker exists, so no fault can meet the change.
    unsafe { fuzz_guard(0) }
}

/// Starts needm.
pub fn start() -> c_int {
    // SAFETY: `begin` has filled in the configuration, which is static.
    unsafe { fuzz_start() }
}

/// Stops needm.
pub fn stop() -> c_int {
    // SAFETY: needm_stop takes nothing and refuses what it cannot do.
    unsafe { needm_stop() }
}

/// needm's statistics.
pub fn stats() -> Stats {
    let mut out = Sized { size: size_of::<Sized>(), stats: Stats::default() };
    // SAFETY: `out` has the size that it says, and lives through the call.
    unsafe { needm_get_stats(&raw mut out) };
    out.stats
}

/// What the hooks have counted: Ms that exist, and Ms that are bound.
pub fn hooks() -> (u64, u64) {
    let (mut made, mut bound) = (0, 0);
    // SAFETY: it writes two words, which live through the call.
    unsafe { fuzz_counts(&raw mut made, &raw mut bound) };
    (made, bound)
}
