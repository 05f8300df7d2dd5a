//! The rest of the kernel, as far as the shipped sources ask for it: threads that do not
//! end, Ms without a stack, a futex that never wakes by itself.

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
        use loom::sync::{Condvar, Mutex};
        use std::rc::Rc;

        /// A futex: who waits is woken by who wakes, and by nothing else, so that a wake-up
        /// which is lost is a deadlock.
        struct Futex {
            lock: Mutex<()>,
            woken: Condvar,
        }

        fn futex(word: &AtomicU32) -> Rc<Futex> {
            let address = &raw const *word as usize;
            thing(address + 1, || Futex { lock: Mutex::new(()), woken: Condvar::new() })
        }

        pub(crate) fn wait(word: &AtomicU32, value: u32, _: Option<u64>) -> Result<(), ()> {
            let futex = futex(word);
            let guard = futex.lock.lock().expect("not poisoned");
            if word.load(SeqCst) == value {
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

    pub(crate) struct Settings;
    pub(crate) struct Hooks;

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
        pub(crate) fn hooks(&self) -> Hooks {
            Hooks
        }
    }

    impl Hooks {
        pub(crate) fn m_new(&self, _: &M) -> bool {
            true
        }
        pub(crate) fn m_free(&self, _: &M) {}
    }

    pub(crate) fn is_open() -> bool {
        true
    }
    pub(crate) fn epoch() -> u32 {
        1
    }
}

pub(crate) mod thread {
    use crate::error::Error;
    use crate::m::M;
    use crate::sync::{AtomicPtr, Relaxed};
    use crate::tls::Tls;

    pub(crate) struct Thread {
        index: u32,
        last: AtomicPtr<M>,
    }

    pub(crate) static THREADS: [Thread; 4] = [const { Thread::new(0) }; 4];

    impl Thread {
        const fn new(index: u32) -> Self {
            Self { index, last: AtomicPtr::new(core::ptr::null_mut()) }
        }
        pub(crate) fn index(&self) -> u32 {
            let first = &raw const THREADS as usize;
            let at = (&raw const *self as usize - first) / size_of::<Self>();
            self.index + u32::try_from(at).expect("one of four") + 1
        }
        pub(crate) fn last(&self) -> Option<&'static M> {
            // SAFETY: Ms are static.
            unsafe { self.last.load(Relaxed).as_ref() }
        }
        pub(crate) fn held(&self) -> Option<&'static M> {
            None
        }
        pub(crate) fn set_last(&self, m: &'static M) {
            self.last.store(core::ptr::from_ref(m).cast_mut(), Relaxed);
        }
    }

    pub(crate) fn notice_ends() -> u32 {
        0
    }
    pub(crate) fn ask_for_ends() -> u32 {
        0
    }
    pub(crate) fn reclaim_all() -> u32 {
        0
    }
    pub(crate) fn notice_end_of(_: &Thread) {}
    pub(crate) fn known(tls: &Tls) -> Result<&'static Thread, Error> {
        tls.thread().ok_or(Error::NoMemory)
    }
}

pub(crate) mod tls {
    use crate::m::M;
    use crate::thread::{THREADS, Thread};
    use core::cell::Cell;

    loom::thread_local! {
        static NUMBER: Cell<usize> = Cell::new(0);
        static M_OF: Cell<Option<&'static M>> = Cell::new(None);
    }

    pub(crate) struct Tls;

    impl Tls {
        pub(crate) fn current() -> &'static Self {
            &Tls
        }
        pub(crate) fn thread(&self) -> Option<&'static Thread> {
            NUMBER.with(|number| THREADS.get(number.get()))
        }
        pub(crate) fn m(&self) -> Option<&'static M> {
            M_OF.with(Cell::get)
        }
        /// Which thread this one is, and what M it has.
        pub(crate) fn become_one(number: usize, m: Option<&'static M>) -> &'static Thread {
            NUMBER.with(|own| own.set(number));
            M_OF.with(|own| own.set(m));
            &THREADS[number]
        }
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

    pub(crate) struct Stack;
    impl Stack {
        pub(crate) fn map(&self, _: usize) -> Result<(), crate::error::Error> {
            Ok(())
        }
        pub(crate) unsafe fn unmap(&self) {}
        pub(crate) fn lo(&self) -> usize {
            0
        }
        pub(crate) fn hi(&self) -> usize {
            0
        }
    }

    pub(crate) struct M {
        pub(crate) state: AtomicU32,
        next: AtomicU32,
        index: AtomicU32,
        pub(crate) listed: AtomicBool,
        pub(crate) owes: AtomicU32,
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
                epoch: AtomicU32::new(1),
                thread: AtomicPtr::new(ptr::null_mut()),
                below: AtomicPtr::new(ptr::null_mut()),
                over: AtomicPtr::new(ptr::null_mut()),
                running: AtomicBool::new(false),
                segment: Segment { gsp: AtomicUsize::new(0), prev: AtomicPtr::new(ptr::null_mut()) },
                stack: Stack,
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
        pub(crate) fn reset(&self) {}
        pub(crate) fn below(&self) -> Option<&'static M> {
            None
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
        /// Does something that only one thread may do at a time.
        pub(crate) fn use_it(&self) {
            let address = &raw const self.stack as usize;
            let cell: Rc<loom::cell::UnsafeCell<u32>> =
                thing(address + 3, || loom::cell::UnsafeCell::new(0));
            // SAFETY: loom looks that nobody else is here.
            cell.with_mut(|count| unsafe { *count += 1 });
        }
        /// Makes all that it consists of.
        pub(crate) fn touch(&self) {
            self.state.load(Relaxed);
            self.next.load(Relaxed);
            self.index.load(Relaxed);
            self.listed.load(Relaxed);
            self.owes.load(Relaxed);
            self.epoch.load(Relaxed);
            self.thread.load(Relaxed);
            self.running.load(Relaxed);
            self.use_it();
        }
    }

    pub(crate) struct Table {
        rows: [M; 4],
        len: AtomicU32,
    }

    pub(crate) static MS: Table = Table { rows: [const { M::new() }; 4], len: AtomicU32::new(0) };

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

    pub(crate) fn acquire(_: Order) {}
    pub(crate) fn release(_: Order) {}
    pub(crate) fn stack_gone(_: &M) {}
}

pub(crate) mod needm {
    use crate::m::M;

    pub(crate) fn goes_back(_: &M) -> bool {
        true
    }
}

pub(crate) mod callback {
    use crate::m::{M, Segment};
    use crate::tls::Tls;

    /// In a model a thread that has an M and runs is on its G.
    pub(crate) fn running_segment(tls: &Tls) -> Option<(&'static M, &'static Segment)> {
        let m = tls.m().filter(|m| m.is_running())?;
        Some((m, &m.segment))
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
