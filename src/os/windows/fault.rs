// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults of instructions. Windows runs handlers of exceptions on the stack of the fault, so there
//! are no handler stacks here.
//!
//! A fault in a callback has two ways here, because a callback's own `__try` comes first:
//! 1. The *lowest frame* of each callback (`needm_base` in `entry.S`) has a handler, which Windows
//!    asks when no frame of the callback's has taken the exception.
//! 2. A *vectored handler* comes before all frames. It takes the overflows of stacks, and the faults
//!    from which Windows would not find the lowest frame: those of code without unwind records.
//!
//! An exception that is not a fault, and that nothing in the callback takes, goes to the
//! unhandled-exception filter, as at a thread's start: Windows looks no further than the stack's
//! bounds, so the handlers of the callback's caller cannot have it. So does a fault in C that a
//! callback has called, from the lowest frame there (`needm_c_base` in `switch.S`).
//!
//! A handler returns to Windows, which resumes the thread in `needm_landing` on the G. Until then
//! the records of the exception are in use below the stack pointer, so the fault frame goes there
//! in registers.

use core::ffi::{c_int, c_void};
use core::ptr;

use super::abort;
pub(crate) use super::handler_stack::{Kept, Readiness, Stack};
use super::kinds;
use super::memory;
use super::process;
use super::stack_fields::{self, is_in_callback};
use super::sys::{
    AddVectoredExceptionHandler, CONTINUE_EXECUTION, CONTINUE_SEARCH, EXECUTE_HANDLER,
    ExceptionPointers, ExceptionRecord, GetCurrentProcess, Handle, RemoveVectoredExceptionHandler,
    TerminateProcess, UnhandledExceptionFilter,
};
use crate::arch::needm_sp;
use crate::arch::windows::context::{Context, Words};
use crate::arch::windows::teb::StackFields;
use crate::arch::windows::walk;
use crate::os::terms::{Fault, RESUME as ANSWER_RESUME, STACK_RAN_OUT, needm_on_fault};
use crate::sync::{AtomicPtr, SeqCst};

crate::arch::upcalls! {
    "needm_base_handler" => base_handler,
    "needm_c_handler" => c_handler,
    "needm_rearm" => rearm,
}

/// What `AddVectoredExceptionHandler` gave; null while faults are not handled.
static VECTORED: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Sends faults to `needm_on_fault`.
pub(crate) fn install(aborts: bool) {
    const FIRST: u32 = 1;
    // SAFETY: the handler lives as long as this library, and `uninstall` removes it before.
    let handle =
        super::last_error::keeping(|| unsafe { AddVectoredExceptionHandler(FIRST, vectored) });
    VECTORED.store(handle, SeqCst);
    if aborts {
        abort::install();
    }
}

/// Undoes [`install`].
pub(crate) fn uninstall() {
    abort::uninstall();
    let handle: Handle = VECTORED.swap(ptr::null_mut(), SeqCst);
    if !handle.is_null() {
        // SAFETY: `install` got it, and only one thread takes it out.
        super::last_error::keeping(|| unsafe { RemoveVectoredExceptionHandler(handle) });
    }
}

/// Windows has no forks, and no handlers that jump.
pub(crate) fn agree_with_memory() {}

/// The vectored handler. An answer is given for every exception of the process, so it is given
/// early for those of other threads.
unsafe extern "system" fn vectored(pointers: *mut ExceptionPointers) -> i32 {
    // SAFETY: Windows gives a handler both, until it returns.
    let (record, context) = unsafe { (&*(*pointers).record, &mut *(*pointers).context) };
    if abort::is_one(record) {
        // Changed or not: its handler goes on if no callback has aborted.
        take(record, context);
        return CONTINUE_EXECUTION;
    }
    if kinds::number(record.code).is_none() || !is_in_callback() {
        return CONTINUE_SEARCH;
    }
    let fields = StackFields::current();
    // If C has jumped to the G from its own stack, or to a further stack, Windows would find no frame
    // there.
    let found = (fields.reservation..fields.base).contains(&context.sp());
    let overflow = is_overflow(record);
    // SAFETY: the context is this thread's, on the stack that its environment block describes.
    if !overflow && found && unsafe { walk::reaches_base(context, fields.base) } {
        return CONTINUE_SEARCH;
    }
    if take(record, context) { CONTINUE_EXECUTION } else { CONTINUE_SEARCH }
}

/// Whether the stack has run out, or one of its last pages was touched. A page that the host has made a
/// guard raises the same exception.
fn is_overflow(record: &ExceptionRecord) -> bool {
    let fields = StackFields::current();
    kinds::is_overflow(record.code)
        && (record.count < 2 || (fields.reservation..fields.base).contains(&record.information[1]))
}

/// `EXCEPTION_DISPOSITION` (excpt.h): goes on as the context says.
const RESUME: c_int = 0;
/// The same: asks the next frame.
const ASK_NEXT: c_int = 1;

/// The flags of a record that is shown to handlers because frames are unwound
/// (`EXCEPTION_UNWINDING`, `EXCEPTION_EXIT_UNWIND`; winnt.h).
const UNWINDING: u32 = 2 | 4;

/// From Windows: no frame of the callback's has taken this exception.
unsafe extern "C" fn base_handler(
    record: *mut ExceptionRecord,
    _frame: *mut c_void,
    context: *mut Context,
    _dispatcher: *mut c_void,
) -> c_int {
    // SAFETY: Windows gives a handler both, until it returns.
    let (exception, at) = unsafe { (&*record, &mut *context) };
    if exception.flags & UNWINDING != 0 {
        return ASK_NEXT;
    }
    let handled = !VECTORED.load(SeqCst).is_null();
    // The vectored handler has asked about an overflow already.
    if handled && !is_overflow(exception) && take(exception, at) {
        return RESUME;
    }
    ask_last_filter(record, context)
}

/// From Windows: no frame has taken this exception of C that a callback has called.
unsafe extern "C" fn c_handler(
    record: *mut ExceptionRecord,
    _frame: *mut c_void,
    context: *mut Context,
    _dispatcher: *mut c_void,
) -> c_int {
    // SAFETY: Windows gives a handler the record, until it returns.
    if unsafe { (*record).flags } & UNWINDING != 0 {
        return ASK_NEXT;
    }
    ask_last_filter(record, context)
}

/// What Windows does at a thread's start with an exception that nothing has taken.
fn ask_last_filter(record: *mut ExceptionRecord, context: *mut Context) -> c_int {
    let pointers = ExceptionPointers { record, context };
    // SAFETY: Windows gave both to the handler that calls this, and it has not returned.
    match unsafe { UnhandledExceptionFilter(&raw const pointers) } {
        CONTINUE_EXECUTION => RESUME,
        EXECUTE_HANDLER => {
            // SAFETY: nothing of this process runs afterwards.
            unsafe { TerminateProcess(GetCurrentProcess(), (*record).code) };
            ASK_NEXT
        }
        _ => ASK_NEXT,
    }
}

/// Makes the thread go on with the end of its callback, if this is a callback's fault.
fn take(record: &ExceptionRecord, context: &mut Context) -> bool {
    let aborted = abort::is_one(record);
    let Some(number) = (if aborted { Some(kinds::SIGABRT) } else { kinds::number(record.code) })
    else {
        return false;
    };
    let is_memory = kinds::has_address(record.code);
    let addr = if aborted {
        0
    } else if !is_memory {
        record.address
    } else if record.count >= 2 {
        record.information[1]
    } else {
        // The handler's records did not fit on the stack, and Windows has lost the first fault.
        StackFields::current().limit
    };
    let mut words = Words::default();
    let overflow = is_overflow(record);
    let fault = Fault {
        number,
        code: record.code.cast_signed(),
        addr,
        pc: context.pc(),
        sp: context.sp(),
        free_below: context.sp(),
        is_memory,
        is_overflow: overflow,
        maybe_no_room: false,
        blocked: false,
        context: ptr::from_mut(context).cast(),
        frame: 0,
        frame_to: (&raw mut words).cast(),
    };
    // SAFETY: the fault is of this thread, and the words are as many as a fault frame's.
    let frame = super::last_error::keeping(|| unsafe { needm_on_fault(&raw const fault) });
    if frame == ANSWER_RESUME {
        return true;
    }
    if frame == 0 || frame == STACK_RAN_OUT {
        return false;
    }
    fits_stack(frame);
    context.resume_at(frame, &words, overflow);
    true
}

/// Before this thread goes on on the stack of `frame`: Windows may refuse to resume a thread elsewhere
/// than its environment block says.
pub(super) fn fits_stack(frame: usize) {
    let fields = StackFields::current();
    if !(fields.reservation..fields.base).contains(&frame) {
        stack_fields::mend(frame);
    }
}

/// From `needm_overflow_landing`, on the G: makes the lower half of the reserve, which is open, a
/// guard again, for the overflow of a deferred function.
extern "C" fn rearm() {
    let mut fields = StackFields::current();
    // C may have jumped here from its own stack, and left its fields.
    if !(fields.reservation..fields.base).contains(&needm_sp()) {
        return;
    }
    let start = fields.reservation + memory::page_size();
    let half = memory::RESERVE / 2;
    // SAFETY: the thread runs above the reserve, which is a part of its G, and uses nothing of it.
    if unsafe { memory::arm_reserve(start, half) }.is_err() {
        return;
    }
    fields.limit = start + half;
    #[allow(clippy::cast_possible_truncation)] // 16 KiB
    let guaranteed = half as u32;
    fields.guaranteed = guaranteed;
    // SAFETY: they are those of the G, with the new guard.
    unsafe { fields.set() };
}

/// A fault that nothing recovers from is not raised again: `Fault::frame` is 0.
pub(crate) const KEEP_MORE: usize = 0;

/// Nothing is kept.
///
/// # Safety
/// None: it does nothing.
pub(crate) unsafe fn keep(_fault: &Fault, _room: usize) -> usize {
    0
}

/// Ends the process as the fault does: nothing was kept.
///
/// # Safety
/// None.
pub(crate) unsafe fn raise_again(_kept: usize, number: c_int, _code: c_int) -> ! {
    process::die_of_fault(number)
}

/// Copies do not ask each other.
pub(crate) fn is_on_g_of_a_copy(_fault: &Fault) -> bool {
    false
}

/// Handlers run on the stack of the fault.
pub(crate) fn frame_size() -> usize {
    0
}

/// Windows runs none.
#[cfg(any(feature = "asan", feature = "tsan"))]
pub(crate) fn without_handlers<R>(work: impl FnOnce() -> R) -> R {
    work()
}
