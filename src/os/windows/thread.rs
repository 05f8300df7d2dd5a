// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting a thread, and where its stack is.

use core::ffi::c_void;
use core::ops::Range;
use core::ptr;

use super::last_error;
use super::stack_fields::{self, query};
use super::sys::{
    CloseHandle, CreateThread, GetLastError, IsThreadAFiber, MEM_COMMIT, MEM_FREE, MEM_RESERVE,
    MemoryInfo, PAGE_GUARD, PAGE_NOACCESS, PAGE_READWRITE,
};
use super::wait::{wait, wake};
use crate::arch::needm_sp;
use crate::arch::windows::teb::StackFields;
use crate::os::terms::Main;
use crate::sync::{Acquire, AtomicU32, Release};

/// Makes the stack fields of the thread's environment block fit a G: `SwitchToFiber` back to one leaves
/// there the bounds of the stack that the fiber began on. Of other stacks the host's switch tells.
pub(crate) fn note_stack(sp: usize) {
    if stack_fields::of_own_g(sp).is_some() {
        stack_fields::mend(sp);
    }
}

/// Whether the word that an address is in can be read.
pub(crate) fn can_read(address: usize) -> bool {
    let readable =
        |there: &MemoryInfo| there.state == MEM_COMMIT && there.protect == PAGE_READWRITE;
    query(address).as_ref().is_some_and(readable)
}

/// Runs `main(arg)` on a new thread that is not joined, with a stack as the program's header says.
///
/// # Safety
/// `main` may be called with `arg` on another thread.
pub(crate) unsafe fn start(main: Main, arg: *mut c_void) -> Result<(), i32> {
    let start = Start { main, arg, taken: AtomicU32::new(0) };
    last_error::keeping(|| {
        let given = ptr::from_ref(&start).cast_mut().cast();
        // SAFETY: `begin` may be called with this on another thread: this one waits until it is
        // taken. The defaults are given for all else.
        let thread = unsafe { CreateThread(ptr::null(), 0, begin, given, 0, ptr::null_mut()) };
        if thread.is_null() {
            return Err(GetLastError().cast_signed());
        }
        // SAFETY: the handle was just made. The thread goes on without it.
        unsafe { CloseHandle(thread) };
        while start.taken.load(Acquire) == 0 {
            wait(&start.taken, 0, None);
        }
        Ok(())
    })
}

/// What a thread that [`start`] makes is given, on the stack of the thread that makes it.
struct Start {
    main: Main,
    arg: *mut c_void,
    taken: AtomicU32,
}

/// The first function of such a thread, in Windows's calling convention, which on i386 is another
/// than C's.
unsafe extern "system" fn begin(given: *mut c_void) -> u32 {
    let given = given.cast::<Start>();
    // SAFETY: `start` waits with it until it is taken.
    let (main, arg) = unsafe { ((*given).main, (*given).arg) };
    // SAFETY: it is still not taken, so `given` is there. Only the address is used from the store on.
    let taken = unsafe { &raw const (*given).taken };
    // SAFETY: `start` returns after this store at the earliest.
    unsafe { (*taken).store(1, Release) };
    wake(taken, 1);
    // SAFETY: it may be called with this on this thread, by the contract of `start`.
    unsafe { main(arg) };
    0
}

/// Not needed: no handler has a stack of its own.
pub(crate) fn known_own_part(
    _block: usize,
    _address: usize,
    _found: Range<usize>,
) -> Option<Range<usize>> {
    None
}

/// Nothing has to be noted.
pub(crate) fn note_first_stack() {}

/// Not known where [`own_stack`] is not.
pub(crate) fn own_stack_end(_block: usize) -> Option<usize> {
    None
}

/// Not asked for.
pub(crate) fn is_own_stack_down_to(_address: usize, _end: usize) -> bool {
    false
}

/// The stack that this thread was made with. Called on that stack, or on a fiber's, where it cannot
/// be told.
pub(crate) fn own_stack(_block: usize) -> Option<Range<usize>> {
    let (fields, at) = (StackFields::current(), needm_sp());
    if IsThreadAFiber() != 0 {
        return None;
    }
    let stack = fields.reservation..fields.base;
    // After a jump out of a callback the fields are still those of its G.
    if stack.contains(&at) { Some(stack) } else { mapping(at) }
}

/// It lies in memory of its own.
pub(crate) fn has_block_on_its_stack() -> bool {
    false
}

/// The reservation of memory that an address is in.
pub(crate) fn mapping(address: usize) -> Option<Range<usize>> {
    let start = query(address).filter(|part| part.state != MEM_FREE)?.allocation;
    let mut end = start;
    while let Some(part) = query(end).filter(|part| part.allocation == start && part.size != 0) {
        end = part.base + part.size;
    }
    (start..end).contains(&address).then_some(start..end)
}

/// What nothing may touch of the memory that ends at `end`.
pub(crate) fn guard_below(end: usize) -> Option<Range<usize>> {
    let own = StackFields::current();
    if (own.reservation + 1..own.base).contains(&end) {
        // Windows has opened it if this stack has just run out.
        return Some(own.reservation..end);
    }
    let part = query(end.checked_sub(1)?)?;
    let closed = part.state == MEM_RESERVE
        || part.state == MEM_COMMIT && part.protect & (PAGE_GUARD | PAGE_NOACCESS) != 0;
    closed.then_some(part.base..end)
}

/// Windows has no forks.
pub(crate) fn fork_child(_block: usize) {}
