// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signals: the system calls `sigaction(2)` and its relatives, not the C library's
//! functions of these names, which keep some signals to themselves.

use core::ffi::c_int;
use core::ptr;

use super::robust_list::SMALLEST_PAGE;
use super::{EFAULT, EINVAL, ENOSYS, Errno, call, ids, libc, spares_calls, wait};

use crate::arch::linux::context::Context;
use crate::arch::linux::{SA_RESTORER, SYSTEM_CALLS, needm_sigreturn, nr};
use crate::sync::{AtomicBool, AtomicU32, Relaxed};
use crate::valgrind;

// include/uapi/asm-generic/signal.h; the same on every architecture here.
pub(super) const SIGILL: c_int = 4;
pub(super) const SIGTRAP: c_int = 5;
pub(super) const SIGABRT: c_int = 6;
pub(super) const SIGBUS: c_int = 7;
pub(super) const SIGFPE: c_int = 8;
pub(super) const SIGKILL: c_int = 9;
pub(super) const SIGSEGV: c_int = 11;
pub(super) const SIGSTOP: c_int = 19;
pub(super) const SIGURG: c_int = 23;

/// Signals whose default action is to stop the process, or to let it go on, and the ones that
/// cannot be handled, or that a C library looks for: `SIGCHLD`, because a handler in the place of
/// the default action is not the same where children are waited for.
const FOR_OTHER_USES: [c_int; 8] = [SIGABRT, SIGKILL, 17, 18, 19, 20, 21, 22];

/// Whether the host may choose this signal to interrupt callbacks.
pub(super) fn can_interrupt(signal: c_int) -> bool {
    (1..=64).contains(&signal)
        && !FAULTS.contains(&signal)
        && !FOR_OTHER_USES.contains(&signal)
        && !(FIRST_OF_C_LIBRARY..libc::first_free_signal()).contains(&signal)
}

/// Whether nothing happens by default when a signal comes, of those that [`can_interrupt`].
pub(super) fn is_ignored_by_default(signal: c_int) -> bool {
    const SIGWINCH: c_int = 28;
    signal == SIGURG || signal == SIGWINCH
}

/// The signals that instructions raise.
pub(super) const FAULTS: [c_int; 5] = [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP];

/// `si_code`: Linux itself sends it, with no address (sigaction(2)).
pub(super) const SI_KERNEL: c_int = 0x80;
/// `si_code`: sent by `tgkill`, to a thread.
pub(super) const SI_TKILL: c_int = -6;
/// `si_code` of kill(2), and of a signal for whose origin Linux had no room.
pub(super) const SI_USER: c_int = 0;

/// Codes that are no instruction's, though they are positive: memory that went bad somewhere, a
/// tag check or a disrupting error found late, a counter of perf events
/// (include/uapi/asm-generic/siginfo.h).
const BUS_MCEERR_AO: c_int = 5;
const SEGV_ADIDERR: c_int = 6;
const SEGV_MTEAERR: c_int = 8;
const TRAP_PERF: c_int = 6;

/// Whether the interrupted instruction has raised the signal. Codes up to 0 are those of signals
/// that were sent (sigaction(2), si_code); but Linux also sends signals that are none of faults, with
/// codes above 0: `SIGURG` for out-of-band data, `SIGALRM` for a timer.
pub(super) fn raised_by_instruction(signal: c_int, code: c_int) -> bool {
    let elsewhere = match signal {
        SIGBUS => code == BUS_MCEERR_AO,
        SIGSEGV => code == SEGV_ADIDERR || code == SEGV_MTEAERR,
        SIGTRAP => code == TRAP_PERF,
        _ => false,
    };
    faults() & bit(signal) != 0 && code > 0 && !elsewhere
}

pub(super) const SIG_DFL: usize = 0;
pub(super) const SIG_IGN: usize = 1;

pub(super) const SA_SIGINFO: usize = 0x0000_0004;
pub(super) const SA_ONSTACK: usize = 0x0800_0000;
pub(super) const SA_RESTART: usize = 0x1000_0000;
pub(super) const SA_NODEFER: usize = 0x4000_0000;
pub(super) const SA_RESETHAND: usize = 0x8000_0000;

const SIG_BLOCK: usize = 0;
const SIG_UNBLOCK: usize = 1;
const SIG_SETMASK: usize = 2;

/// Bytes of Linux's signal set: 64 signals on every architecture here.
const SET_BYTES: usize = 8;

/// Words of Linux's struct for the code that ends a handler: none where it has code of its own.
const RESTORERS: usize = (SA_RESTORER != 0) as usize;

/// `struct sigaction` (include/linux/signal_types.h).
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Action {
    pub(super) handler: usize,
    pub(super) flags: usize,
    pub(super) restorer: [usize; RESTORERS],
    mask: [u32; 2],
    /// Not Linux's. qemu-riscv64 7.2 reads the mask one word too far on, and finds it here.
    beyond: [u32; 2],
}

impl Action {
    /// Nothing special: the default action.
    pub(super) const DEFAULT: Self =
        Self { handler: SIG_DFL, flags: 0, restorer: [0; RESTORERS], mask: [0; 2], beyond: [0; 2] };

    /// A handler of ours over `before`, which blocks what that blocks.
    pub(super) fn ours(handler: usize, before: &Self) -> Self {
        let blocks = if before.has_handler() { *before } else { Self::DEFAULT };
        let nodefer = if before.has_handler() { before.flags & SA_NODEFER } else { SA_NODEFER };
        let flags = SA_SIGINFO | SA_ONSTACK | SA_RESTORER | nodefer;
        let restorer = [needm_sigreturn as *const () as usize; RESTORERS];
        Self { handler, flags, restorer, mask: blocks.mask, beyond: blocks.mask }
    }

    /// Whether it is a function.
    pub(super) fn has_handler(&self) -> bool {
        self.handler != SIG_DFL && self.handler != SIG_IGN
    }

    /// Whether its handler may be running: with `SA_RESETHAND` Linux has put back the default meanwhile, and
    /// left the rest.
    pub(super) fn may_run(&self) -> bool {
        self.has_handler() || self.flags & SA_RESETHAND != 0
    }

    /// Whether its handler is given a `siginfo_t`.
    pub(super) fn takes_info(&self) -> bool {
        self.flags & SA_SIGINFO != 0
    }

    /// What it blocks while its handler for `signal` runs.
    pub(super) fn blocks(&self, signal: c_int) -> u64 {
        let own = if self.flags & SA_NODEFER == 0 { bit(signal) } else { 0 };
        u64::from(self.mask[0]) | u64::from(self.mask[1]) << 32 | own
    }

    /// The same, of an action that Linux has told; then what qemu-riscv64 7.2 blocks, which keeps the mask one
    /// word too far on.
    pub(super) fn may_block(&self, signal: c_int) -> [u64; 2] {
        let mask = if RESTORERS == 0 { self.beyond } else { self.mask };
        [self.blocks(signal), Self { mask, ..*self }.blocks(signal)]
    }

    /// Whether both do the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.handler, self.flags, self.mask) == (other.handler, other.flags, other.mask)
    }
}

/// `siginfo_t`, the part that every fault fills in (include/uapi/asm-generic/siginfo.h).
#[repr(C)]
pub(super) struct Info {
    pub(super) signo: c_int,
    pub(super) errno: c_int,
    pub(super) code: c_int,
    #[cfg(target_pointer_width = "64")]
    pad: c_int,
    pub(super) addr: usize,
    /// What there is in all (`SI_MAX_SIZE`, in bytes).
    rest: [usize; REST],
}

const REST: usize = if usize::BITS == 64 { 13 } else { 28 };
const _: () = assert!(size_of::<Info>() == 128);

/// Whether Linux itself has called a handler of ours, which blocks `blocks`, and returns to
/// `address`. Else another handler has called it.
pub(super) fn called_by_linux(address: usize, interrupted: &Context, blocks: u64) -> bool {
    let ours = needm_sigreturn as *const () as usize;
    if SA_RESTORER != 0 {
        return address == ours;
    }
    // Linux has the same two instructions of its own, to which all handlers return.
    let [there, here] = [address, ours].map(|at| at as *const [u16; 4]);
    // SAFETY: code that is about to be run is there, and code can be read.
    let returns = unsafe { address.is_multiple_of(2) && there.read() == here.read() };
    // Another handler may have ended with a jump to ours.
    returns && blocked() == interrupted.mask() | blocks
}

impl Info {
    /// One that no instruction and no process has sent.
    pub(super) fn of(signo: c_int) -> Self {
        Self::new(signo, 0, 0)
    }

    /// One of a fault.
    pub(super) fn new(signo: c_int, code: c_int, addr: usize) -> Self {
        Self {
            signo,
            errno: 0,
            code,
            #[cfg(target_pointer_width = "64")]
            pad: 0,
            addr,
            rest: [0; REST],
        }
    }

    /// The process that has sent the signal, if one has: where else `addr` is.
    fn sender(&self) -> u32 {
        #[allow(clippy::cast_possible_truncation)] // it is this half of the word
        let pid = self.addr as u32;
        pid
    }
}

/// Whether this thread has sent itself `SIGABRT` by `raise` or `abort`, which it has interrupted.
/// Another thread may have sent it, too: then it has interrupted another instruction.
pub(super) fn aborts_itself(signal: c_int, info: &Info, interrupted: &Context) -> bool {
    if signal != SIGABRT || !follows_system_call(interrupted.pc()) {
        return false;
    }
    let [first, second, third, fourth] = interrupted.arguments();
    // `raise` calls tgkill(process, thread, signal). Some C libraries, and glibc before 2.34, block all
    // signals meanwhile, and rt_sigprocmask(SIG_SETMASK, set, NULL, bytes) lets them in; the first
    // may be the result instead.
    let tgkill = second == ids::current() as usize && third == SIGABRT as usize;
    let unblocked = (first == SIG_SETMASK || first == 0) && third == 0 && fourth == SET_BYTES;
    match info.code {
        SI_TKILL => info.sender() == ids::process() && (tgkill || unblocked),
        // Linux had no room to say so (`RLIMIT_SIGPENDING`). Or a process outside this one's namespace has sent it.
        SI_USER => info.sender() == 0 && tgkill,
        _ => false,
    }
}

/// Whether a system call comes back to this instruction.
fn follows_system_call(pc: usize) -> bool {
    SYSTEM_CALLS.iter().any(|call| {
        let at = pc.saturating_sub(call.len());
        can_read(at)
            && can_read(pc - 1)
            && (at..).zip(*call).all(|(at, byte)| {
                // SAFETY: Linux has just read the words that the bytes are in. They are code that this thread runs,
                // which nobody unmaps meanwhile.
                *byte == unsafe { ptr::with_exposed_provenance::<u8>(at).read_volatile() }
            })
    })
}

/// Installs `new` for a signal and returns what was there, or only the latter.
pub(super) fn action(signal: c_int, new: Option<&Action>) -> Result<Action, Errno> {
    let mut old = Action::DEFAULT;
    // SAFETY: both point to Linux's struct or are null, and outlive the
    // call; the handler in `new` is the caller's or one that was there before.
    unsafe { call(nr::RT_SIGACTION, (signal, new, &mut old, SET_BYTES))? };
    Ok(old)
}

fn change_mask(how: usize, set: Option<&u64>) -> u64 {
    let mut old = 0_u64;
    // SAFETY: the set and the old set are 64 bits each, valid for the call.
    let _ = unsafe { call(nr::RT_SIGPROCMASK, (how, set, &mut old, SET_BYTES)) };
    old
}

/// Whether Linux can read a word at `address`.
pub(crate) fn can_read(address: usize) -> bool {
    if address < SMALLEST_PAGE {
        return false; // without a set Linux reads none
    }
    if valgrind::watches() {
        return can_copy_from(address);
    }
    let word = address & !(size_of::<u64>() - 1);
    match if spares_calls() { Err(ENOSYS) } else { read_as_mask(word) } {
        Err(EFAULT) => false,
        Err(EINVAL) if masks_are_read() => true,
        // A filter has answered.
        _ => wait::can_compare(word),
    }
}

/// Linux's answer to a change of the mask in no way: it reads the set first, and refuses then.
fn read_as_mask(set: usize) -> Result<usize, Errno> {
    const NO_WAY: usize = 99;
    let set = ptr::with_exposed_provenance::<u64>(set);
    let old: *mut u64 = ptr::null_mut();
    // SAFETY: Linux only reads the set, if it can, and refuses then: nothing is changed or written.
    unsafe { call(nr::RT_SIGPROCMASK, (NO_WAY, set, old, SET_BYTES)) }
}

/// Whether Linux answers that itself: it cannot read the last word of all.
fn masks_are_read() -> bool {
    static ARE_READ: AtomicBool = AtomicBool::new(false);
    let last = usize::MAX & !(size_of::<u64>() - 1);
    let are_read = ARE_READ.load(Relaxed) || read_as_mask(last) == Err(EFAULT);
    ARE_READ.store(are_read, Relaxed);
    are_read
}

/// The same under valgrind, which does not pass on a mask that is changed in no way.
#[cold]
fn can_copy_from(address: usize) -> bool {
    let mut byte = 0_u8;
    let (from, to) = ([address, 1], [(&raw mut byte).expose_provenance(), 1]);
    // SAFETY: one byte, to a variable of its own. The two are Linux's `struct iovec`.
    let copied = unsafe { call(nr::PROCESS_VM_READV, (ids::process(), &to, 1, &from, 1, 0)) };
    copied == Ok(1)
}

/// The signals this thread has blocked.
pub(super) fn blocked() -> u64 {
    change_mask(SIG_BLOCK, None)
}

/// Blocks exactly these signals.
pub(super) fn set_blocked(mask: u64) {
    change_mask(SIG_SETMASK, Some(&mask));
}

/// The signals that instructions raise, as a mask.
pub(super) fn faults() -> u64 {
    FAULTS.into_iter().fold(0, |mask, fault| mask | bit(fault))
}

/// Blocks these signals as well.
pub(super) fn block(mask: u64) {
    change_mask(SIG_BLOCK, Some(&mask));
}

/// Unblocks these signals, and returns those that were blocked.
pub(super) fn unblock(mask: u64) -> u64 {
    change_mask(SIG_UNBLOCK, Some(&mask))
}

/// Blocks all signals, and returns those that were.
pub(super) fn block_all() -> u64 {
    change_mask(SIG_SETMASK, Some(&ALL))
}

static ALL: u64 = u64::MAX;

/// The signals that a C library sends its own threads, and waits until they are handled:
/// cancellation and `setxid` (glibc, sysdeps/unix/sysv/linux/internal-signals.h; musl,
/// src/internal/pthread_impl.h). As a mask, noted when needm is started.
static C_LIBRARY: AtomicU32 = AtomicU32::new(0);

/// The first of them, and their number at most.
const FIRST_OF_C_LIBRARY: c_int = 32;
const MOST_OF_C_LIBRARY: c_int = 8;

/// Notes which signals are the C library's.
pub(super) fn note_c_library(first_free: c_int) {
    let count = (first_free - FIRST_OF_C_LIBRARY).clamp(0, MOST_OF_C_LIBRARY);
    C_LIBRARY.store((1 << count) - 1, Relaxed);
}

/// The mask of the C library's signals.
pub(super) fn c_library() -> u64 {
    u64::from(C_LIBRARY.load(Relaxed)) << (FIRST_OF_C_LIBRARY - 1)
}

/// The bit of a signal in a mask.
pub(super) fn bit(signal: c_int) -> u64 {
    1 << (signal - 1)
}

/// Sends this thread a signal.
pub(super) fn send(signal: c_int) {
    // SAFETY: a signal to this thread itself touches no memory.
    let _ = unsafe { call(nr::TGKILL, (ids::process(), ids::current(), signal)) };
}

/// Sends this thread a signal, with what Linux said of it the first time.
pub(super) fn resend(signal: c_int, info: *const Info) {
    let (pid, tid) = (ids::process(), ids::current());
    // SAFETY: `info` is a siginfo_t that Linux gave a handler. Where Linux does not let it be
    // sent again, a plain signal does.
    unsafe {
        let sent = !spares_calls() && call(nr::RT_TGSIGQUEUEINFO, (pid, tid, signal, info)).is_ok();
        if !sent {
            let _ = call(nr::TGKILL, (pid, tid, signal));
        }
    }
}
