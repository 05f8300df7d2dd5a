//! A switch of stacks by corosensei, in and out, for the driver in C: each thread has a coroutine
//! of its own, which is kept until the thread exits.
//!
//! # Safety
//! The coroutine's function holds nothing that has a destructor, so its stack may go while it is
//! suspended.

use std::cell::RefCell;

use corosensei::Coroutine;

struct Own(Coroutine<(), (), ()>);

impl Drop for Own {
    fn drop(&mut self) {
        // SAFETY: nothing on its stack has to be dropped.
        unsafe { self.0.force_reset() };
    }
}

thread_local! {
    static OWN: RefCell<Own> = RefCell::new(Own(Coroutine::new(|yielder, ()| {
        loop {
            yielder.suspend(());
        }
    })));
}

/// One switch to the coroutine, and back.
#[unsafe(no_mangle)]
pub extern "C" fn peer_call() {
    OWN.with_borrow_mut(|own| {
        own.0.resume(());
    });
}
