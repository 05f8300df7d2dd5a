//! The actions that were there before ours, and how they are carried out: with
//! their own mask, flags, arguments and stack.
#![allow(unsafe_code)] // other people's handlers

use crate::arch::linux::context::Context;
use crate::arch::linux::needm_handler;
use crate::arch::{RED_ZONE, needm_call_on};
use crate::os::signal;
use crate::os::signal::{
    Action, Info, SA_NODEFER, SA_ONSTACK, SA_RESETHAND, SA_SIGINFO, SI_KERNEL, SIG_DFL, SIG_IGN,
    Stack,
};
use crate::signal::FAULTS;
use crate::sync::{AtomicU32, SeqCst};
use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::ffi::c_void;
use core::mem::transmute;

/// The previous action of each fault signal.
///
/// Written before ours is installed and while nobody else starts or stops the
/// kernel; read by handlers that ours being installed brought about.
pub(crate) struct Previous {
    pub(crate) actions: UnsafeCell<[Action; FAULTS.len()]>,
    /// A bit for each that is installed.
    pub(crate) installed: AtomicU32,
    /// A bit for each whose handler was for one time (SA_RESETHAND), and had it.
    pub(crate) spent: AtomicU32,
}

// SAFETY: see the type.
unsafe impl Sync for Previous {}

pub(crate) static PREVIOUS: Previous = Previous {
    actions: UnsafeCell::new([Action::DEFAULT; FAULTS.len()]),
    installed: AtomicU32::new(0),
    spent: AtomicU32::new(0),
};

pub(crate) fn previous(index: usize) -> Action {
    if PREVIOUS.spent.load(SeqCst) & 1 << index != 0 {
        return Action::DEFAULT;
    }
    // SAFETY: see `Previous`.
    unsafe { (*PREVIOUS.actions.get())[index] }
}

pub(crate) fn ours() -> Action {
    let flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    Action::ours(needm_handler as *const () as usize, flags)
}

/// Installs our handlers.
pub(crate) fn install() {
    for (index, signal) in FAULTS.into_iter().enumerate() {
        let Ok(before) = signal::action(signal, None) else { continue };
        // SAFETY: see `Previous`.
        unsafe { (*PREVIOUS.actions.get())[index] = before };
        PREVIOUS.spent.fetch_and(!(1 << index), SeqCst);
        if signal::action(signal, Some(&ours())).is_ok() {
            PREVIOUS.installed.fetch_or(1 << index, SeqCst);
        }
    }
}

/// Puts back what was there. A handler that somebody has put over ours since
/// stays; what it chains to passes everything on, as long as this code is loaded.
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
/// may have started or stopped the kernel in between: what the memory says counts.
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
/// The arguments are those of a handler that the kernel has just called.
#[inline(never)] // one place from which others' handlers are called: tests/nosplit/lists.rs
pub(crate) unsafe fn forward(signal: c_int, info: *mut Info, context: *mut c_void) {
    let Some(index) = FAULTS.into_iter().position(|fault| fault == signal) else { return };
    let action = previous(index);
    // SAFETY: as the caller's.
    let (code, interrupted) = unsafe { ((*info).code, &*context.cast::<Context>()) };
    match action.handler {
        // The kernel does not let a fault be ignored (force_sig_info_to_task in
        // linux/kernel/signal.c), but a signal that was sent.
        SIG_IGN if code <= 0 => {}
        SIG_DFL | SIG_IGN => {
            let _ = signal::action(signal, Some(&Action::DEFAULT));
            if code <= 0 || signal == signal::SIGTRAP {
                // Nothing will raise it again by itself.
                signal::set_blocked(interrupted.mask() & !signal::bit(signal));
                signal::resend(signal, info);
            }
            // Else the instruction is run again, and the process dies at it.
        }
        _ => {
            if action.flags & SA_RESETHAND != 0 {
                PREVIOUS.spent.fetch_or(1 << index, SeqCst);
            }
            let own = if action.flags & SA_NODEFER == 0 { signal::bit(signal) } else { 0 };
            signal::set_blocked(interrupted.mask() | action.mask() | own);
            // SAFETY: the host's handler, called as the kernel would.
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
pub(crate) unsafe fn forward_overflow(signal: c_int, info: *mut Info, context: *mut c_void) {
    let index = FAULTS.into_iter().position(|fault| fault == signal);
    let action = index.map_or(Action::DEFAULT, previous);
    let has_handler = action.handler != SIG_DFL && action.handler != SIG_IGN;
    if !has_handler || action.flags & SA_ONSTACK == 0 {
        let _ = signal::action(signal, Some(&Action::DEFAULT));
        // SAFETY: as the caller's.
        let (code, interrupted) = unsafe { ((*info).code, &*context.cast::<Context>()) };
        if code == SI_KERNEL {
            // There was no room for the frame of another signal, and the instruction is fine.
            signal::set_blocked(interrupted.mask() & !signal::bit(signal));
            signal::resend(signal, info);
        }
        // Else the instruction is run again, and the process dies at it.
        return;
    }
    // SAFETY: as the caller's.
    unsafe { forward(signal, info, context) }
}

/// Calls a handler on the stack that the kernel would have given it.
///
/// # Safety
/// As for [`forward`]; `action` is a handler of the host's.
pub(crate) unsafe fn call(
    action: &Action,
    signal: c_int,
    info: *mut Info,
    context: *mut c_void,
    sp: usize,
) {
    let here = crate::arch::needm_sp();
    // SAFETY: only a question.
    let stack = unsafe { signal::stack(None) }.unwrap_or(Stack::NONE);
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
