// SPDX-License-Identifier: MIT OR Apache-2.0
//! What needm asks of the operating system: a contract of names. A system is a *room*, a folder
//! below this one that has these names; this file alone chooses the room.
//! Portable code asks through this file, and through nothing else. What belongs to faults
//! is in `fault.rs`, interrupts are in `interrupt.rs`, memory is in `memory.rs`.
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
//! - `needm_on_interrupt` (defined in `callback/interrupt.rs`): a thread was interrupted;
//! - `needm_has_request` (defined there, too): whether a callback of this thread is to be ended;
//! - `needm_lent_stack` (defined in `callback/fault.rs`): on which stack handlers would run
//!   without needm;
//! - `needm_is_on_g` (defined in `callback/fault.rs`): whether a callback of this copy runs there;
//! - `needm_thread_exit` (defined in `thread/mod.rs`): a thread that the room made is at its
//!   end;
//! - the two functions that [`exit::begin`] and [`fork::on_child`] are given.
//!
//! # Shared with assembly
//!
//! Assembly reads two words of a room's `Readiness`, its first two, `known`: a part of one of the
//! thread's stacks, where no handler is on a handler stack (`KNOWN_LO` and `KNOWN_LEN` in `layout.rs`).
#![allow(unsafe_code)] // functions whose callers have to promise something

#[cfg(all(target_os = "linux", not(needm_loom)))]
#[path = "linux/mod.rs"]
mod room;
#[cfg(all(target_os = "windows", not(needm_loom)))]
#[path = "windows/mod.rs"]
mod room;
#[cfg(needm_loom)] // by the package `needm-models`
#[path = "../../models/os/mod.rs"]
mod room;
#[cfg(needm_loom)]
pub(crate) use room::system;
pub(crate) mod fault;
#[cfg_attr(needm_loom, allow(dead_code))] // nothing interrupts a thread there
pub(crate) mod interrupt;
pub(crate) mod memory;
#[cfg_attr(needm_loom, allow(dead_code))] // nothing faults there
mod terms;

#[cfg(not(any(target_os = "linux", target_os = "windows")))]
compile_error!("needm runs on Linux and Windows only");

/// From here on, whether the room makes no system call that needm can do without: in a sandbox, one
/// that is not expected may end the process. Then there is no barrier (`barrier`), no clock
/// (`wait`), and no exit is noted by the system (`exit`).
pub(crate) fn spare_calls(spares: bool) {
    room::spare_calls(spares);
}

/// Waiting on a word, and waking those that wait.
pub(crate) mod wait {
    use super::room::wait as room;
    use crate::sync::AtomicU32;

    /// Sleeps while `word` is `value`, at most `nanos`; `None` is for ever. The comparison
    /// and going to sleep are one step for a [`wake`] that comes after a change of the word.
    /// May return early; the caller looks again. Says whether all of that time has passed.
    pub(crate) fn wait(word: &AtomicU32, value: u32, nanos: Option<u64>) -> bool {
        room::wait(word, value, nanos)
    }

    /// Wakes up to `count` threads that sleep on the word at this address. The address is
    /// only compared: nothing need be there any more.
    pub(crate) fn wake(word: *const AtomicU32, count: u32) {
        room::wake(word, count);
    }

    /// Nanoseconds of a clock that only goes forward; `None` if the system does not let it be
    /// read.
    pub(crate) fn now() -> Option<u64> {
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
    /// [`register`] has said yes. False if the system refuses it by now: there was no barrier.
    pub(crate) fn run() -> bool {
        room::run()
    }
}

/// Threads: starting one, and where its stack is.
pub(crate) mod thread {
    use super::room::thread as room;
    pub(crate) use super::terms::Main;
    use crate::valgrind;
    use core::ffi::c_void;
    use core::ops::Range;
    use core::ptr;

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

    /// The word at this address, which is aligned for one; `None` if it cannot be read. For frames on stacks
    /// of this thread's that may be gone. One system call.
    pub(crate) fn word_at(address: usize) -> Option<usize> {
        let word = ptr::with_exposed_provenance::<usize>(address);
        // SAFETY: the system has just read it. It is on a stack of this thread's, which the host does not
        // unmap while this thread may be in a callback that was made from it. Volatile, because nothing says
        // to the compiler that there is a word.
        room::can_read(address).then(|| valgrind::looked_at(|| unsafe { word.read_volatile() }))
    }

    /// The stack that this thread was made with: from its lowest address that may ever be
    /// in use, to its highest. Empty if that cannot be told from what else is in its mapping; `None` if
    /// nothing can be told. `block` is an address in this thread's thread-local storage. May cost
    /// tens of microseconds, once a thread.
    pub(crate) fn own_stack(block: usize) -> Option<Range<usize>> {
        room::own_stack(block)
    }

    /// The part of that stack which `address` is on, if that is known without a system call. `found` is
    /// what [`own_stack`] has given before, or empty.
    pub(crate) fn known_own_part(
        block: usize,
        address: usize,
        found: Range<usize>,
    ) -> Option<Range<usize>> {
        room::known_own_part(block, address, found)
    }

    /// Notes where the stack of the process's first thread ends, for [`own_stack_end`]. Not from a handler.
    pub(crate) fn note_first_stack() {
        room::note_first_stack();
    }

    /// If [`own_stack`] cannot tell: an address of that stack above all frames there. `None` if the
    /// system does not say.
    pub(crate) fn own_stack_end(block: usize) -> Option<usize> {
        room::own_stack_end(block)
    }

    /// Whether `address` is on that stack, up to `end`, which [`own_stack_end`] has given: memory
    /// between the two has no gap. Costs a system call a page. Also in a handler.
    pub(crate) fn is_own_stack_down_to(address: usize, end: usize) -> bool {
        room::is_own_stack_down_to(address, end)
    }

    /// Whether C libraries put the thread-local storage of this thread at the top of its stack: not that of the process's
    /// first thread. Also in a handler.
    pub(crate) fn has_block_on_its_stack() -> bool {
        room::has_block_on_its_stack()
    }

    /// The mapping of memory that an address is in; of a guard, with the stack above it. `None` if that
    /// cannot be told, or if it is the stack of the process's first thread. May cost tens of
    /// microseconds. Also in a handler.
    pub(crate) fn mapping(address: usize) -> Option<Range<usize>> {
        room::mapping(address)
    }

    /// The memory below a stack, from `end` downwards, that nothing may touch; `None` if that cannot
    /// be told. May cost tens of microseconds. Also in a handler.
    pub(crate) fn guard_below(end: usize) -> Option<Range<usize>> {
        room::guard_below(end)
    }

    /// This thread runs at `sp`, where it may have come by a switch of the host's. If that is on the G,
    /// a system that has to know of each stack is told.
    pub(crate) fn note_stack(sp: usize) {
        room::note_stack(sp);
    }

    /// In a forked child: no thread that [`start`] made exists, but maybe this one. Its own stack is that
    /// of the thread which forked; `block` is as in [`own_stack`].
    pub(crate) fn fork_child(block: usize) {
        room::fork_child(block);
    }
}

/// How the exit of a thread is noticed.
///
/// Two ways, of which a system has one at least. *At once*: the exiting thread itself calls
/// the function that [`begin`](exit::begin) was given. *Later*: another thread asks
/// [`Notice::has_exited`](exit::Notice::has_exited). The first may miss exits (a raw system
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

    /// The ID by which the system knows the calling thread; 0 if it does not say.
    pub(crate) fn own_id() -> u32 {
        room::own_id()
    }

    /// The same, without a system call where it is known otherwise.
    pub(crate) fn thread_id(block: usize) -> u32 {
        room::thread_id(block)
    }

    /// Whether this process has a thread of this ID, or may have one. One system call.
    pub(crate) fn is_alive(id: u32) -> bool {
        room::is_alive(id)
    }

    /// In a forked child, before anything else here: notes that this is another process.
    pub(crate) fn note_new_process() {
        room::note_new_process();
    }

    /// The part of a thread's record that notices its exit. All zeros is valid, and watches
    /// nothing. It must not move while it watches.
    ///
    /// `block` is always an address in the calling thread's thread-local storage.
    #[repr(transparent)]
    pub(crate) struct Notice(room::Notice);

    impl Notice {
        /// Assigns the record to the calling thread.
        pub(crate) fn begin(&self, block: usize) {
            self.0.begin(block);
        }

        /// The room's own.
        pub(in crate::os) fn room(&self) -> &room::Notice {
            &self.0
        }

        /// Whether it is known by which identity the system knows the record's thread. It is not
        /// if a process that shares this one's memory (a child of `vfork`) set the record up.
        pub(crate) fn has_thread_id(&self) -> bool {
            self.0.has_thread_id()
        }

        /// The ID by which the system knows the record's thread; 0 if it is not known.
        pub(crate) fn thread_id(&self) -> u64 {
            self.0.thread_id().into()
        }

        /// Whether the exit is noticed as well as it can be. If not, the thread must call
        /// [`Notice::watch`] again later, after [`Notice::begin`] if [`Notice::has_thread_id`] is
        /// false.
        pub(crate) fn is_settled(&self) -> bool {
            self.0.is_settled()
        }

        /// Arranges that this thread calls `on_exit(value)` when it exits, once. May be repeated, also
        /// from `on_exit`. May allocate, in the C library. False if that cannot be arranged.
        pub(crate) fn arm(&self, value: *const c_void) -> bool {
            self.0.arm(value)
        }

        /// Arranges that the system notes this thread's exit here, if the system can.
        pub(crate) fn watch(&self, block: usize) {
            self.0.watch(block);
        }

        /// Undoes [`Notice::watch`], on the same thread.
        pub(crate) fn unwatch(&self) {
            self.0.unwatch();
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

        /// Stops watching. Called by a thread that has the record to itself.
        pub(crate) fn forget(&self) {
            self.0.forget();
        }

        /// In a forked child, on this record's thread: it has a new identity, and the system has
        /// forgotten what [`Notice::watch`] set up.
        pub(crate) fn rewatch_in_child(&self, block: usize) {
            self.0.rewatch_in_child(block);
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

/// The process: whether needm can work in it, its last words, and its end.
pub(crate) mod process {
    use super::room::process as room;
    use core::ffi::c_int;

    /// That callbacks can be left by a jump in this process. If not: the system's error number.
    /// Not from a handler.
    pub(crate) fn can_unwind() -> Result<(), i32> {
        room::can_unwind()
    }

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

    /// Whether the system has forks. If not, no process is the child of one.
    pub(crate) const EXIST: bool = room::EXIST;

    /// Arranges that every child of a fork calls `child`, if the C library can do that. It cannot be taken
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
    /// its thread ID. `Row::join` waits until it has exited; `Row::leave_alone`: it is not joined.
    pub(crate) use room::{Row, spawn_joinable};
    /// `exit(status)`: ends the process. `write(file, bytes)`: writes what of them the
    /// file takes.
    pub(crate) use room::{exit, write};
}
