//! The smallest program that shows needm without a C library: a callback, a fault in a
//! callback, and a callback whose stack overflows. It exits with 200 if all is well.
//! `qemu/host ARCH` builds it and prints its folder; `tests/hosts/build.rs` links it.
//!
//! # Safety
//! The one unsafe operation is a volatile write to address 0, where nothing is mapped.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::ptr;

use needm::CallbackError;

needm::host::entry!(main);

fn main(_: needm::host::Arguments) -> i32 {
    run().unwrap_or(1)
}

fn run() -> Option<i32> {
    needm::start(needm::Config::default()).ok()?;
    let answer = needm::callback(|_| 200).ok()?;
    // SAFETY: nothing is mapped at address 0, so the write faults and changes nothing.
    // `black_box` hides the address from the compiler. The callback's frames hold nothing that
    // has a destructor.
    let fault = unsafe {
        needm::callback_catching_faults(|_| black_box(ptr::null_mut::<u8>()).write_volatile(1))
    };
    // SAFETY: nor do the frames of `deeper`.
    let overflow = unsafe { needm::callback_catching_faults(|_| deeper(0)) };
    let ended = matches!(fault, Err(CallbackError::Fault(fault)) if fault.addr == 0)
        && matches!(overflow, Err(CallbackError::Overflow(_)));
    needm::stop().ok()?;
    ended.then_some(answer)
}

#[allow(unconditional_recursion)] // it is to overflow the stack
fn deeper(depth: usize) -> usize {
    let frame = black_box([depth; 64]);
    deeper(depth + 1) + frame[depth % 64]
}
