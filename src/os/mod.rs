//! What needm asks of the operating system: a contract in some thirty names. A system is a
//! *room*, a folder below this one that has these names; this file alone chooses the room.
//! Portable code asks through this file, and through nothing else.
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
//! A room imports `arch`, `sync`, `error` and `layout`. It calls needm by
//! - `needm_on_fault` (defined in `callback/fault.rs`): a fault has happened;
//! - `needm_thread_exit` (defined in `thread/mod.rs`): a thread that the room made is at its
//!   end;
//! - the two functions that [`exit::begin`] and [`fork::on_child`] are given.
//!
//! # Shared with assembly
//!
//! Assembly reads two words of a room's `Readiness`, its first two, `base` and `size`: the
//! bounds of the handler stack (`SIG_LO` and `SIG_LEN` in `layout.rs`).
#![allow(unsafe_code)] // forwards the promises that callers of the room make

#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod room;

#[cfg(not(target_os = "linux"))]
compile_error!("needm runs on Linux only");

/// Memory, in whole pages.
pub(crate) mod memory {
    use super::room::memory as room;

    /// What a range may be used for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Access {
        /// An access is a fault.
        None,
        /// Reads and writes.
        ReadWrite,
    }

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

    /// Maps `len` bytes of zeros at an address of the system's choice, aligned to a page.
    /// They take memory only where they are touched.
    pub(crate) fn map(len: usize, access: Access) -> Result<usize, Refused> {
        room::map(len, access).map_err(|_| Refused)
    }

    /// Unmaps a range. Cannot fail.
    ///
    /// # Safety
    /// The range is whole pages of mappings that [`map`] made, and nothing refers to it.
    pub(crate) unsafe fn unmap(start: usize, len: usize) {
        // SAFETY: the caller promises what the room asks for.
        unsafe { room::unmap(start, len) }
    }

    /// Changes what a range may be used for. What it holds stays.
    ///
    /// # Safety
    /// The range is whole pages of one mapping that [`map`] made, and nobody uses it in a
    /// way that is no longer allowed.
    pub(crate) unsafe fn protect(start: usize, len: usize, access: Access) -> Result<(), Refused> {
        // SAFETY: the caller promises what the room asks for.
        unsafe { room::protect(start, len, access) }.map_err(|_| Refused)
    }

    /// Gives the memory of a range back. It reads as zeros afterwards, or as before where
    /// the system keeps it; the range stays mapped. Cannot fail.
    ///
    /// # Safety
    /// The range is whole pages of one mapping that [`map`] made, and what it holds is not
    /// needed.
    pub(crate) unsafe fn discard(start: usize, len: usize) {
        // SAFETY: the caller promises what the room asks for.
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
    use core::ffi::c_void;
    use core::ops::Range;

    unsafe extern "C" {
        /// A thread that the room made is at its end, and no handler runs on it any more:
        /// what is kept of it goes.
        pub(super) safe fn needm_thread_exit();
    }

    /// What a new thread runs; what it returns goes nowhere.
    pub(crate) type Main = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

    /// Runs `main(arg)` on a new thread that nobody joins. May allocate and lock; not from
    /// a handler. If the system refuses: its error number.
    ///
    /// # Safety
    /// `main` may be called with `arg` on another thread.
    pub(crate) unsafe fn start(main: Main, arg: *mut c_void) -> Result<(), i32> {
        // SAFETY: the caller promises what the room asks for.
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
    use core::ffi::c_void;

    /// What runs on a thread that exits: it is given what [`Notice::arm`] was.
    pub(crate) type OnExit = unsafe extern "C" fn(*mut c_void);

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
        /// The record is this thread's from now on: notes which thread that is.
        pub(crate) fn begin(&self, block: usize) {
            self.0.begin(block);
        }

        /// Has this thread call `on_exit(value)` when it exits, once. May be repeated, also
        /// from `on_exit`. May allocate, in the C library.
        pub(crate) fn arm(&self, value: *const c_void) {
            self.0.arm(value);
        }

        /// Has the system note this thread's exit here, if it does such things.
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

        /// The record is nobody's.
        pub(crate) fn forget(&self) {
            self.0.forget();
        }

        /// In a forked child, on the thread of this record, which has a new identity.
        pub(crate) fn fork_child(&self, block: usize) {
            self.0.fork_child(block);
        }
    }
}

/// Faults of instructions, and the stack on which the system runs handlers.
///
/// A stack that has run out holds no handler. A thread that runs callbacks therefore needs
/// another one, its *handler stack*. A system that runs handlers elsewhere has none: then
/// bounds are 0 and 0, and what is done to it does nothing.
pub(crate) mod fault {
    use super::room::{alt_stack, fault as room};
    use core::ffi::c_int;

    /// A fault, as the system tells of it.
    #[repr(C)]
    pub(crate) struct Fault {
        /// What hosts know this kind of fault by: its signal's number, on every system.
        pub(crate) number: c_int,
        /// The system's closer description (`si_code`).
        pub(crate) code: c_int,
        /// The address that was touched, or what the system says in its place.
        pub(crate) addr: usize,
        /// The instruction.
        pub(crate) pc: usize,
        /// The stack pointer there.
        pub(crate) sp: usize,
        /// From here on downwards the stack is not in use.
        pub(crate) free_below: usize,
        /// Whether it is a fault of memory, and `addr` where.
        pub(crate) is_memory: bool,
        /// Whether it may be that the system had no room on the thread's stack for a frame
        /// of another handler. If so, `sp` is near the stack's end.
        pub(crate) maybe_no_room: bool,
    }

    unsafe extern "C" {
        /// What needm makes of a fault; called on the handler stack of the thread that has
        /// faulted. 0: it is not a callback's, and the room does what would have been done
        /// without needm. Else the address of a `FaultFrame` on a G: the room leaves the
        /// handler for `needm_sigpanic` there, with the callee-saved registers of the fault.
        pub(super) fn needm_on_fault(fault: *const Fault) -> usize;
    }

    /// What a thread's handler stack has to hold, in bytes.
    #[derive(Clone, Copy)]
    pub(crate) struct Needs {
        /// Whether faults are handled; if not, no thread needs such a stack.
        pub(crate) handled: bool,
        /// The size of one that is made.
        pub(crate) stack: usize,
        /// What one that the thread brought must have to be used as it is.
        pub(crate) least: usize,
        /// Below a handler that calls back: what the callback's end takes there.
        pub(crate) exit_room: usize,
    }

    /// Has faults go to `needm_on_fault`, and notes what handled them before. Not from a
    /// handler.
    pub(crate) fn install() {
        room::install();
    }

    /// Puts back what handled faults before, unless something else has been put over it
    /// since. What that hands on is still forwarded, for as long as needm is loaded.
    pub(crate) fn uninstall() {
        room::uninstall();
    }

    /// In a forked child: makes what is installed agree with what the memory says.
    pub(crate) fn fork_child() {
        room::fork_child();
    }

    /// Bytes that the system itself takes of a handler stack for one handler, at most.
    pub(crate) fn frame_size() -> usize {
        room::frame_size()
    }

    /// Runs `work` while no handler runs on this thread.
    #[cfg(any(feature = "asan", feature = "tsan"))]
    pub(crate) fn without_handlers<R>(work: impl FnOnce() -> R) -> R {
        room::without_handlers(work)
    }

    /// The handler stack that the system has for this thread now.
    pub(crate) struct HandlerStack(alt_stack::Stack);

    /// Asks for it: a system call.
    pub(crate) fn handler_stack() -> HandlerStack {
        HandlerStack(alt_stack::Stack::current())
    }

    impl HandlerStack {
        /// Whether an address lies on it.
        pub(crate) fn holds(&self, address: usize) -> bool {
            self.0.holds(address)
        }

        /// Whether this thread runs on it.
        pub(crate) fn in_use(&self) -> bool {
            self.0.in_use()
        }
    }

    /// The part of a thread's record that keeps the thread ready for faults: its handler
    /// stack. All zeros is valid, and is ready for nothing. Only its own thread calls, but
    /// where something else is said.
    #[repr(transparent)]
    pub(crate) struct Readiness {
        pub(crate) room: alt_stack::Readiness,
    }

    impl Readiness {
        /// Makes sure that this thread has a handler stack. `careful`: the caller may be a
        /// handler, whose return may undo that; then [`Readiness::needs_checks`] until it
        /// has been found in order often enough. `tell` is given the bounds of a stack that
        /// is made here, and says what a checking tool calls it. A thread for which there
        /// is no memory goes without.
        pub(crate) fn prepare(
            &self,
            careful: bool,
            needs: Needs,
            tell: impl FnOnce(usize, usize) -> usize,
        ) {
            self.room.prepare(careful, needs, tell);
        }

        /// Whether callbacks have to call [`Readiness::prepare`] again.
        pub(crate) fn needs_checks(&self) -> bool {
            self.room.needs_checks()
        }

        /// Has the next callback check.
        pub(crate) fn check_again(&self, needs: Needs) {
            self.room.check_again(needs);
        }

        /// The handler stack in effect: its lowest address, and bytes.
        pub(crate) fn bounds(&self) -> (usize, usize) {
            self.room.bounds()
        }

        /// Whether an address is on a stack where only handlers run.
        pub(crate) fn holds(&self, address: usize) -> bool {
            self.room.holds(address)
        }

        /// Whether below `caller`, a handler on that stack, there is room for a fault.
        pub(crate) fn has_room_below(&self, caller: usize, needs: Needs) -> bool {
            self.room.has_room_below(caller, needs)
        }

        /// On the G, between [`Kept::hold`] and the callback of `caller`, a handler on the
        /// handler stack: handlers to come use what is free below it.
        pub(crate) fn make_way(&self, kept: &Kept, caller: usize, needs: Needs) {
            self.room.make_way(&kept.0, caller, needs);
        }

        /// Whether a thread that exits may keep its handler stack until it is gone.
        pub(crate) fn may_stay(&self) -> bool {
            self.room.may_stay()
        }

        /// Puts back what the thread had before. False if it runs on ours right now, which
        /// then stays.
        pub(crate) fn release(&self) -> bool {
            self.room.release()
        }

        /// The thread is gone. Called by another.
        pub(crate) fn forget(&self) {
            self.room.forget();
        }

        /// Unmaps a stack that was made here, which no thread has, and tells `forget` its
        /// name. Called by any thread.
        pub(crate) fn unmap(&self, forget: impl FnOnce(usize)) {
            self.room.unmap(forget);
        }
    }

    /// The part of a callback's segment that keeps what is to be put back at its end. All
    /// zeros is valid: nothing. Its size is four words.
    #[repr(transparent)]
    pub(crate) struct Kept(alt_stack::Kept);

    impl Kept {
        /// Nothing is kept.
        pub(crate) fn clear(&self) {
            self.0.clear();
        }

        /// Before the switch to a G: no handler runs on this thread until
        /// [`Readiness::make_way`], or the end.
        pub(crate) fn hold(&self) {
            self.0.hold();
        }

        /// At the callback's end, however it comes: all is as it was before.
        pub(crate) fn put_back(&self) {
            self.0.put_back();
        }
    }
}

/// The thread's last error (`errno`), where there is one.
pub(crate) mod last_error {
    use super::room::libc as room;

    /// Sets it.
    pub(crate) fn set(number: i32) {
        room::set_errno(number);
    }

    /// Runs `work` and leaves it as it was.
    pub(crate) fn keeping<R>(work: impl FnOnce() -> R) -> R {
        room::keeping_errno(work)
    }
}

/// The process: its last words, and its end.
pub(crate) mod process {
    use super::room::process as room;
    use core::ffi::c_int;

    /// Writes to standard error what of `text` it takes. May wait for whoever reads it.
    pub(crate) fn last_words(text: &[u8]) {
        room::write_error(text);
    }

    /// Ends the process as `abort` does, whatever handlers are installed.
    pub(crate) fn abort() -> ! {
        room::abort()
    }

    /// Ends the process as a fault of this number does ([`Fault`](super::fault::Fault))
    /// that nothing handles.
    pub(crate) fn die_of_fault(number: c_int) -> ! {
        room::die_of(number)
    }
}

/// Forks.
pub(crate) mod fork {
    use super::room::libc as room;

    /// Has every child of a fork call `child`, if the C library can. It cannot be taken
    /// back, and twice is twice. May allocate and lock; not from a handler.
    pub(crate) fn on_child(child: extern "C" fn()) {
        room::at_fork_in_child(child);
    }
}

/// A program without a C library (feature `freestanding`), from its first instruction on.
/// The room brings `_start`, which calls the host's `needm_main`.
#[cfg(feature = "freestanding")]
pub(crate) mod program {
    #[cfg(feature = "capi")]
    /// What an argument that makes no sense is refused with.
    pub(crate) use super::room::EINVAL as INVALID;
    /// Why the system refused, as a number of its own.
    pub use super::room::Errno;
    /// `spawn_joinable(stack_size, run)`: a thread with at least so much stack; its row, and
    /// its number. `Row::join` waits until it has ended; `Row::leave_alone`: it is not joined.
    pub(crate) use super::room::clone::{Row, spawn_joinable};
    /// Memory for a thread's thread-local storage, and what is laid out there: `find`,
    /// `align`, `bytes`, `copy_to`.
    pub(crate) use super::room::image::Image as ThreadArea;
    /// `exit(status)`: ends the process. `write(file, bytes)`: writes what of them the
    /// file takes.
    pub(crate) use super::room::process::{exit, write};
}
