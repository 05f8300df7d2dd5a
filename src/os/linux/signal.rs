//! Signals: the system calls `sigaction(2)` and its relatives, not the C library's
//! functions of these names, which keep some signals to themselves.

use core::ffi::{c_int, c_void};
use core::ptr;

use super::{Errno, call, ids};
use crate::arch::linux::{SA_RESTORER, needm_sigreturn, nr};

// include/uapi/asm-generic/signal.h; the same on every architecture here.
pub(super) const SIGILL: c_int = 4;
pub(super) const SIGTRAP: c_int = 5;
pub(super) const SIGABRT: c_int = 6;
pub(super) const SIGBUS: c_int = 7;
pub(super) const SIGFPE: c_int = 8;
pub(super) const SIGKILL: c_int = 9;
pub(super) const SIGSEGV: c_int = 11;

/// The signals that instructions raise.
pub(super) const FAULTS: [c_int; 5] = [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP];

/// `si_code`: Linux itself sends it, with no address (sigaction(2)).
pub(super) const SI_KERNEL: c_int = 0x80;

/// Codes that are no instruction's, though they are positive: memory that went bad somewhere, a
/// tag check or a disrupting error found late, a counter of perf events
/// (include/uapi/asm-generic/siginfo.h).
const BUS_MCEERR_AO: c_int = 5;
const SEGV_ADIDERR: c_int = 6;
const SEGV_MTEAERR: c_int = 8;
const TRAP_PERF: c_int = 6;

/// Whether the interrupted instruction has raised the signal. Codes up to 0 are those of signals
/// that were sent (sigaction(2), si_code).
pub(super) fn raised_by_instruction(signal: c_int, code: c_int) -> bool {
    let elsewhere = match signal {
        SIGBUS => code == BUS_MCEERR_AO,
        SIGSEGV => code == SEGV_ADIDERR || code == SEGV_MTEAERR,
        SIGTRAP => code == TRAP_PERF,
        _ => false,
    };
    code > 0 && !elsewhere
}

pub(super) const SIG_DFL: usize = 0;
pub(super) const SIG_IGN: usize = 1;

pub(super) const SA_SIGINFO: usize = 0x0000_0004;
pub(super) const SA_ONSTACK: usize = 0x0800_0000;
pub(super) const SA_NODEFER: usize = 0x4000_0000;
pub(super) const SA_RESETHAND: usize = 0x8000_0000;

const SIG_BLOCK: usize = 0;
const SIG_SETMASK: usize = 2;

/// Bytes of Linux's signal set: 64 signals on every architecture here.
const SET_BYTES: usize = 8;

// include/uapi/linux/signal.h
const SS_ONSTACK: c_int = 1;
const SS_DISABLE: c_int = 2;
/// Linux disables the signal stack while a handler runs on it, and its return puts it back.
const SS_AUTODISARM: c_int = c_int::MIN;

/// `struct kernel_sigaction` (include/linux/signal_types.h).
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Action {
    pub(super) handler: usize,
    pub(super) flags: usize,
    pub(super) restorer: usize,
    mask: [u32; 2],
}

impl Action {
    /// Nothing special: the default action.
    pub(super) const DEFAULT: Self = Self { handler: SIG_DFL, flags: 0, restorer: 0, mask: [0; 2] };

    /// A handler of ours over `before`, which blocks what that blocks.
    pub(super) fn ours(handler: usize, before: &Self) -> Self {
        let blocks = if before.has_handler() { *before } else { Self::DEFAULT };
        let nodefer = if before.has_handler() { before.flags & SA_NODEFER } else { SA_NODEFER };
        let flags = SA_SIGINFO | SA_ONSTACK | SA_RESTORER | nodefer;
        let restorer = needm_sigreturn as *const () as usize;
        Self { handler, flags, restorer, mask: blocks.mask }
    }

    /// Whether it is a function.
    pub(super) fn has_handler(&self) -> bool {
        self.handler != SIG_DFL && self.handler != SIG_IGN
    }

    /// Whether it blocks a signal while its handler runs.
    pub(super) fn blocks(&self) -> bool {
        self.flags & SA_NODEFER == 0 || self.mask != [0; 2]
    }

    /// Whether both do the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.handler, self.flags, self.mask) == (other.handler, other.flags, other.mask)
    }
}

/// `stack_t` (include/uapi/asm-generic/signal.h).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    base: *mut c_void,
    flags: c_int,
    size: usize,
}

impl Stack {
    /// No signal stack.
    pub(super) const NONE: Self = Self { base: ptr::null_mut(), flags: SS_DISABLE, size: 0 };

    /// The range `[base, base + size)`.
    pub(super) fn new(base: usize, size: usize) -> Self {
        Self { base: base as *mut c_void, flags: 0, size }
    }

    /// What a signal's frame says of it (uc_stack).
    pub(super) fn of_frame((flags, base, size): (usize, usize, usize)) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // an int
        Self { base: base as *mut c_void, flags: flags as c_int, size }
    }

    /// Whether Linux disables it while a handler runs on it.
    pub(super) fn is_disarmed_by_handlers(&self) -> bool {
        self.flags & SS_AUTODISARM != 0
    }

    /// The same, disabled while a handler runs on it if `disarmed`.
    pub(super) fn disarmed_by_handlers(self, disarmed: bool) -> Self {
        Self { flags: if disarmed { SS_AUTODISARM } else { 0 }, ..self }
    }

    /// Whether there is one.
    pub(super) fn enabled(&self) -> bool {
        self.flags & SS_DISABLE == 0
    }

    /// Whether the thread runs on it.
    pub(crate) fn in_use(&self) -> bool {
        self.flags & SS_ONSTACK != 0
    }

    pub(super) fn base(&self) -> usize {
        self.base as usize
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Whether `address` lies on it.
    pub(crate) fn holds(&self, address: usize) -> bool {
        self.enabled() && address.wrapping_sub(self.base()) < self.size
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

/// The signals this thread has blocked.
pub(super) fn blocked() -> u64 {
    change_mask(SIG_BLOCK, None)
}

/// Blocks exactly these signals.
pub(super) fn set_blocked(mask: u64) {
    change_mask(SIG_SETMASK, Some(&mask));
}

/// Blocks all signals, and returns those that were.
pub(super) fn block_all() -> u64 {
    change_mask(SIG_SETMASK, Some(&ALL))
}

static ALL: u64 = u64::MAX;

/// The signals that a C library sends its own threads, and waits until they are handled:
/// cancellation and `setxid` (glibc, sysdeps/unix/sysv/linux/internal-signals.h).
pub(super) const C_LIBRARY: [c_int; 2] = [32, 33];

/// The bit of a signal in a mask.
pub(super) fn bit(signal: c_int) -> u64 {
    1 << (signal - 1)
}

/// Makes `new` this thread's signal stack, and returns the old one. Refused while the thread
/// runs on it.
///
/// # Safety
/// `new` stays mapped for as long as it is installed.
pub(super) unsafe fn set_stack(new: &Stack) -> Result<Stack, Errno> {
    let mut old = Stack::NONE;
    // SAFETY: both are Linux's struct or null; the caller keeps the new stack mapped.
    unsafe { call(nr::SIGALTSTACK, (new, &mut old))? };
    Ok(old)
}

/// This thread's signal stack.
pub(super) fn current_stack() -> Result<Stack, Errno> {
    const NO_NEW: Option<&Stack> = None;
    let mut old = Stack::NONE;
    // SAFETY: without a new stack Linux only writes the old one, to its own struct.
    unsafe { call(nr::SIGALTSTACK, (NO_NEW, &mut old))? };
    Ok(old)
}

/// Whether Linux can write to `[start, end)`, which it finds out by writing to each page.
pub(super) fn can_write(start: usize, end: usize) -> bool {
    const NO_NEW: Option<&Stack> = None;
    let page = super::memory::page_size();
    // From the top: a stack grows downwards.
    let mut at = end - size_of::<Stack>();
    loop {
        // SAFETY: without a new stack Linux only writes the old one, to memory below all that is
        // in use on a stack; or it says that it cannot.
        if unsafe { call(nr::SIGALTSTACK, (NO_NEW, at as *mut Stack)) }.is_err() {
            return false;
        }
        if at == start {
            return true;
        }
        at = at.saturating_sub(page).max(start);
    }
}

/// Sends this thread a signal, with what Linux said of it the first time.
pub(super) fn resend(signal: c_int, info: *const Info) {
    let (pid, tid) = (ids::process(), ids::current());
    // SAFETY: `info` is a siginfo_t that Linux gave a handler. Where Linux does not let it be
    // sent again, a plain signal does.
    unsafe {
        if call(nr::RT_TGSIGQUEUEINFO, (pid, tid, signal, info)).is_err() {
            let _ = call(nr::TGKILL, (pid, tid, signal));
        }
    }
}
