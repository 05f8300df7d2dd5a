//! Threads that do not end, for the models of the list and of the gate.

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

pub(crate) mod needm {
    use crate::m::M;

    pub(crate) fn goes_back(_: &M) -> bool {
        true
    }
}
