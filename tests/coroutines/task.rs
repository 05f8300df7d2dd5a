//! A coroutine of corosensei that goes on inside callbacks of needm.

use corosensei::stack::{DefaultStack, Stack};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use needm::{Context, Error};
use std::mem::ManuallyDrop;
use std::ops::Range;

/// A coroutine, which is given and yields a number and ends with one, and where its stack is.
///
/// It is never dropped: corosensei unwinds the frames of one that has not ended, and a fault has
/// skipped some of these. So its stack stays mapped, too.
pub struct Task {
    coroutine: ManuallyDrop<Coroutine<u32, u32, u32>>,
    stack: Range<usize>,
}

/// Larger than any page.
const GUARD: usize = 64 * 1024;

impl Task {
    /// One that runs `body`.
    pub fn new(body: impl FnOnce(&Yielder<u32, u32>, u32) -> u32 + 'static) -> Self {
        let memory = DefaultStack::new(512 * 1024).expect("memory");
        // The limit includes the guard, of a page.
        let page = page_size();
        assert!(page <= GUARD);
        let stack = memory.limit().get() + page..memory.base().get();
        let coroutine = ManuallyDrop::new(Coroutine::with_stack(memory, body));
        Self { coroutine, stack }
    }

    /// Where its stack is.
    pub fn stack(&self) -> Range<usize> {
        self.stack.clone()
    }

    /// Goes on with it, as a part of the callback.
    pub fn resume(
        &mut self,
        cx: &Context<'_, '_>,
        given: u32,
    ) -> Result<CoroutineResult<u32, u32>, Error> {
        let Self { coroutine, stack } = self;
        // SAFETY: the stack is the coroutine's alone, and is never unmapped; the page below it is
        // its guard. After a fault on it the task is not resumed, and nothing drops it.
        unsafe { cx.with_stack(stack.clone(), || coroutine.resume(given)) }
    }
}

fn page_size() -> usize {
    // The first mapping's size divides by it, but this is what the C library says.
    unsafe extern "C" {
        safe fn getpagesize() -> std::ffi::c_int;
    }
    usize::try_from(getpagesize()).expect("a size")
}
