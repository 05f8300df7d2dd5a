//! What needm asks of the operating system: a contract in some thirty names. A system is a
//! *room*, a folder below this one that has these names; this file alone chooses the room.
//! Portable code asks through this file, and through nothing else. What belongs to faults
//! is in `fault.rs`.
//!
//! # Rules
//!
//! Unless a name says otherwise, a function here
//! - does not allocate, takes no lock, and waits for nothing;
//! - leaves the thread's last error (`errno`) as it was;
//! - does not panic, and ends the process only if that is what it is for;
//! - may be called on any thread, on any stack of at least 2 KiB, and by a *handler*: code
//!   that the system runs on a thread between any two of its instructions (on POSIX systems
//!   a signal's handler). Where a system has no handlers, what is said of them does nothing.
//!
//! # Calls upward
//!
//! A room imports `arch`, `sync`, `error`, `layout` and `terms.rs`. It calls needm by
//! - `needm_on_fault` (defined in `callback/fault.rs`): a fault has happened;
//! - `needm_lent_stack` (defined in `callback/fault.rs`): on which stack handlers would run
//!   without needm;
//! - `needm_thread_exit` (defined in `thread/mod.rs`): a thread that the room made is at its
//!   end;
//! - the two functions that [`exit::begin`] and [`fork::on_child`] are given.
//!
//! # Shared with assembly
//!
//! Assembly reads two words of a room's `Readiness`, its first two, `base` and `size`: the
//! bounds of the handler stack (`SIG_LO` and `SIG_LEN` in `layout.rs`).
#![allow(unsafe_code)] // functions whose callers have to promise something

#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod room;
pub(crate) mod fault;
mod terms;

#[cfg(not(target_os = "linux"))]
compile_error!("needm runs on Linux only");

/// Memory, in whole pages.
pub(crate) mod memory {
    use super::room::memory as room;
    pub(crate) use super::terms::Access;

    /// The system has no memory, or no more mappings.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Refused;

    /// Asks the system for the size of a page. To be called before the first
    /// [`page_size`]; not from a handler. The answer never changes.
    pub(crate) fn ask_page_size() {
        room::ask_page_size();
    }

    /// Bytes of a page: what [`ask_page_size`] found, a power of two from 4096 on. Costs
    /// one load.
    pub(crate) fn page_size() -> usize {
        room::page_size()
    }

    /// Maps `len` bytes of zeros, up to the end of a page, at an address of the system's
    /// choice, aligned to a page. They take memory only where they are touched.
    pub(crate) fn map(len: usize, access: Access) -> Result<usize, Refused> {
        room::map(len, access).map_err(|_| Refused)
    }

    /// Unmaps what [`map`] gave for `len` bytes, the whole of it. Cannot fail.
    ///
    /// # Safety
    /// `start` and `len` are those of one [`map`], and nothing refers to the range.
    pub(crate) unsafe fn unmap(start: usize, len: usize) {
        // SAFETY: the range is one whole mapping of `map`, and nothing refers to it, by this
        // function's own contract.
        unsafe { room::unmap(start, len) }
    }

    /// Changes what a range may be used for. What it holds stays.
    ///
    /// # Safety
    /// The range is whole pages of one mapping that [`map`] made, and nothing uses it in a
    /// way that is no longer allowed.
    pub(crate) unsafe fn protect(start: usize, len: usize, access: Access) -> Result<(), Refused> {
        // SAFETY: the range is part of one mapping of `map`, and is used only as `access` allows,
        // by this function's own contract.
        unsafe { room::protect(start, len, access) }.map_err(|_| Refused)
    }

    /// Gives the memory of a range back. It reads as zeros afterwards, or as before where
    /// the system keeps it; the range stays mapped. Cannot fail.
    ///
    /// # Safety
    /// The range is whole pages of one mapping that [`map`] made, and what it holds is not
    /// needed.
    pub(crate) unsafe fn discard(start: usize, len: usize) {
        // SAFETY: the range is part of one mapping of `map`, and nothing there is needed, by this
        // function's own contract.
        unsafe { room::discard(start, len) }
    }
}

/// Waiting on a word, and waking those that wait.
pub(crate) mod wait {
    use super::room::wait as room;
    use crate::sync::AtomicU32;

    /// Sleeps while `word` is `value`, at most `nanos`; `None` is for ever. The comparison
    /// and going to sleep are one step for a [`wake`] that comes after a change of the word.
    /// May return early; the caller looks again.
    pub(crate) fn wait(word: &AtomicU32, value: u32, nanos: Option<u64>) {
        room::wait(word, value, nanos);
    }

    /// Wakes up to `count` threads that sleep on the word at this address. The address is
    /// only compared: nothing need be there any more.
    pub(crate) fn wake(word: *const AtomicU32, count: u32) {
        room::wake(word, count);
    }

    /// Nanoseconds of a clock that only goes forward.
    pub(crate) fn now() -> u64 {
        room::now()
    }
}

/// The asymmetric barrier: one thread pays for the fences of all.
pub(crate) mod barrier {
    use super::room::barrier as room;

    /// Readies this process for [`run`]. False if the system has no such barrier, or does
    /// not keep what it promises; then every other side needs a fence of its own.
    pub(crate) fn register() -> bool {
        room::register()
    }

    /// A full barrier on every thread of this process that is running. Only after
    /// [`register`] has said yes.
    pub(crate) fn run() {
        room::run();
    }
}

/// Threads: starting one, and where its stack is.
pub(crate) mod thread {
    use super::room::thread as room;
    pub(crate) use super::terms::Main;
    use core::ffi::c_void;
    use core::ops::Range;

    /// Runs `main(arg)` on a new thread that is not joined. May allocate and lock; not from
    /// a handler. If the system refuses: its error number.
    ///
    /// # Safety
    /// `main` may be called with `arg` on another thread.
    pub(crate) unsafe fn start(main: Main, arg: *mut c_void) -> Result<(), i32> {
        // SAFETY: `main` may be called with `arg` on another thread, by this function's own
        // contract.
        unsafe { room::start(main, arg) }
    }

    /// The stack that this thread was made with: from its lowest address that may ever be
    /// in use, to its highest. `None` if that cannot be told. `block` is an address in this
    /// thread's thread-local storage. May cost tens of microseconds, once a thread.
    pub(crate) fn own_stack(block: usize) -> Option<Range<usize>> {
        room::own_stack(block)
    }

    /// In a forked child: no thread that [`start`] made exists, but maybe this one.
    pub(crate) fn fork_child() {
        room::fork_child();
    }
}

/// How the exit of a thread is noticed.
///
/// Two ways, of which a system has one at least. *At once*: the exiting thread itself calls
/// the function that [`begin`](exit::begin) was given. *Later*: another thread asks
/// [`Notice::has_exited`](exit::Notice::has_exited). The first may miss ends (a raw system
/// call); the second finds every one.
pub(crate) mod exit {
    use super::room::exit as room;
    pub(crate) use super::terms::OnExit;
    use core::ffi::c_void;

    /// From here on [`Notice::arm`] works: exiting threads call `on_exit`. Not from a
    /// handler. May allocate.
    pub(crate) fn begin(on_exit: OnExit) {
        room::begin(on_exit);
    }

    /// No thread calls `on_exit` any more, but those that are in it. Not from a handler.
    pub(crate) fn end() {
        room::end();
    }

    /// The part of a thread's record that notices its exit. All zeros is valid, and watches
    /// nothing. It must not move while it watches.
    ///
    /// `block` is always an address in the calling thread's thread-local storage.
    #[repr(transparent)]
    pub(crate) struct Notice(room::Notice);

    impl Notice {
        /// From now on the record is this thread's: notes which thread that is.
        pub(crate) fn begin(&self, block: usize) {
            self.0.begin(block);
        }

        /// Has this thread call `on_exit(value)` when it exits, once. May be repeated, also
        /// from `on_exit`. May allocate, in the C library.
        pub(crate) fn arm(&self, value: *const c_void) {
            self.0.arm(value);
        }

        /// Has the system note this thread's exit here, if the system can.
        pub(crate) fn watch(&self, block: usize) {
            self.0.watch(block);
        }

        /// Undoes [`Notice::watch`], on the same thread.
        pub(crate) fn unwatch(&self, block: usize) {
            self.0.unwatch(block);
        }

        /// Whether the system itself notes this thread's exit, in whatever way it comes.
        pub(crate) fn is_watched(&self) -> bool {
            self.0.is_watched()
        }

        /// Whether the thread has exited, as far as can be told. What it wrote is seen if
        /// so. Without `ask` this makes no system call; with it, the system is asked whether
        /// the thread lives, if nothing else tells. A yes is final.
        pub(crate) fn has_exited(&self, ask: bool) -> bool {
            self.0.has_exited(ask)
        }

        /// The record is no thread's.
        pub(crate) fn forget(&self) {
            self.0.forget();
        }

        /// In a forked child, on the thread of this record, which has a new identity.
        pub(crate) fn fork_child(&self, block: usize) {
            self.0.fork_child(block);
        }
    }
}

/// The thread's last error (`errno`), where there is one.
pub(crate) mod last_error {
    use super::room::last_error as room;

    /// Sets it.
    pub(crate) fn set(number: i32) {
        room::set(number);
    }

    /// Runs `work` and leaves it as it was.
    pub(crate) fn keeping<R>(work: impl FnOnce() -> R) -> R {
        room::keeping(work)
    }
}

/// The process: its last words, and its end.
pub(crate) mod process {
    use super::room::process as room;
    use core::ffi::c_int;

    /// Writes to standard error what of `text` it takes. May wait for its reader.
    pub(crate) fn last_words(text: &[u8]) {
        room::last_words(text);
    }

    /// Ends the process as `abort` does, whatever handlers are installed.
    pub(crate) fn abort() -> ! {
        room::abort()
    }

    /// Ends the process as a fault of this number does (`Fault::number`)
    /// that nothing handles.
    pub(crate) fn die_of_fault(number: c_int) -> ! {
        room::die_of_fault(number)
    }
}

/// Forks.
pub(crate) mod fork {
    use super::room::fork as room;

    /// Has every child of a fork call `child`, if the C library can. It cannot be taken
    /// back, and twice is twice. May allocate and lock; not from a handler.
    pub(crate) fn on_child(child: extern "C" fn()) {
        room::on_child(child);
    }
}

/// A program without a C library (feature `freestanding`), from its first instruction on.
/// The room brings `_start`, which calls the host's `needm_main`.
#[cfg(feature = "freestanding")]
pub(crate) mod program {
    use super::room::program as room;

    /// Why the system refused, as a number of its own.
    pub use room::Errno;
    /// What an argument that makes no sense is refused with.
    #[cfg(feature = "capi")]
    pub(crate) use room::INVALID;
    /// Memory for a thread's thread-local storage, and what is laid out there: `find`,
    /// `align`, `bytes`, `copy_to`.
    pub(crate) use room::ThreadArea;
    /// `spawn_joinable(stack_size, run)`: a thread with at least so much stack; its row, and
    /// its number. `Row::join` waits until it has exited; `Row::leave_alone`: it is not joined.
    pub(crate) use room::{Row, spawn_joinable};
    /// `exit(status)`: ends the process. `write(file, bytes)`: writes what of them the
    /// file takes.
    pub(crate) use room::{exit, write};
}
