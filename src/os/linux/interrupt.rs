// SPDX-License-Identifier: MIT OR Apache-2.0
//! The signal that interrupts callbacks.
//!
//! needm sends it to one thread, with a word by which it knows its own. A signal that others send
//! goes to the action that was there before (`forward.rs`). One that is pending already is not
//! sent again by Linux, from wherever it comes (`legacy_queue` in linux/kernel/signal.c): so a signal of
//! others may stand for one of needm's, and one of needm's for that of others. The word may get lost
//! ([`may_have_lost_its_value`]); then a request that waits says whose the signal is.
//!
//! The handler never leaves by a jump. What it wants to happen it writes to the signal's context,
//! and the signal's return does it, which puts the mask and the signal stack back as well.

use core::ffi::c_int;
use core::ops::Range;
use core::ptr;

use super::actions::{self, Which, interrupts_by};
use super::exit::Notice;
use super::forward;
use super::frame::leaves_fp_control;
use super::sigaltstack::Stack;
use super::signal::{self, Info, SI_TKILL, SI_USER, SIGURG};
use super::{ESRCH, call, ids};
use crate::arch::RED_ZONE;
use crate::arch::linux::context::{Context, INFO};
use crate::arch::linux::nr;
use crate::os::terms::{AFTER_HANDLER, Interrupted, Look, needm_has_request, needm_on_interrupt};
use crate::sync::{AtomicBool, Relaxed};
use crate::valgrind::unreported;

/// It can.
pub(crate) const EXIST: bool = true;

/// The signal to use.
pub(crate) fn number(chosen: i32) -> Option<i32> {
    let signal = if chosen == 0 { SIGURG } else { chosen };
    signal::can_interrupt(signal).then_some(signal)
}

/// Installs our handler of it.
pub(crate) fn install(signal: i32) {
    actions::install_interrupt(signal);
}

/// `actions::uninstall` does it for all signals.
pub(crate) fn uninstall() {}

/// `actions::fork_child` does it for all signals.
pub(crate) fn fork_child() {}

/// Its address is in the signals that this copy of needm sends.
static MARK: u8 = 0;

fn mark() -> usize {
    (&raw const MARK).addr()
}

/// `si_code` of sigqueue(3), with which a process may send itself a value (include/uapi/
/// asm-generic/siginfo.h).
const SI_QUEUE: c_int = -1;

/// Whether Linux has refused to send a value, once: then needm's signals are those of [`nr::TGKILL`].
static WITHOUT_VALUES: AtomicBool = AtomicBool::new(false);

/// `siginfo_t` of a signal with a value, and its size: `_rt` of its union.
#[repr(C)]
struct Queued {
    signo: c_int,
    errno: c_int,
    code: c_int,
    #[cfg(target_pointer_width = "64")]
    pad: c_int,
    pid: u32,
    uid: u32,
    value: usize,
    rest: [u8; REST],
}

/// What `siginfo_t` has beyond the value.
const REST: usize = 128 - 16 - (size_of::<usize>() - 4) - 4 - size_of::<usize>();

const _: () = assert!(size_of::<Queued>() == 128);

/// The handler has a stack of its own.
pub(crate) const ROOM: usize = 0;

/// Sends the signal to the thread of a record. False if there is none, or if Linux refuses.
pub(crate) fn send(notice: &Notice, _: impl FnMut(usize, usize) -> Look) -> bool {
    send_to(notice.thread_id())
}

/// Sends the signal to a thread of this process.
fn send_to(thread: u32) -> bool {
    let (process, signal) = (ids::process(), interrupts_by());
    let info = Queued {
        signo: signal,
        errno: 0,
        code: SI_QUEUE,
        #[cfg(target_pointer_width = "64")]
        pad: 0,
        pid: process,
        uid: 0,
        value: mark(),
        rest: [0; REST],
    };
    // SAFETY: `info` is a siginfo_t, and stays for the call. The handler is needm's or one that
    // was there before.
    match unsafe { call(nr::RT_TGSIGQUEUEINFO, (process, thread, signal, &raw const info)) } {
        Ok(_) => return true,
        // The thread has exited.
        Err(ESRCH) => return false,
        Err(_) => WITHOUT_VALUES.store(true, Relaxed),
    }
    // SAFETY: the signal's handler is needm's, or one that was there before.
    unsafe { call(nr::TGKILL, (process, thread, signal)).is_ok() }
}

/// Sends it to this thread.
pub(crate) fn send_here() {
    send_to(ids::current());
}

/// Sends it to this thread, which gets it when the handler that it runs returns.
pub(crate) fn send_after_handler() {
    signal::block(signal::bit(interrupts_by()));
    send_here();
}

/// This thread gets it again.
pub(crate) fn admit() {
    signal::unblock(signal::bit(interrupts_by()));
}

/// Whether this copy of needm has sent the signal.
///
/// # Safety
/// `info` is a whole `siginfo_t`.
unsafe fn is_needms(info: *const Info) -> bool {
    // SAFETY: both are views of a `siginfo_t`, of which the caller has a whole one.
    let info = unsafe { &*info.cast::<Queued>() };
    info.code == SI_QUEUE && info.value == mark()
}

/// Whether the signal may be needm's, and have come without the value: Linux had no room for that
/// (`RLIMIT_SIGPENDING`; `collect_signal` in linux/kernel/signal.c then shows a signal of process 0's),
/// or has refused to send it. To send it again would give the same signal, again and again.
///
/// # Safety
/// `info` is a whole `siginfo_t`.
unsafe fn may_have_lost_its_value(info: *const Info) -> bool {
    // SAFETY: both are views of a `siginfo_t`, of which the caller has a whole one.
    let info = unsafe { &*info.cast::<Queued>() };
    match info.code {
        SI_USER => info.pid == 0,
        SI_TKILL => WITHOUT_VALUES.load(Relaxed) && info.pid == ids::process(),
        _ => false,
    }
}

/// From needm's handlers. `called`: as [`forward::forward`] has it.
///
/// # Safety
/// The arguments are those of a handler that is being called for this signal.
pub(super) unsafe fn handle(
    signal: c_int,
    info: *mut Info,
    context: *mut Context,
    called: (Which, bool),
) {
    // SAFETY: Linux gives an SA_SIGINFO handler a whole one.
    let sent_by_needm = unsafe { is_needms(info) };
    // A child of `vfork` has its parent's callback in its memory.
    let asked = needm_has_request() && !ids::is_visitor();
    // SAFETY: a handler's `info` is a whole `siginfo_t`, by this function's contract.
    let is_for_needm = sent_by_needm || asked && unsafe { may_have_lost_its_value(info) };
    if !is_for_needm {
        if asked {
            // It may stand for one of needm's. The earlier handler may never come back here.
            send_here();
        }
        // SAFETY: this handler is being called with these three.
        return unsafe { forward::forward(signal, info, context, called, false) };
    }
    if !asked {
        return;
    }
    // SAFETY: Linux gives a handler the context.
    let interrupted = unsafe { &*context };
    let sp = interrupted.sp();
    let at = Interrupted {
        pc: interrupted.pc(),
        sp,
        free_below: sp.saturating_sub(RED_ZONE),
        on_handler_stack: Stack::of_frame(interrupted.signal_stack()).in_use(),
        blocked: interrupted.mask(),
        frame_to: ptr::null_mut(),
    };
    // SAFETY: the thread was interrupted just there.
    match unsafe { needm_on_interrupt(&raw const at) } {
        0 => {}
        AFTER_HANDLER => {
            // SAFETY: Linux gave the context to the handler that this is, and the handler has not
            // returned: the context is there, and only this thread uses it.
            unsafe { Context::block(context, signal::bit(signal)) };
            send_here();
        }
        // SAFETY: by the contract of `needm_on_interrupt` a fault frame is there, below all that is
        // in use on a G.
        frame => unsafe { Context::resume_at(context, frame, leaves_fp_control()) },
    }
}

/// Whether a handler runs on this part of the stack, as [`a_handler_ran_on`].
pub(crate) fn a_handler_runs_on(stack: Range<usize>, end: usize) -> bool {
    finds_handler(stack, end, signal::blocked())
}

/// Whether a handler ran on this part of the stack at the time of an interrupt, one whose return
/// unblocks signals: the frame that Linux has made for it is there, and leads to code below `end`.
pub(crate) fn a_handler_ran_on(stack: Range<usize>, end: usize, at: &Interrupted) -> bool {
    finds_handler(stack, end, at.blocked)
}

/// Whether this thread runs a handler that has interrupted code further up on this part of the stack.
pub(crate) fn a_handler_seems_to_run(stack: Range<usize>) -> bool {
    let stack = readable(stack);
    let end = stack.end;
    finds_handler(stack, end, signal::blocked())
}

/// Whether a frame in `stack` is that of a handler which runs with `blocked`, over code above it, below `end`.
fn finds_handler(stack: Range<usize>, end: usize, blocked: u64) -> bool {
    blocked != 0
        && frames(stack.clone(), |at, frame| {
            (at..=end).contains(&frame.sp()) && explains(&stack, at, frame, blocked)
        })
}

/// Leaves the handlers that run on this part of the stack, which do not return: their signals are
/// unblocked, as the first of them found it. `elsewhere`: what they have interrupted may be on another
/// stack. What the code has blocked itself since stays blocked, and hides the handlers.
pub(crate) fn leave_handlers(stack: Range<usize>, elsewhere: bool) {
    let blocked = signal::blocked();
    if blocked == 0 {
        return;
    }
    let (stack, mut before) = (readable(stack), blocked);
    let end = stack.end;
    frames(stack.clone(), |at, frame| {
        let here = elsewhere || (at..=end).contains(&frame.sp());
        if here && explains(&stack, at, frame, before) {
            before &= frame.mask();
        }
        false
    });
    if before != blocked {
        signal::set_blocked(before);
    }
}

/// Whether the handler that this frame in `stack`, at `at`, was made for runs with `blocked`: it blocks
/// just what was blocked since, no more and no less. A handler that has returned leaves its frame, in
/// memory that later code may have and not use. What such code blocks itself is rarely the same.
fn explains(stack: &Range<usize>, at: usize, frame: &Context, blocked: u64) -> bool {
    let was = frame.mask();
    let since = blocked & !was;
    // An interrupt that waits for the return of a handler is blocked as well, until a callback of a handler
    // over that one ends.
    let own = match interrupts_by() {
        0 => 0,
        own => signal::bit(own),
    };
    if was & !blocked & !own != 0 || since == 0 {
        return false;
    }
    let without_own = since & !own;
    let calls = |signal, with_info| {
        signal::action(signal, None).is_ok_and(|action| {
            let is_it = |blocks: u64| {
                let blocks = blocks & !was;
                blocks != 0 && (blocks == since || blocks == without_own)
            };
            action.may_run()
                && action.takes_info() == with_info
                && action.may_block(signal).into_iter().any(is_it)
        })
    };
    // Linux writes the signal's number beside the context, unless the handler takes no `siginfo_t`.
    let beside = at.wrapping_add_signed(INFO);
    let named = (stack.start..stack.end.saturating_sub(size_of::<c_int>())).contains(&beside) && {
        // SAFETY: it lies in `stack`, which is memory from this thread's stack pointer up, and is
        // all words.
        let number = unsafe { *ptr::with_exposed_provenance::<c_int>(beside) };
        (1..=LAST).contains(&number) && calls(number, true)
    };
    named || (1..=LAST).any(|number| since & signal::bit(number) != 0 && calls(number, false))
}

/// The signal with the highest number (`_NSIG` in include/uapi/asm-generic/signal.h).
const LAST: c_int = 64;

/// How far a handler on the stack of the code that it has interrupted is looked for.
const FAR: usize = 1 << 18;

/// Whether a signal's frame lies in `stack` that leads to code which `is_it` accepts.
pub(crate) fn a_handler_interrupted(
    stack: Range<usize>,
    is_it: impl Fn(usize, usize) -> bool,
) -> bool {
    frames(readable(stack), |_, frame| is_it(frame.pc(), frame.sp()))
}

/// The lower part of `stack` that can be read, and that is not too far away.
fn readable(stack: Range<usize>) -> Range<usize> {
    let (page, start) = (super::memory::page_size(), stack.start);
    let end = stack.end.min(start.saturating_add(FAR));
    let mut readable = start;
    while readable < end && signal::can_read(readable) {
        readable = (readable | (page - 1)) + 1; // a page is a power of two
    }
    start..end.min(readable)
}

/// Whether `is_it` accepts something in `stack`, at an address, that looks like a signal's frame: it
/// says where the thread's signal stack is.
fn frames(stack: Range<usize>, mut is_it: impl FnMut(usize, &Context) -> bool) -> bool {
    let current = Stack::current();
    let first = stack.start.next_multiple_of(align_of::<Context>());
    let last = stack.end.saturating_sub(size_of::<Context>());
    let mut places = (first..=last).step_by(align_of::<Context>());
    let mut is_one = |at| {
        // SAFETY: it lies in `stack`, which is memory from this thread's stack pointer up, and is
        // all words.
        let frame = unsafe { &*ptr::with_exposed_provenance::<Context>(at) };
        frame.has_no_link()
            && Stack::of_frame(frame.signal_stack()).is_same_place(&current)
            && is_it(at, frame)
    };
    unreported(|| places.any(&mut is_one))
}
