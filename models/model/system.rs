//! Threads as the system and a C library have them, for the models of the take-back.
//!
//! A thread of the model has a block with what is kept for it. It ends as a C library's does
//! ([`returns`]) or with no more than the system's part ([`exits`]), which follows the robust
//! list as the kernel does.

use crate::os::thread::{FUTEX_OWNER_DIED, RobustHead};
use crate::rest::os::thread as futex;
use crate::signal::minit::Signals;
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Relaxed, Release, SeqCst};
use crate::tls::Tls;
use core::cell::{Cell, UnsafeCell};
use core::ffi::c_void;
use core::ptr;

/// What there is to notice ends by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Host {
    pub(crate) keys: bool,
    pub(crate) robust: bool,
}

/// The number stands before the head as in glibc's `struct pthread`.
#[repr(C)]
pub(crate) struct Block {
    tid: Cell<u32>,
    between: usize,
    head: UnsafeCell<RobustHead>,
    pub(crate) tls: Tls,
    /// The key, and this thread's value.
    pub(crate) value: Cell<(u32, *mut c_void)>,
    /// The signal stack.
    pub(crate) signals: Cell<Option<&'static Signals>>,
    /// How often it has slept until time passed.
    naps: Cell<u32>,
}

pub(crate) const BLOCKS: usize = 8;

std::thread_local! {
    pub(crate) static HOST: Cell<Host> = const { Cell::new(Host { keys: false, robust: false }) };
    // SAFETY: zero is valid for what a block consists of.
    static ALL: &'static [Block; BLOCKS] = Box::leak(unsafe { Box::new_zeroed().assume_init() });
}

loom::thread_local! {
    static NUMBER: Cell<usize> = Cell::new(0);
}

/// By thread number less one.
static ALIVE: [AtomicBool; BLOCKS] = [const { AtomicBool::new(true) }; BLOCKS];
static PASSED: AtomicU32 = AtomicU32::new(0);

pub(crate) fn block() -> &'static Block {
    let number = NUMBER.with(Cell::get);
    ALL.with(|all| &all[number])
}

/// Says which thread this one is.
pub(crate) fn become_one(number: usize) -> &'static Tls {
    NUMBER.with(|own| own.set(number));
    Tls::current()
}

/// Begins an execution on `host`: all threads are alive and have done nothing.
pub(crate) fn boot(host: Host) {
    HOST.set(host);
    futex::fresh();
    PASSED.load(Relaxed);
    for number in 0..BLOCKS {
        become_one(number);
        block().tid.set(u32::try_from(number).expect("a small one") + 1);
        block().naps.set(0);
        starts_anew();
    }
    become_one(0);
}

/// This thread is another, of the same number, that has done nothing yet.
pub(crate) fn starts_anew() {
    let block = block();
    block.has_no_list();
    block.value.set((0, ptr::null_mut()));
    block.signals.set(None);
    block.tls.clear_thread();
    ALIVE[block.tid() as usize - 1].store(true, SeqCst);
}

impl Block {
    pub(crate) fn tid(&self) -> u32 {
        self.tid.get()
    }

    pub(crate) fn head(&self) -> *mut RobustHead {
        self.head.get()
    }

    /// Whether time passes now: twice after each [`time_passes`], once for who is about to
    /// notice what has happened, and once for who just has.
    pub(crate) fn has_napped(&self) -> bool {
        let passes = self.naps.get() < 2 * PASSED.load(SeqCst);
        self.naps.set(self.naps.get() + u32::from(passes));
        passes
    }

    /// exit_robust_list in linux/kernel/futex/core.c.
    fn mark(&self) {
        let head = self.head();
        // SAFETY: a thread's list is its own, and leads through records.
        let (mut entry, offset) = unsafe { ((*head).list, (*head).futex_offset) };
        let mut left = BLOCKS;
        while entry.cast() != head {
            left = left.checked_sub(1).expect("the list ends at its head");
            // SAFETY: as above; a record's words are atomics of the model.
            let word = unsafe { &*entry.byte_offset(offset).cast::<AtomicU32>() };
            // SAFETY: as above.
            let next = unsafe { &*entry.cast::<AtomicUsize>() }.load(Relaxed);
            // Afterwards the entry may be on another thread's list.
            if word.load(Relaxed) == self.tid() {
                let _ = word.compare_exchange(self.tid(), FUTEX_OWNER_DIED, SeqCst, SeqCst);
            }
            entry = next as *mut usize;
        }
        self.has_no_list();
    }

    fn has_no_list(&self) {
        let head = self.head();
        // SAFETY: this thread's own.
        unsafe {
            *head = RobustHead {
                list: head.cast(),
                futex_offset: -32,
                pending: ptr::null_mut(),
            };
        }
    }
}

pub(crate) fn is_alive(tid: u32) -> bool {
    ALIVE[tid as usize - 1].load(SeqCst)
}

/// This thread returns from its function, or calls `pthread_exit`.
pub(crate) fn returns() {
    // PTHREAD_DESTRUCTOR_ITERATIONS
    for _ in 0..4 {
        let (key, value) = block().value.replace((0, ptr::null_mut()));
        if !value.is_null() {
            crate::os::host::run_destructor(key, value);
        }
    }
    exits();
}

/// This thread ends by the system call.
pub(crate) fn exits() {
    if let Some(signals) = block().signals.get() {
        // A last signal.
        signals.use_it();
    }
    block().mark();
    ALIVE[block().tid() as usize - 1].store(false, Release);
    time_passes();
}

/// Nobody sleeps for ever: those who look again from time to time do so after this.
pub(crate) fn time_passes() {
    PASSED.fetch_add(1, SeqCst);
    futex::wake_everybody();
}
