//! The smallest program that shows needm without a C library: a callback, a fault in
//! one, and a stack that runs out. Its exit status is 200. `qemu/host ARCH` builds it, and
//! says where it is; `tests/hosts/build.rs` is how it is linked.
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
    // SAFETY: a volatile write to an address that the compiler does not know: what
    // happens is the hardware's doing, a fault, which ends the callback. Its frames hold
    // nothing that has a destructor.
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

#[allow(unconditional_recursion)] // that is the point
fn deeper(depth: usize) -> usize {
    let frame = black_box([depth; 64]);
    deeper(depth + 1) + frame[depth % 64]
}
