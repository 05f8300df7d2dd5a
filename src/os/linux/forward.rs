//! Forwards signals to the previously installed handlers, as Linux would have called them:
//! with their own mask, flags, arguments and stack. Installs needm's handler over them, and
//! puts them back.
//!
//! # Safety
//! `PREVIOUS.actions` is written by [`install`] alone: by the thread that starts needm,
//! while none of needm's handlers is installed for that signal. It is read by handlers that
//! were called because needm's was installed, and by the thread that stops needm.

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::mem::transmute;

use super::signal::{
    self, Action, FAULTS, Info, SA_NODEFER, SA_ONSTACK, SA_RESETHAND, SA_SIGINFO, SI_KERNEL,
    SIG_DFL, SIG_IGN, SIGTRAP, Stack,
};
use super::{ids, process};
use crate::arch::linux::context::Context;
use crate::arch::linux::needm_handler;
use crate::arch::{RED_ZONE, needm_call_on, needm_sp};
use crate::sync::{AtomicU32, SeqCst};

/// The previous action of each fault signal.
struct Previous {
    actions: UnsafeCell<[Action; FAULTS.len()]>,
    /// A bit for each that is installed.
    installed: AtomicU32,
    /// A bit for each whose handler was to be called once only (SA_RESETHAND), and has been.
    spent: AtomicU32,
}

// SAFETY: the actions are written only while nothing reads them, as the head of this file
// says; the rest is atomic.
unsafe impl Sync for Previous {}

static PREVIOUS: Previous = Previous {
    actions: UnsafeCell::new([Action::DEFAULT; FAULTS.len()]),
    installed: AtomicU32::new(0),
    spent: AtomicU32::new(0),
};

/// The previous action of signal number `index` of [`FAULTS`]: the default if its handler is spent.
fn previous(index: usize) -> Action {
    if PREVIOUS.spent.load(SeqCst) & 1 << index != 0 {
        return Action::DEFAULT;
    }
    // SAFETY: it is not being written: a handler calls, or the thread that stops needm.
    unsafe { (*PREVIOUS.actions.get())[index] }
}

/// needm's action.
fn ours() -> Action {
    let flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    Action::ours(needm_handler as *const () as usize, flags)
}

/// Installs our handlers.
pub(crate) fn install() {
    for (index, signal) in FAULTS.into_iter().enumerate() {
        let Ok(before) = signal::action(signal, None) else { continue };
        // SAFETY: needm's handler is not installed for this signal, so none reads; and one
        // thread at a time starts needm.
        unsafe { (*PREVIOUS.actions.get())[index] = before };
        PREVIOUS.spent.fetch_and(!(1 << index), SeqCst);
        if signal::action(signal, Some(&ours())).is_ok() {
            PREVIOUS.installed.fetch_or(1 << index, SeqCst);
        }
    }
}

/// Puts back what was there. A handler that was put over ours since stays; if it calls ours
/// in its turn, that forwards everything, for as long as this code is loaded.
pub(crate) fn uninstall() {
    for (index, signal) in FAULTS.into_iter().enumerate() {
        if PREVIOUS.installed.fetch_and(!(1 << index), SeqCst) & 1 << index == 0 {
            continue;
        }
        let now = signal::action(signal, None);
        if now.is_ok_and(|now| now.handler == ours().handler) {
            let _ = signal::action(signal, Some(&previous(index)));
        }
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
            if now.handler == ours().handler {
                let _ = signal::action(signal, Some(&before));
            }
        } else if now.handler == before.handler {
            let _ = signal::action(signal, Some(&ours()));
        }
    }
}

/// Does with a signal what would have been done without us.
///
/// # Safety
/// The arguments are those of a handler that Linux has just called.
#[inline(never)] // its frame is not the handler's while `needm_on_fault` runs
pub(super) unsafe fn forward(signal: c_int, info: *mut Info, context: *mut c_void) {
    let Some(index) = FAULTS.into_iter().position(|fault| fault == signal) else { return };
    let action = previous(index);
    // SAFETY: Linux has called a handler with both, and they stay while it runs.
    let (code, interrupted) = unsafe { ((*info).code, &*context.cast::<Context>()) };
    match action.handler {
        // Linux does not let a fault be ignored (force_sig_info_to_task in
        // linux/kernel/signal.c), but other signals.
        SIG_IGN if !signal::raised_by_instruction(signal, code) => {}
        SIG_DFL | SIG_IGN => {
            let raised = signal::raised_by_instruction(signal, code);
            // Process 1 of a PID namespace takes no default action of such a signal
            // (sig_task_ignored in linux/kernel/signal.c).
            if !raised && ids::process() == 1 {
                return;
            }
            let _ = signal::action(signal, Some(&Action::DEFAULT));
            if !raised || signal == SIGTRAP {
                // Nothing will raise it again by itself.
                signal::set_blocked(interrupted.mask() & !signal::bit(signal));
                signal::resend(signal, info);
                process::die_of_fault(signal)
            }
            // Else the instruction is run again, and the process dies at it.
        }
        _ => {
            if action.flags & SA_RESETHAND != 0 {
                PREVIOUS.spent.fetch_or(1 << index, SeqCst);
            }
            let own = if action.flags & SA_NODEFER == 0 { signal::bit(signal) } else { 0 };
            signal::set_blocked(interrupted.mask() | action.mask() | own);
            // SAFETY: the action is one that was installed for this signal, and the arguments
            // are what Linux gave for it.
            unsafe { call(&action, signal, info, context, interrupted.sp()) };
            signal::set_blocked(interrupted.mask());
        }
    }
}

/// As [`forward`], of a fault that means that the interrupted stack has run out: Linux has no
/// room there for the frame of a handler without a stack of its own, and then takes the default
/// action (`force_sigsegv` in linux/kernel/signal.c).
///
/// # Safety
/// As for [`forward`].
pub(super) unsafe fn forward_overflow(signal: c_int, info: *mut Info, context: *mut c_void) {
    let index = FAULTS.into_iter().position(|fault| fault == signal);
    let action = index.map_or(Action::DEFAULT, previous);
    let has_handler = action.handler != SIG_DFL && action.handler != SIG_IGN;
    if !has_handler || action.flags & SA_ONSTACK == 0 {
        let _ = signal::action(signal, Some(&Action::DEFAULT));
        // SAFETY: Linux has called a handler with both, and they stay while it runs.
        let (code, interrupted) = unsafe { ((*info).code, &*context.cast::<Context>()) };
        if code == SI_KERNEL {
            // There was no room for the frame of another signal, and the instruction is fine.
            signal::set_blocked(interrupted.mask() & !signal::bit(signal));
            signal::resend(signal, info);
            process::die_of_fault(signal)
        }
        // Else the instruction is run again, and the process dies at it.
        return;
    }
    // SAFETY: Linux has called a handler with these three.
    unsafe { forward(signal, info, context) }
}

/// Calls a handler on the stack that Linux would have given it.
///
/// # Safety
/// The arguments are those of a handler that Linux has just called for this signal, and
/// `action` has a handler that was installed for it.
unsafe fn call(action: &Action, signal: c_int, info: *mut Info, context: *mut c_void, sp: usize) {
    let here = needm_sp();
    let stack = signal::current_stack().unwrap_or(Stack::NONE);
    let moved = stack.holds(here) && !stack.holds(sp);
    // SAFETY: the stack pointer is the interrupted one, below its red zone; the
    // handler is called with the arguments that its form asks for.
    unsafe {
        if moved && action.flags & SA_ONSTACK == 0 {
            let sp = (sp - RED_ZONE) & !15;
            #[allow(clippy::cast_sign_loss)] // signals are positive
            needm_call_on(signal as usize, info as usize, context as usize, action.handler, sp);
        } else if action.flags & SA_SIGINFO != 0 {
            let handler: unsafe extern "C" fn(c_int, *mut Info, *mut c_void) =
                transmute(action.handler);
            handler(signal, info, context);
        } else {
            let handler: unsafe extern "C" fn(c_int) = transmute(action.handler);
            handler(signal);
        }
    }
}
