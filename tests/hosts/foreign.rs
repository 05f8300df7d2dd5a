//! Foreign threads without a C library, made by `clone` and by nobody's library, and
//! what else the bodies ask of such a host.

use core::ffi::{c_long, c_void};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::SeqCst};
use core::time::Duration;

use needm::host::ThreadArea;

use crate::host::sleep;

unsafe extern "C" {
    // `foreign.S`.
    fn foreign_clone(
        stack: *mut u8,
        tid: *const AtomicI32,
        pointer: usize,
        function: unsafe extern "C" fn(*mut c_void) -> !,
        arg: *mut c_void,
    ) -> c_long;
    fn foreign_call(number: c_long, a: c_long, b: c_long, c: c_long, d: c_long) -> c_long;
}

#[cfg(target_arch = "x86_64")]
mod nr {
    pub(crate) const EXIT: i32 = 60;
    pub(crate) const OPEN: i32 = 2;
    pub(crate) const READ: i32 = 0;
    pub(crate) const CLOSE: i32 = 3;
}
#[cfg(not(target_arch = "x86_64"))]
mod nr {
    pub(crate) const EXIT: i32 = 1;
    pub(crate) const OPEN: i32 = 5;
    pub(crate) const READ: i32 = 3;
    pub(crate) const CLOSE: i32 = 6;
}

fn call(number: i32, a: usize, b: usize, c: usize) -> isize {
    // SAFETY: each use below gives it what the call's manual page asks for.
    unsafe { foreign_call(number as c_long, a as c_long, b as c_long, c as c_long, 0) as isize }
}

static EMULATED: AtomicBool = AtomicBool::new(false);

pub(crate) fn set_emulated() {
    EMULATED.store(true, SeqCst);
}

pub(crate) fn is_emulated() -> bool {
    EMULATED.load(SeqCst)
}

/// Whether threads have one to thank.
pub(crate) const HAS_C_LIBRARY: bool = false;

/// Ends the process as a failed one.
pub(crate) fn fail() -> ! {
    needm::host::exit(1)
}

/// Ends this thread at once: nobody is told.
pub(crate) fn exit_thread() -> ! {
    loop {
        call(nr::EXIT, 0, 0, 0);
    }
}

const STACK: usize = 64 * 1024;
const THREADS: usize = 40;

/// Memory of threads: each slot is a thread's stack, with its thread-local storage on top.
#[repr(align(4096))]
struct Slot {
    stack: core::cell::UnsafeCell<[u8; STACK]>,
}

// SAFETY: a slot is used by the thread that it was given to.
unsafe impl Sync for Slot {}

static STACKS: [Slot; THREADS] =
    [const { Slot { stack: core::cell::UnsafeCell::new([0; STACK]) } }; THREADS];
/// -1: free; else the system's word for the thread in that slot, 0 once it has ended.
static TIDS: [AtomicI32; THREADS] = [const { AtomicI32::new(-1) }; THREADS];
static WHAT: [(AtomicUsize, AtomicUsize); THREADS] =
    [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; THREADS];

/// A thread of a body's.
pub(crate) struct Foreign {
    slot: usize,
}

unsafe extern "C" fn run(slot: *mut c_void) -> ! {
    let (function, arg) = &WHAT[slot as usize];
    // SAFETY: `foreign` has put a function there.
    let function: fn(usize) = unsafe { core::mem::transmute(function.load(SeqCst)) };
    function(arg.load(SeqCst));
    exit_thread()
}

/// Runs `function(arg)` on a thread made by `clone`, which ends by the raw system call.
pub(crate) fn foreign(function: fn(usize), arg: usize) -> Foreign {
    let free = |tid: &AtomicI32| tid.compare_exchange(-1, -2, SeqCst, SeqCst).is_ok();
    let slot = TIDS.iter().position(free).unwrap_or_else(|| fail());
    WHAT[slot].0.store(function as usize, SeqCst);
    WHAT[slot].1.store(arg, SeqCst);
    let area = ThreadArea::find().unwrap_or_else(|_| fail());
    let top = STACKS[slot].stack.get() as usize + STACK;
    let tls = (top - area.layout().size()) & !(area.layout().align() - 1);
    // SAFETY: the slot is this thread's to give: nothing else uses it until the new
    // thread has ended.
    let made = unsafe {
        let pointer = area.lay_out(tls as *mut u8);
        foreign_clone(
            (tls & !15) as *mut u8,
            &raw const TIDS[slot],
            pointer,
            run,
            slot as *mut c_void,
        )
    };
    check!(made > 0);
    Foreign { slot }
}

impl Foreign {
    /// Waits for its end.
    pub(crate) fn join(self) {
        while TIDS[self.slot].load(SeqCst) != 0 {
            sleep(Duration::from_micros(100));
        }
        TIDS[self.slot].store(-1, SeqCst);
    }
}

/// Reads `/proc/self/maps`, a line at a time.
fn each_mapping(mut take: impl FnMut(&[u8])) {
    let file = call(nr::OPEN, c"/proc/self/maps".as_ptr() as usize, 0, 0);
    check!(file >= 0);
    let mut buffer = [0_u8; 512];
    let mut line = [0_u8; 512];
    let mut len = 0;
    loop {
        let read = call(nr::READ, file as usize, buffer.as_mut_ptr() as usize, buffer.len());
        let Some(read) = usize::try_from(read).ok().filter(|read| *read > 0) else { break };
        for byte in &buffer[..read] {
            if *byte == b'\n' {
                take(&line[..len]);
                len = 0;
            } else if len < line.len() {
                line[len] = *byte;
                len += 1;
            }
        }
    }
    call(nr::CLOSE, file as usize, 0, 0);
}

/// Mappings of this process.
pub(crate) fn mappings() -> usize {
    let mut lines = 0;
    each_mapping(|_| lines += 1);
    lines
}

/// Whether nothing can be done with what lies directly below the mapping of `address`.
fn is_guarded(address: usize) -> bool {
    let (mut guarded, mut below) = (false, (0, false));
    each_mapping(|line| {
        let text = core::str::from_utf8(line).unwrap_or("");
        let number = |text: &str| usize::from_str_radix(text, 16).unwrap_or(0);
        let (range, rest) = text.split_once(' ').unwrap_or(("", ""));
        let (start, end) = range.split_once('-').unwrap_or(("", ""));
        let (start, end) = (number(start), number(end));
        if (start..end).contains(&address) {
            guarded = rest.starts_with("rw-p") && below == (start, true);
        }
        below = (end, rest.starts_with("---p"));
    });
    guarded
}

/// What only such a host can show.
pub(crate) const ALL: &[(&str, fn())] = &[
    ("joined_threads_have_run_and_leave_nothing", joined_threads_have_run_and_leave_nothing),
    ("threads_have_a_guard_below_their_stacks", threads_have_a_guard_below_their_stacks),
    ("a_panic_prints_one_line_and_aborts", a_panic_prints_one_line_and_aborts),
    ("a_thread_that_overruns_its_stack_meets_its_guard", a_thread_meets_its_guard),
];

fn joined_threads_have_run_and_leave_nothing() {
    static RAN: AtomicUsize = AtomicUsize::new(0);
    check!(needm::start(needm::Config::default()).is_ok());
    let rounds = if is_emulated() { 20 } else { 500 };
    let mut before = 0;
    for round in 0..rounds {
        let made: [_; 4] = core::array::from_fn(|number| {
            needm::host::spawn(4096, move || {
                check!(needm::callback(|_| number).is_ok_and(|got| got == number));
                RAN.fetch_add(1, SeqCst);
            })
        });
        for (number, thread) in made.into_iter().enumerate() {
            let Ok(thread) = thread else { fail() };
            check!(thread.id() > 0);
            // Some are waited for, one is not.
            if number != 3 {
                thread.join();
            }
        }
        while RAN.load(SeqCst) != (round + 1) * 4 {
            sleep(Duration::from_micros(100));
        }
        if round == 3 {
            before = mappings();
        }
    }
    // What is not joined may take a moment to be gone.
    check!(mappings() <= before + 8);
    check!(needm::stats().ms_total <= 8);
}

fn threads_have_a_guard_below_their_stacks() {
    if is_emulated() {
        // qemu-user 7.2 leaves a guard out of the map where it borders on its own reserve.
        return;
    }
    static GUARDED: AtomicUsize = AtomicUsize::new(0);
    fn look() {
        let here = 0_u8;
        GUARDED.fetch_add(usize::from(is_guarded(&raw const here as usize)), SeqCst);
    }
    check!(needm::start(needm::Config::default()).is_ok());
    for size in [0, 4096, 100_000] {
        let Ok(thread) = needm::host::spawn(size + 4096, look) else { fail() };
        thread.join();
    }
    check!(GUARDED.load(SeqCst) == 3);
    // And of one in a callback from birth: its G's, and its own.
    let spawned = needm::spawn(|| {
        look();
        check!(needm::callback(|cx| cx.ccall(look)).is_ok_and(|ran| ran.is_ok()));
        GUARDED.fetch_add(10, SeqCst);
    });
    check!(spawned.is_ok());
    while GUARDED.load(SeqCst) < 10 {
        sleep(Duration::from_micros(100));
    }
    check!(GUARDED.load(SeqCst) == 15);
}

fn a_panic_prints_one_line_and_aborts() {
    panic!("on purpose");
}

#[allow(unconditional_recursion)] // that is the point
fn deeper(depth: usize) -> usize {
    let frame = core::hint::black_box([depth; 64]);
    deeper(depth + 1) + frame[depth % 64]
}

/// Outside a callback the stack is the thread's own, and its fault the process's.
fn a_thread_meets_its_guard() {
    check!(needm::start(needm::Config::default()).is_ok());
    match needm::host::spawn(16 * 1024, || {
        deeper(0);
    }) {
        Ok(thread) => thread.join(),
        Err(_) => fail(),
    }
}
