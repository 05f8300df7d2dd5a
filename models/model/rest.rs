//! The rest of the kernel, as far as the shipped sources ask for it: Ms without a stack, a
//! futex that never wakes by itself.

pub(crate) mod arch {
    use crate::sync::AtomicU32;

    pub(crate) struct Gate {
        pub(crate) value: AtomicU32,
        pub(crate) waiters: AtomicU32,
    }

    /// In its first start, open.
    #[allow(non_upper_case_globals)]
    pub(crate) static needm_gate: Gate =
        Gate { value: AtomicU32::new(2), waiters: AtomicU32::new(0) };
}

pub(crate) mod os {
    pub(crate) mod thread {
        use crate::sync::{AtomicU32, SeqCst, fence, thing};
        use core::cell::RefCell;
        use loom::sync::{Condvar, Mutex};
        use std::rc::Rc;

        /// A futex: who waits is woken by who wakes, and by nothing else, so that a wake-up
        /// which is lost is a deadlock.
        struct Futex {
            lock: Mutex<()>,
            woken: Condvar,
        }

        std::thread_local! {
            /// All of them, of this execution.
            static FUTEXES: RefCell<Vec<Rc<Futex>>> = const { RefCell::new(Vec::new()) };
        }

        /// Begins an execution.
        pub(crate) fn fresh() {
            FUTEXES.take();
        }

        fn futex(word: &AtomicU32) -> Rc<Futex> {
            let address = &raw const *word as usize;
            thing(address + 1, || {
                let futex = Rc::new(Futex { lock: Mutex::new(()), woken: Condvar::new() });
                FUTEXES.with_borrow_mut(|futexes| futexes.push(Rc::clone(&futex)));
                futex
            })
            .as_ref()
            .clone()
        }

        /// Wakes whoever waits for anything.
        pub(crate) fn wake_everybody() {
            for futex in FUTEXES.with_borrow(Vec::clone) {
                let guard = futex.lock.lock().expect("not poisoned");
                futex.woken.notify_all();
                drop(guard);
            }
        }

        pub(crate) fn wait(word: &AtomicU32, value: u32, _: Option<u64>) -> Result<(), ()> {
            wait_unless(word, value, || false)
        }

        /// Waits, unless `over` says that it is over already.
        pub(crate) fn wait_unless(
            word: &AtomicU32,
            value: u32,
            over: impl FnOnce() -> bool,
        ) -> Result<(), ()> {
            let futex = futex(word);
            let guard = futex.lock.lock().expect("not poisoned");
            if word.load(SeqCst) == value && !over() {
                drop(futex.woken.wait(guard).expect("not poisoned"));
            }
            Ok(())
        }

        pub(crate) fn wake(word: &AtomicU32, _: u32) {
            let futex = futex(word);
            let guard = futex.lock.lock().expect("not poisoned");
            futex.woken.notify_all();
            drop(guard);
        }

        /// No time passes.
        pub(crate) fn now() -> u64 {
            0
        }

        pub(crate) fn barrier() {
            fence(SeqCst);
        }
    }
}

pub(crate) mod runtime {
    use crate::m::M;
    use crate::sync::{AtomicU32, Relaxed};

    /// What a model chooses.
    pub(crate) static MAX_MS: AtomicU32 = AtomicU32::new(2);

    std::thread_local! {
        /// Another such choice: whether threads give their M back after each callback.
        pub(crate) static BINDS_CALLS: core::cell::Cell<bool> = const { core::cell::Cell::new(true) };
    }

    pub(crate) struct Settings;
    pub(crate) struct Hooks {
        pub(crate) minit: Option<fn(&M)>,
        pub(crate) unminit: Option<fn(&M)>,
    }

    pub(crate) fn settings() -> Settings {
        Settings
    }

    impl Settings {
        pub(crate) fn max_ms(&self) -> u32 {
            MAX_MS.load(Relaxed)
        }
        pub(crate) fn wait_ns(&self) -> Option<u64> {
            None
        }
        pub(crate) fn stack_size(&self) -> usize {
            0
        }
        /// loom has no barrier on all threads: the models are of kernels without.
        pub(crate) fn enters_with_fence(&self) -> bool {
            true
        }
        pub(crate) fn binds_calls(&self) -> bool {
            BINDS_CALLS.get()
        }
        pub(crate) fn hooks(&self) -> Hooks {
            Hooks { minit: None, unminit: None }
        }
    }

    impl Hooks {
        pub(crate) fn m_new(&self, _: &M) -> bool {
            true
        }
        pub(crate) fn m_free(&self, _: &M) {}
        pub(crate) fn minit(&self, _: &M) {}
        pub(crate) fn unminit(&self, _: &M) {}
    }

    pub(crate) fn is_open() -> bool {
        true
    }
    pub(crate) fn epoch() -> u32 {
        1
    }
}

pub(crate) mod m {
    use crate::list::Links;
    use crate::sync::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Relaxed, Release, SeqCst, thing};
    use crate::thread::Thread;
    use core::ptr;
    use std::rc::Rc;

    pub(crate) struct Segment {
        pub(crate) gsp: AtomicUsize,
        pub(crate) prev: AtomicPtr<Segment>,
    }

    /// At an address of its own.
    pub(crate) struct Stack(#[allow(dead_code)] u64);
    impl Stack {
        pub(crate) fn map(&self, _: usize) -> Result<(), crate::error::Error> {
            Ok(())
        }
        /// Nobody uses it.
        pub(crate) unsafe fn unmap(&self) {
            self.use_it();
        }
        /// Does something that only one thread may do at a time.
        fn use_it(&self) {
            let address = &raw const *self as usize;
            let cell: Rc<loom::cell::UnsafeCell<u32>> =
                thing(address + 3, || loom::cell::UnsafeCell::new(0));
            // SAFETY: loom looks that nobody else is here.
            cell.with_mut(|count| unsafe { *count += 1 });
        }
        pub(crate) fn lo(&self) -> usize {
            0
        }
        pub(crate) fn hi(&self) -> usize {
            0
        }
        pub(crate) fn prefault(&self, _: usize) {}
    }

    pub(crate) struct M {
        pub(crate) state: AtomicU32,
        next: AtomicU32,
        index: AtomicU32,
        pub(crate) listed: AtomicBool,
        pub(crate) owes: AtomicU32,
        pub(crate) attached: AtomicBool,
        pub(crate) sig_lo: AtomicUsize,
        pub(crate) sig_len: AtomicUsize,
        pub(crate) over_pass: AtomicU32,
        pub(crate) epoch: AtomicU32,
        pub(crate) thread: AtomicPtr<Thread>,
        pub(crate) below: AtomicPtr<M>,
        pub(crate) over: AtomicPtr<M>,
        running: AtomicBool,
        pub(crate) segment: Segment,
        pub(crate) stack: Stack,
    }

    impl M {
        const fn new() -> Self {
            Self {
                state: AtomicU32::new(0),
                next: AtomicU32::new(0),
                index: AtomicU32::new(0),
                listed: AtomicBool::new(false),
                owes: AtomicU32::new(0),
                attached: AtomicBool::new(false),
                sig_lo: AtomicUsize::new(0),
                sig_len: AtomicUsize::new(0),
                over_pass: AtomicU32::new(0),
                epoch: AtomicU32::new(1),
                thread: AtomicPtr::new(ptr::null_mut()),
                below: AtomicPtr::new(ptr::null_mut()),
                over: AtomicPtr::new(ptr::null_mut()),
                running: AtomicBool::new(false),
                segment: Segment { gsp: AtomicUsize::new(0), prev: AtomicPtr::new(ptr::null_mut()) },
                stack: Stack(0),
            }
        }
        pub(crate) fn fill(&self, index: u32) {
            self.index.store(index, Relaxed);
        }
        pub(crate) fn index(&self) -> u32 {
            self.index.load(Relaxed)
        }
        pub(crate) fn set_local(&self, _: *mut core::ffi::c_void) {}
        pub(crate) fn soil(&self) {}
        pub(crate) fn reset(&self) {
            self.set_running(false);
        }
        pub(crate) fn below(&self) -> Option<&'static M> {
            // SAFETY: Ms are static.
            unsafe { self.below.load(Relaxed).as_ref() }
        }
        pub(crate) fn over(&self) -> Option<&'static M> {
            // SAFETY: as above.
            unsafe { self.over.load(Relaxed).as_ref() }
        }
        pub(crate) fn segment(&self) -> Option<&'static Segment> {
            None
        }
        pub(crate) fn is_inside(&self) -> bool {
            self.is_running()
        }
        pub(crate) fn is_running(&self) -> bool {
            self.running.load(SeqCst)
        }
        pub(crate) fn set_running(&self, running: bool) {
            self.running.store(running, Release);
        }
        /// Uses its stack.
        pub(crate) fn use_it(&self) {
            self.stack.use_it();
        }
        /// Makes all that it consists of.
        pub(crate) fn touch(&self) {
            self.state.load(Relaxed);
            self.next.load(Relaxed);
            self.index.load(Relaxed);
            self.listed.load(Relaxed);
            self.owes.load(Relaxed);
            self.attached.load(Relaxed);
            self.sig_lo.load(Relaxed);
            self.sig_len.load(Relaxed);
            self.over_pass.load(Relaxed);
            self.below.load(Relaxed);
            self.over.load(Relaxed);
            self.epoch.load(Relaxed);
            self.thread.load(Relaxed);
            self.running.load(Relaxed);
            self.use_it();
        }
    }

    pub(crate) struct Table {
        rows: [M; 3],
        len: AtomicU32,
    }

    pub(crate) static MS: Table = Table { rows: [const { M::new() }; 3], len: AtomicU32::new(0) };

    impl Table {
        pub(crate) fn get(&self, index: u32) -> Option<&M> {
            self.rows.get(index as usize)
        }
        pub(crate) fn len(&self) -> u32 {
            self.len.load(SeqCst)
        }
        pub(crate) fn iter(&self) -> impl Iterator<Item = &M> {
            self.rows.iter().take(self.len() as usize)
        }
        pub(crate) fn add(&self) -> Result<u32, ()> {
            let index = self.len.fetch_add(1, SeqCst);
            if (index as usize) < self.rows.len() { Ok(index) } else { Err(()) }
        }
        pub(crate) fn touch(&self) {
            self.len.load(Relaxed);
            self.rows.iter().for_each(M::touch);
        }
    }

    impl Links for Table {
        fn link(&self, index: u32) -> Option<&AtomicU32> {
            self.get(index).map(|m| &m.next)
        }
    }
}

pub(crate) mod tools {
    use crate::m::M;

    pub(crate) enum Order {
        Left,
        Started,
    }

    pub(crate) const WATCH_SWITCHES: bool = false;

    pub(crate) fn acquire(_: Order) {}
    pub(crate) fn release(_: Order) {}
    pub(crate) fn stack_gone(_: &M) {}
}

pub(crate) mod callback {
    use crate::m::{M, Segment};
    use crate::tls::Tls;

    /// In a model a thread that has an M and runs is on its G.
    pub(crate) fn running_segment(tls: &Tls) -> Option<(&'static M, &'static Segment)> {
        let m = tls.m().filter(|m| m.is_running())?;
        Some((m, &m.segment))
    }
    pub(crate) fn is_inside(_: &Tls) -> bool {
        false
    }
    pub(crate) fn current_segment(_: &Tls) -> Option<(&'static M, &'static Segment)> {
        None
    }
}

pub(crate) mod ccall {
    use crate::m::{M, Segment};
    use crate::world;

    /// As `src/ccall.rs`, without the stacks.
    pub(crate) fn on_g0<W: FnMut()>(m: &M, _: &Segment, work: &mut W) {
        world::leave(m);
        work();
        world::enter(m);
    }
}
