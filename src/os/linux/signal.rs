//! Signals: the kernel's own forms of `sigaction(2)` and its relatives, not the
//! C library's, which keeps some signals to itself.

use core::ffi::{c_int, c_void};
use core::ptr;

use super::{Errno, call};
use crate::arch::linux::{SA_RESTORER, needm_sigreturn, nr};

// include/uapi/asm-generic/signal.h; the same on every architecture here.
pub(crate) const SIGILL: c_int = 4;
pub(crate) const SIGTRAP: c_int = 5;
pub(crate) const SIGABRT: c_int = 6;
pub(crate) const SIGBUS: c_int = 7;
pub(crate) const SIGFPE: c_int = 8;
pub(crate) const SIGSEGV: c_int = 11;

/// `si_code`: the kernel itself sends it, with no address (sigaction(2)).
pub(crate) const SI_KERNEL: c_int = 0x80;

pub(crate) const SIG_DFL: usize = 0;
pub(crate) const SIG_IGN: usize = 1;

pub(crate) const SA_SIGINFO: usize = 0x0000_0004;
pub(crate) const SA_ONSTACK: usize = 0x0800_0000;
pub(crate) const SA_NODEFER: usize = 0x4000_0000;
pub(crate) const SA_RESETHAND: usize = 0x8000_0000;

const SIG_BLOCK: usize = 0;
const SIG_SETMASK: usize = 2;

/// Bytes of the kernel's signal set: 64 signals on every architecture here.
const SET_BYTES: usize = 8;

const SS_ONSTACK: c_int = 1;
const SS_DISABLE: c_int = 2;

/// `struct kernel_sigaction` (include/linux/signal_types.h).
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Action {
    pub(crate) handler: usize,
    pub(crate) flags: usize,
    pub(crate) restorer: usize,
    mask: [u32; 2],
}

impl Action {
    /// Nothing special: the default action.
    pub(crate) const DEFAULT: Self = Self { handler: SIG_DFL, flags: 0, restorer: 0, mask: [0; 2] };

    /// A handler of ours, with an empty mask.
    pub(crate) fn ours(handler: usize, flags: usize) -> Self {
        let restorer = needm_sigreturn as *const () as usize;
        Self { handler, flags: flags | SA_RESTORER, restorer, mask: [0; 2] }
    }

    /// The signals blocked while the handler runs.
    pub(crate) fn mask(&self) -> u64 {
        u64::from(self.mask[0]) | u64::from(self.mask[1]) << 32
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
    pub(crate) const NONE: Self = Self { base: ptr::null_mut(), flags: SS_DISABLE, size: 0 };

    /// The range `[base, base + size)`.
    pub(crate) fn new(base: usize, size: usize) -> Self {
        Self { base: base as *mut c_void, flags: 0, size }
    }

    /// Whether there is one.
    pub(crate) fn enabled(&self) -> bool {
        self.flags & SS_DISABLE == 0
    }

    /// Whether the thread runs on it.
    pub(crate) fn in_use(&self) -> bool {
        self.flags & SS_ONSTACK != 0
    }

    pub(crate) fn base(&self) -> usize {
        self.base as usize
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Whether `address` lies on it.
    pub(crate) fn holds(&self, address: usize) -> bool {
        self.enabled() && address.wrapping_sub(self.base()) < self.size
    }
}

/// `siginfo_t`, the part that every fault fills in (include/uapi/asm-generic/siginfo.h).
#[repr(C)]
pub(crate) struct Info {
    pub(crate) signo: c_int,
    pub(crate) errno: c_int,
    pub(crate) code: c_int,
    #[cfg(target_pointer_width = "64")]
    pad: c_int,
    pub(crate) addr: usize,
}

/// Installs `new` for a signal and returns what was there, or only the latter.
pub(crate) fn action(signal: c_int, new: Option<&Action>) -> Result<Action, Errno> {
    let mut old = Action::DEFAULT;
    // SAFETY: both point to the kernel's struct or are null, and outlive the
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
pub(crate) fn blocked() -> u64 {
    change_mask(SIG_BLOCK, None)
}

/// Blocks exactly these signals.
pub(crate) fn set_blocked(mask: u64) {
    change_mask(SIG_SETMASK, Some(&mask));
}

/// Blocks all signals, and returns those that were.
pub(crate) fn block_all() -> u64 {
    change_mask(SIG_SETMASK, Some(&ALL))
}

static ALL: u64 = u64::MAX;

/// The bit of a signal in a mask.
pub(crate) fn bit(signal: c_int) -> u64 {
    1 << (signal - 1)
}

/// Sets this thread's signal stack, if `new` is given, and returns the old one.
///
/// # Safety
/// `new` stays mapped for as long as it is installed.
pub(crate) unsafe fn stack(new: Option<&Stack>) -> Result<Stack, Errno> {
    let mut old = Stack::NONE;
    // SAFETY: both are the kernel's struct or null; the rest is passed on.
    unsafe { call(nr::SIGALTSTACK, (new, &mut old))? };
    Ok(old)
}

/// Sends this thread a signal, with what the kernel said of it the first time.
pub(crate) fn resend(signal: c_int, info: *const Info) {
    let (pid, tid) = (super::thread::process(), super::thread::current());
    // SAFETY: `info` is a siginfo_t that the kernel gave a handler. Where the
    // kernel does not let it be sent again, a plain signal does.
    unsafe {
        if call(nr::RT_TGSIGQUEUEINFO, (pid, tid, signal, info)).is_err() {
            let _ = call(nr::TGKILL, (pid, tid, signal));
        }
    }
}

/// Ends the process by `signal`, whatever is installed or blocked for it.
pub(crate) fn die_of(signal: c_int) -> ! {
    loop {
        let _ = action(signal, Some(&Action::DEFAULT));
        let (pid, tid) = (super::thread::process(), super::thread::current());
        // SAFETY: a signal to this thread itself touches no memory.
        let _ = unsafe { call(nr::TGKILL, (pid, tid, signal)) };
        set_blocked(!bit(signal));
    }
}
