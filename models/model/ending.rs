//! Threads that end, and a system that notices it, for the models of the take-back: what
//! `src/thread/`, `src/tls.rs` and `src/needm.rs` ask for and the models of the list do not.
//!
//! A thread of the model has a block with what a C library and the system keep for it. It
//! ends as a C library's does ([`system::returns`]) or with no more than the system's part
//! ([`system::exits`]), which follows the robust list as the kernel does.

pub(crate) mod arch {
    pub(crate) use crate::rest::arch::needm_gate;

    pub(crate) unsafe fn needm_tls_block() -> *const crate::tls::Tls {
        &raw const crate::system::block().tls
    }
}

/// Threads as the system and a C library have them.
pub(crate) mod system {
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
            while entry.cast() != head {
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
}

pub(crate) mod os {
    pub(crate) mod thread {
        pub(crate) use crate::rest::os::thread::{barrier, now, wake};
        use crate::rest::os::thread as futex;
        use crate::sync::{AtomicU32, Relaxed, is_known};
        use crate::system::{self, HOST};

        pub(crate) const FUTEX_OWNER_DIED: u32 = 0x4000_0000;

        #[repr(C)]
        pub(crate) struct RobustHead {
            pub(crate) list: *mut usize,
            pub(crate) futex_offset: isize,
            pub(crate) pending: *mut usize,
        }

        pub(crate) fn current() -> u32 {
            system::block().tid()
        }

        pub(crate) fn alive(tid: u32) -> bool {
            system::is_alive(tid)
        }

        pub(crate) fn robust_head() -> Option<*mut RobustHead> {
            HOST.get().robust.then(|| system::block().head())
        }

        /// The model's threads have a C library's, or none.
        pub(crate) unsafe fn set_robust_head(_: *mut RobustHead) -> Result<(), ()> {
            Err(())
        }

        pub(crate) fn owner_died(word: &AtomicU32) -> bool {
            word.load(Relaxed) & FUTEX_OWNER_DIED != 0
        }

        /// Sleeps until woken; or for a while, if a thread has ended since this one slept.
        pub(crate) fn wait(word: &AtomicU32, value: u32, _: Option<u64>) -> Result<(), ()> {
            if !is_known(&raw const *word as usize) {
                // Nobody knows the word: only time is to pass.
                loom::thread::yield_now();
                return Ok(());
            }
            futex::wait_unless(word, value, || system::block().has_napped())
        }
    }

    pub(crate) mod host {
        use crate::sync::{AtomicU32, SeqCst};
        use crate::system::{HOST, block};
        use core::cell::Cell;
        use core::ffi::c_void;

        type Destructor = unsafe extern "C" fn(*mut c_void);

        pub(crate) struct Key(u32);

        std::thread_local! {
            static DESTRUCTOR: Cell<Option<Destructor>> = const { Cell::new(None) };
        }
        /// Keys made so far.
        static MADE: AtomicU32 = AtomicU32::new(0);
        /// The last one's number, until it is deleted.
        static VALID: AtomicU32 = AtomicU32::new(0);

        pub(crate) fn key_create(destructor: Destructor) -> Option<Key> {
            if !HOST.get().keys {
                return None;
            }
            DESTRUCTOR.set(Some(destructor));
            let number = MADE.fetch_add(1, SeqCst) + 1;
            VALID.store(number, SeqCst);
            Some(Key(number))
        }

        impl Key {
            pub(crate) fn set(self, value: *const c_void) -> bool {
                block().value.set((self.0, value.cast_mut()));
                true
            }
            pub(crate) fn delete(self) {
                let _ = VALID.compare_exchange(self.0, 0, SeqCst, SeqCst);
            }
            pub(crate) fn number(self) -> u32 {
                self.0
            }
            pub(crate) fn from_number(number: u32) -> Self {
                Self(number)
            }
        }

        /// Unless the key was deleted.
        pub(crate) fn run_destructor(key: u32, value: *mut c_void) {
            if VALID.load(SeqCst) == key {
                let destructor = DESTRUCTOR.get().expect("the key was made");
                // SAFETY: the value was set by this thread for this key.
                unsafe { destructor(value) };
            }
        }
    }

    pub(crate) mod maps {
        pub(crate) fn own_stack(_: usize) -> Option<core::ops::Range<usize>> {
            None
        }
    }
}

pub(crate) mod runtime {
    pub(crate) use crate::rest::runtime::{BINDS_CALLS, MAX_MS, settings};

    use crate::error::Error;
    use crate::extra::EXTRA;
    use crate::m::{M, MS};
    use crate::sync::{AtomicBool, AtomicU32, Relaxed, SeqCst};
    use crate::system;
    use crate::thread;
    use crate::tls::Tls;
    use crate::world;

    static OPEN: AtomicBool = AtomicBool::new(false);
    static EPOCH: AtomicU32 = AtomicU32::new(0);

    pub(crate) fn is_open() -> bool {
        OPEN.load(SeqCst)
    }
    pub(crate) fn epoch() -> u32 {
        EPOCH.load(Relaxed)
    }
    pub(crate) fn gate_of(epoch: u32) -> u32 {
        epoch << 1
    }

    /// The steps of `runtime::start`.
    pub(crate) fn start(ms: u32) {
        thread::start();
        EPOCH.store(epoch() + 1, SeqCst);
        EXTRA.seed(ms).expect("Ms");
        world::open(gate_of(epoch()));
        OPEN.store(true, SeqCst);
    }

    /// The steps of `runtime::stop`, and whether records stay.
    pub(crate) fn stop() -> Result<bool, Error> {
        let tls = Tls::current();
        if !is_open() {
            return Err(Error::NotStarted);
        }
        if !world::take_for_good(thread::known(tls)?) {
            return Err(Error::Busy);
        }
        let ended = close_for_good(tls);
        system::time_passes();
        if ended.is_err() {
            world::open(gate_of(epoch()));
            world::release_the_world();
        }
        ended
    }

    fn close_for_good(tls: &Tls) -> Result<bool, Error> {
        world::close();
        thread::reclaim_all();
        if MS.iter().any(M::is_running) {
            return Err(Error::Busy);
        }
        OPEN.store(false, SeqCst);
        world::heavy_barrier();
        let settled = thread::until(|| {
            EXTRA.wake_all();
            world::wake_all();
            EXTRA.waiting() == 0 && !EXTRA.is_any_on_its_way() && !thread::is_any_on_its_way()
        });
        assert!(settled, "everybody is done in a moment");
        world::release_the_world();
        let live = thread::stop(tls);
        EXTRA.end();
        Ok(live)
    }
}

pub(crate) mod table {
    use crate::sync::{AtomicU32, Relaxed, SeqCst, thing};
    use core::cell::{Cell, OnceCell};
    use core::marker::PhantomData;
    use std::alloc::{Layout, alloc_zeroed};
    use std::rc::Rc;

    pub(crate) unsafe trait Rows: Sync {}

    const ROWS: usize = 3;

    /// Rows that come back after [`Table::clear`] are as they were left.
    pub(crate) struct Table<E> {
        len: AtomicU32,
        rows: PhantomData<E>,
    }

    std::thread_local! {
        /// There is one table of records.
        static MEMORY: OnceCell<usize> = const { OnceCell::new() };
        /// How many rows there are by now.
        static LEN: Cell<u32> = const { Cell::new(0) };
    }

    pub(crate) fn len() -> u32 {
        LEN.get()
    }

    impl<E: Rows> Table<E> {
        pub(crate) const fn new() -> Self {
            Self { len: AtomicU32::new(0), rows: PhantomData }
        }

        fn memory() -> usize {
            let layout = Layout::array::<E>(ROWS).expect("a few");
            // SAFETY: it is of some size.
            MEMORY.with(|memory| *memory.get_or_init(|| unsafe { alloc_zeroed(layout) } as usize))
        }

        /// Read by who looks at rows, written by who unmaps them: loom sees who does at once.
        fn mapping(&self) -> Rc<loom::cell::UnsafeCell<()>> {
            thing(&raw const self.len as usize + 3, || loom::cell::UnsafeCell::new(()))
        }

        pub(crate) fn len(&self) -> u32 {
            self.len.load(SeqCst)
        }

        pub(crate) fn get(&self, index: u32) -> Option<&E> {
            if index >= self.len() {
                return None;
            }
            self.mapping().with(|_| ());
            // SAFETY: zero is valid for rows.
            Some(unsafe { &*(Self::memory() as *const E).add(index as usize) })
        }

        pub(crate) fn iter(&self) -> impl Iterator<Item = &E> {
            (0..self.len()).filter_map(|index| self.get(index))
        }

        pub(crate) fn add(&self) -> Result<u32, ()> {
            let next = |len| ((len as usize) < ROWS).then_some(len + 1);
            let index = self.len.fetch_update(SeqCst, Relaxed, next).map_err(drop)?;
            LEN.set(index + 1);
            Ok(index)
        }

        pub(crate) unsafe fn clear(&self) {
            self.mapping().with_mut(|_| ());
            self.len.store(0, Relaxed);
            LEN.set(0);
        }
    }
}

pub(crate) mod signal {
    pub(crate) mod minit {
        use crate::sync::{AtomicU32, AtomicUsize, Relaxed, thing};
        use crate::system::block;

        /// A signal stack is the record's, and the thread's from minit to unminit or its end.
        #[repr(C)]
        pub(crate) struct Signals {
            pub(crate) base: AtomicUsize,
            pub(crate) size: AtomicUsize,
            ready: AtomicU32,
        }

        impl Signals {
            /// Does what only the thread may do that has it, or who unmaps it.
            pub(crate) fn use_it(&self) {
                let cell: std::rc::Rc<loom::cell::UnsafeCell<u32>> =
                    thing(&raw const self.ready as usize + 3, || loom::cell::UnsafeCell::new(0));
                // SAFETY: loom looks that nobody else is here.
                cell.with_mut(|count| unsafe { *count += 1 });
            }
            pub(crate) fn minit(&'static self, _: bool) {
                if self.ready.load(Relaxed) == 0 {
                    self.use_it();
                    self.ready.store(1, Relaxed);
                    block().signals.set(Some(self));
                }
            }
            pub(crate) fn unminit(&self) -> bool {
                if self.ready.load(Relaxed) != 0 {
                    self.use_it();
                    self.ready.store(0, Relaxed);
                    block().signals.set(None);
                }
                true
            }
            pub(crate) fn forget(&self) {
                self.use_it();
                self.ready.store(0, Relaxed);
            }
            pub(crate) fn unmap(&self) {
                self.use_it();
            }
            pub(crate) fn may_stay(&self) -> bool {
                true
            }
            pub(crate) fn trusted(&self) -> bool {
                true
            }
            pub(crate) fn distrust(&self) {}
            pub(crate) fn bounds(&self) -> (usize, usize) {
                (self.base.load(Relaxed), self.size.load(Relaxed))
            }
        }
    }
}

pub(crate) mod settle {
    use crate::extra;
    use crate::m::M;
    use crate::tls::Tls;

    /// As in `src/settle.rs`.
    pub(crate) fn current(tls: &Tls) -> Option<&'static M> {
        let thread = tls.thread()?;
        tls.m().filter(|m| extra::is_held_by(m, thread))
    }
}

pub(crate) mod trim {
    use crate::m::M;
    use crate::thread::Thread;

    /// Nothing in the models gives up memory.
    pub(crate) fn given(_: &M, _: &Thread) {}
}
