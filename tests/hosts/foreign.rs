//! What the bodies of `bodies.rs` ask of a host without a C library: foreign threads, made
//! by `clone` and no library, sleep, the process's mappings. And the bodies that only such
//! a host can run.
//!
//! # Safety
//! `foreign_call` is given numbers and arguments of system calls that write to nothing but
//! the buffer they are given. A `Slot` belongs to the thread whose number is in `TIDS`:
//! `foreign` claims it by a compare-and-swap from -1, and `join` frees it only after Linux
//! has written 0 there, which it does when the thread has exited.

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
    static foreign_numbers: [i32; 4];
}

/// A system call that is made here: its place in `foreign_numbers`.
#[derive(Clone, Copy)]
enum Nr {
    Exit,
    OpenAt,
    Read,
    Close,
}

fn call(which: Nr, a: usize, b: usize, c: usize) -> isize {
    // SAFETY: `foreign.S` defines four numbers, in the order of `Nr`.
    let number = unsafe { foreign_numbers[which as usize] } as c_long;
    // SAFETY: exit takes a status and ends this thread; openat reads the string that it is
    // given, a literal; read writes to a buffer of the length it is given, which the caller
    // borrows; close takes a descriptor.
    unsafe { foreign_call(number, a as c_long, b as c_long, c as c_long, 0) as isize }
}

static EMULATED: AtomicBool = AtomicBool::new(false);

pub(crate) fn set_emulated() {
    EMULATED.store(true, SeqCst);
}

pub(crate) fn is_emulated() -> bool {
    EMULATED.load(SeqCst)
}

/// Whether threads are made by a C library.
pub(crate) const HAS_C_LIBRARY: bool = false;

/// Ends the process as a failed one.
pub(crate) fn fail() -> ! {
    needm::host::exit(1)
}

/// Ends this thread at once, by the raw system call.
pub(crate) fn exit_thread() -> ! {
    loop {
        call(Nr::Exit, 0, 0, 0);
    }
}

const STACK: usize = 64 * 1024;
const THREADS: usize = 40;

/// Memory of threads: each slot is a thread's stack, with its thread-local storage on top.
#[repr(align(4096))]
struct Slot {
    stack: core::cell::UnsafeCell<[u8; STACK]>,
}

// SAFETY: `foreign` gives a slot to one thread, by a compare-and-swap in `TIDS`, and to the
// next one only after that thread has exited.
unsafe impl Sync for Slot {}

static STACKS: [Slot; THREADS] =
    [const { Slot { stack: core::cell::UnsafeCell::new([0; STACK]) } }; THREADS];
/// -1: free; -2: claimed; else the thread ID of the thread in that slot, which Linux sets to 0
/// when the thread has exited.
static TIDS: [AtomicI32; THREADS] = [const { AtomicI32::new(-1) }; THREADS];
/// What the thread in a slot runs: a function and its argument.
static WORK: [(AtomicUsize, AtomicUsize); THREADS] =
    [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; THREADS];

/// A thread of a body.
pub(crate) struct Foreign {
    slot: usize,
}

unsafe extern "C" fn run(slot: *mut c_void) -> ! {
    let (function, arg) = &WORK[slot as usize];
    // SAFETY: `foreign` stored a `fn(usize)` there before it made this thread, and the slot
    // is claimed until this thread has exited.
    let function: fn(usize) = unsafe { core::mem::transmute(function.load(SeqCst)) };
    function(arg.load(SeqCst));
    exit_thread()
}

/// Runs `function(arg)` on a thread made by `clone`, which ends by the raw system call.
pub(crate) fn foreign(function: fn(usize), arg: usize) -> Foreign {
    let free = |tid: &AtomicI32| tid.compare_exchange(-1, -2, SeqCst, SeqCst).is_ok();
    let slot = TIDS.iter().position(free).unwrap_or_else(|| fail());
    WORK[slot].0.store(function as usize, SeqCst);
    WORK[slot].1.store(arg, SeqCst);
    let area = ThreadArea::find().unwrap_or_else(|_| fail());
    let top = STACKS[slot].stack.get() as usize + STACK;
    let tls = (top - area.layout().size()) & !(area.layout().align() - 1);
    // SAFETY: this thread has claimed the slot, so nothing else uses its memory until the
    // new thread has exited; `tls` and what lies below it are inside the slot, and `run`
    // never returns.
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
    /// Waits until it has exited.
    pub(crate) fn join(self) {
        while TIDS[self.slot].load(SeqCst) != 0 {
            sleep(Duration::from_micros(100));
        }
        TIDS[self.slot].store(-1, SeqCst);
    }
}

/// Reads `/proc/self/maps`, a line at a time.
fn each_mapping(mut take: impl FnMut(&[u8])) {
    // The path is absolute: the first argument does not matter.
    let file = call(Nr::OpenAt, 0, c"/proc/self/maps".as_ptr() as usize, 0);
    check!(file >= 0);
    let mut buffer = [0_u8; 512];
    let mut line = [0_u8; 512];
    let mut len = 0;
    loop {
        let read = call(Nr::Read, file as usize, buffer.as_mut_ptr() as usize, buffer.len());
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
    call(Nr::Close, file as usize, 0, 0);
}

/// Mappings of this process.
pub(crate) fn mappings() -> usize {
    let mut lines = 0;
    each_mapping(|_| lines += 1);
    lines
}

/// Whether a guard lies directly below the mapping of `address`.
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

/// The bodies that only such a host can run.
pub(crate) const ALL: &[(&str, fn())] = &[
    ("joined_threads_have_run_and_leave_nothing", joined_threads_have_run_and_leave_nothing),
    ("threads_have_a_guard_below_their_stacks", threads_have_a_guard_below_their_stacks),
    ("a_panic_prints_one_line_and_aborts", a_panic_prints_one_line_and_aborts),
    ("a_thread_that_overruns_its_stack_faults_in_the_guard", a_thread_faults_in_its_guard),
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
            // Three are joined, the fourth is detached.
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
    // A detached thread may take a moment to be unmapped, and up to four Ms are made meanwhile, of
    // at most six mappings each with their signal stacks. One that each thread left would be many more.
    check!(mappings() <= before + 8 + 4 * 6);
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
    // A spawned thread runs in a callback: the guard of its G, and that of its own stack.
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

#[allow(unconditional_recursion)] // it is to run out of stack
fn deeper(depth: usize) -> usize {
    let frame = core::hint::black_box([depth; 64]);
    deeper(depth + 1) + frame[depth % 64]
}

/// Outside a callback the thread is on its own stack, and a fault there kills the process.
fn a_thread_faults_in_its_guard() {
    check!(needm::start(needm::Config::default()).is_ok());
    match needm::host::spawn(16 * 1024, || {
        deeper(0);
    }) {
        Ok(thread) => thread.join(),
        Err(_) => fail(),
    }
}
