//! Forwards signals to the previously installed handlers, which run where and how they would
//! without needm. Installs needm's handler over them, and puts them back.
//!
//! *Mask*: needm's action blocks what the previous one blocks. So that holds from the first
//! instruction of the handler to its return, and no signal comes in between on needm's account.
//!
//! *Stack*: a handler that would run on the interrupted stack without needm is started there,
//! on a copy of the signal's frame, to which it returns. Nothing of needm is in use then, and
//! nothing is left on the signal stack, where the next signal's frame may begin.
//!
//! # Safety
//! `PREVIOUS.actions` is written by [`install`] alone: by the thread that starts needm, and only
//! the one of two that is not read. It is read by handlers that were called because needm's was
//! installed, and by the thread that stops needm.

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::mem::transmute;
use core::ptr;

use super::signal::{
    self, Action, FAULTS, Info, SA_ONSTACK, SA_RESETHAND, SA_SIGINFO, SI_KERNEL, SIG_IGN, SIGTRAP,
    Stack,
};
use super::{ids, process};
use crate::arch::linux::context::{Context, FRAME_HEAD};
use crate::arch::linux::{needm_handler, needm_sigstart};
use crate::arch::{RED_ZONE, needm_sp};
use crate::os::terms::needm_lent_stack;
use crate::sync::{AtomicU32, SeqCst};

/// The previous action of each fault signal.
struct Previous {
    /// Two of each, of which one is in use.
    actions: UnsafeCell<[[Action; 2]; FAULTS.len()]>,
    /// A bit for each of which the second is in use.
    second: AtomicU32,
    /// A bit for each that is installed.
    installed: AtomicU32,
    /// A bit for each whose handler was to be called once only (SA_RESETHAND), and has been.
    spent: AtomicU32,
}

// SAFETY: of the two actions the one that is not in use is written, as the head of this file
// says; the rest is atomic.
unsafe impl Sync for Previous {}

static PREVIOUS: Previous = Previous {
    actions: UnsafeCell::new([[Action::DEFAULT; 2]; FAULTS.len()]),
    second: AtomicU32::new(0),
    installed: AtomicU32::new(0),
    spent: AtomicU32::new(0),
};

/// The action of signal number `index` of [`FAULTS`] that needm's was installed over.
fn noted(index: usize) -> Action {
    let second = PREVIOUS.second.load(SeqCst) >> index & 1;
    // SAFETY: it is the one in use, which is not being written.
    unsafe { (*PREVIOUS.actions.get())[index][second as usize] }
}

/// The previous action of signal number `index` of [`FAULTS`]: the default if its handler is spent.
fn previous(index: usize) -> Action {
    if PREVIOUS.spent.load(SeqCst) & 1 << index != 0 {
        return Action::DEFAULT;
    }
    noted(index)
}

/// Notes the action that needm's is installed over.
fn note(index: usize, action: &Action) {
    let unused = !(PREVIOUS.second.load(SeqCst) >> index) & 1;
    // SAFETY: one thread at a time starts needm, and nothing reads the one that is not in use.
    unsafe { (*PREVIOUS.actions.get())[index][unused as usize] = *action };
    PREVIOUS.second.fetch_xor(1 << index, SeqCst);
    PREVIOUS.spent.fetch_and(!(1 << index), SeqCst);
}

/// needm's action over `before`.
fn over(before: &Action) -> Action {
    Action::ours(needm_handler as *const () as usize, before)
}

/// Whether an action is needm's.
fn is_ours(action: &Action) -> bool {
    action.handler == needm_handler as *const () as usize
}

/// Whether needm's action for `signal` blocks a signal while its handler runs.
pub(super) fn blocks(signal: c_int) -> bool {
    let index = FAULTS.into_iter().position(|fault| fault == signal);
    index.is_none_or(|index| over(&noted(index)).blocks())
}

/// Installs our handlers.
pub(crate) fn install() {
    for (index, signal) in FAULTS.into_iter().enumerate() {
        let Ok(before) = signal::action(signal, None) else { continue };
        // First, because needm's handler may be called at once.
        note(index, &before);
        let first = over(&before);
        let Ok(replaced) = signal::action(signal, Some(&first)) else { continue };
        PREVIOUS.installed.fetch_or(1 << index, SeqCst);
        if replaced.is(&before) {
            continue;
        }
        // Another thread has installed a handler since the look.
        note(index, &replaced);
        if let Ok(top) = signal::action(signal, Some(&over(&replaced)))
            && !top.is(&first)
        {
            // And one over needm's, where it stays.
            let _ = signal::action(signal, Some(&top));
        }
    }
}

/// Installs `action` in the place of needm's, if that is installed.
fn replace_ours(signal: c_int, action: &Action) {
    if !signal::action(signal, None).is_ok_and(|now| is_ours(&now)) {
        return;
    }
    if let Ok(top) = signal::action(signal, Some(action))
        && !is_ours(&top)
    {
        // Another thread has installed it over needm's since the look: it stays.
        let _ = signal::action(signal, Some(&top));
    }
}

/// Puts back what was there. A handler that was put over ours since stays; if it calls ours
/// in its turn, that forwards everything, for as long as this code is loaded.
pub(crate) fn uninstall() {
    for (index, signal) in FAULTS.into_iter().enumerate() {
        if PREVIOUS.installed.fetch_and(!(1 << index), SeqCst) & 1 << index == 0 {
            continue;
        }
        replace_ours(signal, &previous(index));
    }
}

/// In a forked child. The system copies the actions before the memory, and another thread
/// may have started or stopped needm in between: what the memory says counts.
pub(crate) fn fork_child() {
    let installed = PREVIOUS.installed.load(SeqCst);
    for (index, signal) in FAULTS.into_iter().enumerate() {
        let Ok(now) = signal::action(signal, None) else { continue };
        let before = previous(index);
        if installed & 1 << index == 0 {
            if is_ours(&now) {
                let _ = signal::action(signal, Some(&before));
            }
        } else if now.handler == before.handler {
            let _ = signal::action(signal, Some(&over(&before)));
        }
    }
}

/// Does with a signal what would have been done without us. `direct`: Linux itself has called
/// needm's handler. Else another handler has, with its own mask and on its own stack, and would
/// have called the previous one so.
///
/// # Safety
/// The arguments are those of a handler that is being called for this signal.
#[inline(never)] // its frame is not the handler's while `needm_on_fault` runs
pub(super) unsafe fn forward(
    signal: c_int,
    info: *mut Info,
    context: *mut Context,
    direct: bool,
    ran_out: bool,
) {
    let Some(index) = FAULTS.into_iter().position(|fault| fault == signal) else { return };
    let action = previous(index);
    // SAFETY: Linux has called a handler with both, and they stay while it runs.
    let (code, interrupted) = unsafe { ((*info).code, &*context) };
    let raised = signal::raised_by_instruction(signal, code);
    if !action.has_handler() || ran_out && action.flags & SA_ONSTACK == 0 {
        // Linux has no room on a stack that has run out for a handler without a stack of its own,
        // and takes the default action (force_sigsegv in linux/kernel/signal.c). It does not let
        // a fault be ignored (force_sig_info_to_task), but other signals.
        if action.handler == SIG_IGN && !raised {
            return;
        }
        // `SI_KERNEL`: there was no room for the frame of another signal, and the instruction is
        // fine.
        let again = signal != SIGTRAP && !(ran_out && code == SI_KERNEL);
        return by_default(signal, info, interrupted, raised, again);
    }
    if action.flags & SA_RESETHAND != 0 {
        PREVIOUS.spent.fetch_or(1 << index, SeqCst);
    }
    let stack = Stack::of_frame(interrupted.signal_stack());
    let sp = interrupted.sp();
    let moved = direct && !ran_out && stack.holds(needm_sp()) && !stack.holds(sp);
    if moved && (action.flags & SA_ONSTACK == 0 || needm_lent_stack(sp)) {
        // SAFETY: Linux has called needm's handler with these, on the signal stack, and the
        // interrupted code is not there.
        unsafe { start_on_interrupted_stack(&action, signal, info, context, &stack) };
        // There is no room for it.
        return by_default(signal, info, interrupted, raised, signal != SIGTRAP);
    }
    // SAFETY: the action is one that was installed for this signal. The handler is called with the
    // arguments that its form asks for.
    unsafe {
        if action.flags & SA_SIGINFO != 0 {
            let handler: unsafe extern "C" fn(c_int, *mut Info, *mut Context) =
                transmute(action.handler);
            handler(signal, info, context);
        } else {
            let handler: unsafe extern "C" fn(c_int) = transmute(action.handler);
            handler(signal);
        }
    }
}

/// Takes the default action. `raised`: an instruction has raised the signal. `again`: if that runs
/// again, it raises it again, and the process dies at it.
fn by_default(signal: c_int, info: *mut Info, interrupted: &Context, raised: bool, again: bool) {
    // Process 1 of a PID namespace takes no default action of another signal (sig_task_ignored in
    // linux/kernel/signal.c).
    if !raised && ids::process() == 1 {
        return;
    }
    let _ = signal::action(signal, Some(&Action::DEFAULT));
    if !(raised && again) {
        signal::set_blocked(interrupted.mask() & !signal::bit(signal));
        signal::resend(signal, info);
        process::die_of_fault(signal)
    }
}

/// Starts a handler on the interrupted stack, on a copy of the signal's frame, with needm's
/// return: nothing comes back here. Returns if there is no room.
///
/// # Safety
/// Linux has called needm's handler with these, on `stack`, and the interrupted code is not there.
unsafe fn start_on_interrupted_stack(
    action: &Action,
    signal: c_int,
    info: *mut Info,
    context: *mut Context,
    stack: &Stack,
) {
    /// What the floating-point state in a frame is aligned to (XSAVE).
    const ALIGN: usize = 64;
    // SAFETY: Linux has called a handler with it.
    let sp = unsafe { (*context).sp() };
    let start = context as usize - FRAME_HEAD;
    let len = stack.base() + stack.size() - start;
    // The same place in a line of `ALIGN` bytes.
    let by = (sp - RED_ZONE - len).wrapping_sub(start) & !(ALIGN - 1);
    let to = start.wrapping_add(by);
    if !signal::can_write(to, to + len) {
        return;
    }
    let [info, copy] = [info as usize, context as usize].map(|at| at.wrapping_add(by));
    // SAFETY: Linux puts the frame at the end of the signal stack, and can write to the copy's
    // place, which is below all that is in use on the interrupted stack.
    unsafe {
        ptr::copy_nonoverlapping(start as *const u8, to as *mut u8, len);
        (*(copy as *mut Context)).relocate(by);
        needm_sigstart(signal, info, copy, action.handler, to)
    }
}
