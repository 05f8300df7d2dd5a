//! Threads that end, and a system that notices it, for the models of the take-back: what
//! `src/thread/`, `src/tls.rs` and `src/needm.rs` ask for and the models of the list do not.

pub(crate) mod arch {
    pub(crate) use crate::rest::arch::needm_gate;

    pub(crate) unsafe fn needm_tls_block() -> *const crate::tls::Tls {
        &raw const crate::system::block().tls
    }
}

pub(crate) mod os {
    pub(crate) mod thread {
        pub(crate) use crate::rest::os::thread::{barrier, now, wake};
        use crate::rest::os::thread as futex;
        use crate::sync::{Acquire, AtomicU32, Relaxed, fence, is_known};
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
            let died = word.load(Relaxed) & FUTEX_OWNER_DIED != 0;
            if died {
                fence(Acquire);
            }
            died
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

    /// # Safety
    /// Zero is valid.
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
