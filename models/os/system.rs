//! Threads as the system and a C library have them.
//!
//! A thread of the model has a block with what is kept for it. It exits as a C library's does
//! ([`returns`]), or with no more than the system's part ([`exits`]), which follows the robust
//! list as Linux does.

use super::fault::Readiness;
use super::{Errno, libc, wait};
use crate::arch::linux::nr;
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Relaxed, Release, SeqCst, words};
use crate::tls::Tls;
use core::cell::{Cell, RefCell, UnsafeCell};
use core::ffi::c_void;
use core::ptr;
use loom::sync::Mutex;
use std::boxed::Box;
use std::rc::Rc;

/// What exits are noticed by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Host {
    pub(crate) keys: bool,
    pub(crate) robust: bool,
}

/// The bit that Linux sets in a robust futex (include/uapi/linux/futex.h).
const FUTEX_OWNER_DIED: u32 = 0x4000_0000;

/// `struct robust_list_head` (include/uapi/linux/futex.h).
#[repr(C)]
struct RobustHead {
    list: *mut usize,
    futex_offset: isize,
    pending: *mut usize,
}

/// The thread ID stands before the head as in glibc's `struct pthread`.
#[repr(C)]
pub(crate) struct Block {
    tid: Cell<u32>,
    between: usize,
    head: UnsafeCell<RobustHead>,
    pub(crate) tls: Tls,
    /// The key, and this thread's value.
    pub(super) value: Cell<(u32, *mut c_void)>,
    pub(super) handler_stack: Cell<*const Readiness>,
    /// Its stack pointer while it is on a G, else 0.
    pub(crate) sp: Cell<usize>,
    /// How often it has slept until time passed.
    naps: Cell<u32>,
}

pub(crate) const BLOCKS: usize = 8;

std::thread_local! {
    static HOST: Cell<Host> = const { Cell::new(Host { keys: false, robust: false }) };
    /// How often time has passed. A thread that is about to sleep and one that makes time pass
    /// see each other: one of them has the lock first.
    static PASSED: RefCell<Option<Rc<Mutex<u32>>>> = const { RefCell::new(None) };
    // SAFETY: zero is valid for what a block consists of.
    static ALL: &'static [Block; BLOCKS] = Box::leak(Box::new(unsafe { core::mem::zeroed() }));
}

/// By thread ID less one.
static ALIVE: [AtomicBool; BLOCKS] = [const { AtomicBool::new(true) }; BLOCKS];

fn passed() -> Rc<Mutex<u32>> {
    PASSED.with_borrow(|passed| Rc::clone(passed.as_ref().expect("the system is there")))
}

pub(crate) fn host() -> Host {
    HOST.get()
}

pub(crate) fn block() -> &'static Block {
    ALL.with(|all| &all[words::thread()])
}

/// Says which thread this one is.
pub(crate) fn become_one(number: usize) -> &'static Tls {
    words::become_thread(number);
    Tls::current()
}

/// Begins an execution on `host`: all threads are alive and have done nothing.
pub(crate) fn boot(host: Host) {
    HOST.set(host);
    wait::fresh();
    PASSED.set(Some(Rc::new(Mutex::new(0))));
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
    block.handler_stack.set(ptr::null());
    block.sp.set(0);
    block.tls.clear_thread();
    ALIVE[block.tid() as usize - 1].store(true, SeqCst);
}

impl Block {
    pub(super) fn tid(&self) -> u32 {
        self.tid.get()
    }

    /// Whether time passes now: twice after each [`time_passes`], once for a thread that is
    /// about to notice what has happened, and once for one that just has.
    pub(super) fn has_napped(&self) -> bool {
        let passes = self.naps.get() < 2 * *passed().lock().expect("not poisoned");
        self.naps.set(self.naps.get() + u32::from(passes));
        passes
    }

    /// `exit_robust_list` in linux/kernel/futex/core.c.
    fn mark(&self) {
        let head = self.head.get();
        // SAFETY: a thread's list is its own, and leads through records, which stay mapped
        // while a live thread has them.
        let (mut entry, offset) = unsafe { ((*head).list, (*head).futex_offset) };
        let mut left = BLOCKS;
        while entry.cast() != head {
            left = left.checked_sub(1).expect("the list ends at its head");
            // SAFETY: the entry is one of a record, whose words are atomics of the model.
            let (word, next) = unsafe {
                (&*entry.byte_offset(offset).cast::<AtomicU32>(), &*entry.cast::<AtomicUsize>())
            };
            let next = next.load(Relaxed);
            // Afterwards the entry may be on another thread's list.
            if word.load(Relaxed) == self.tid() {
                let _ = word.compare_exchange(self.tid(), FUTEX_OWNER_DIED, SeqCst, SeqCst);
            }
            entry = next as *mut usize;
        }
        self.has_no_list();
    }

    fn has_no_list(&self) {
        let head = self.head.get();
        // SAFETY: this thread's own.
        unsafe {
            *head = RobustHead { list: head.cast(), futex_offset: -32, pending: ptr::null_mut() };
        }
    }
}

pub(super) fn is_alive(tid: u32) -> bool {
    ALIVE[tid as usize - 1].load(SeqCst)
}

/// This thread returns from its function, or calls `pthread_exit`.
pub(crate) fn returns() {
    // PTHREAD_DESTRUCTOR_ITERATIONS
    for _ in 0..4 {
        let (key, value) = block().value.replace((0, ptr::null_mut()));
        if !value.is_null() {
            libc::run_destructor(key, value);
        }
    }
    exits();
}

/// This thread ends by the system call.
pub(crate) fn exits() {
    let handler_stack = block().handler_stack.get();
    // SAFETY: null, or in this thread's record, which stays mapped until its end.
    if let Some(stack) = unsafe { handler_stack.as_ref() } {
        // A last handler.
        stack.use_stack();
    }
    block().mark();
    ALIVE[block().tid() as usize - 1].store(false, Release);
    time_passes();
}

/// No sleep lasts for ever: those that look again from time to time do so after this.
pub(crate) fn time_passes() {
    *passed().lock().expect("not poisoned") += 1;
    wait::wake_everybody();
}

/// What a system call is given.
pub(super) trait Asked {
    fn answer(self, number: usize) -> Result<usize, Errno>;
}

/// `get_robust_list`: the C library has one for each thread, if the system has them.
impl<T> Asked for (i32, &mut *mut T, &mut usize) {
    fn answer(self, number: usize) -> Result<usize, Errno> {
        if number != nr::GET_ROBUST_LIST || !host().robust {
            return Err(Errno);
        }
        *self.1 = block().head.get().cast();
        *self.2 = size_of::<RobustHead>();
        Ok(0)
    }
}

/// `set_robust_list`: a thread has its C library's, or none.
impl<T> Asked for (*mut T, usize) {
    fn answer(self, _: usize) -> Result<usize, Errno> {
        Err(Errno)
    }
}

/// A system call.
///
/// # Safety
/// As its manual page asks.
pub(super) unsafe fn call(number: usize, asked: impl Asked) -> Result<usize, Errno> {
    asked.answer(number)
}
