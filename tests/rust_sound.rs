//! No safe function breaks memory safety. What would have done so runs in a process of its own,
//! and this looks at how that ends. (What must not compile is in `src/api/compile_fail.rs`.)

use std::hint::black_box;

#[path = "rust_sound/child.rs"]
mod child;
#[path = "rust_sound/faults.rs"]
mod faults;
#[path = "rust_sound/hooks.rs"]
mod hooks;
#[cfg(feature = "std")]
#[path = "rust_sound/panics.rs"]
mod panics;
#[path = "rust_sound/views.rs"]
mod views;

/// What the handler of an overflow prints first.
const OVERFLOWED: &str = "needm: the stack of a callback on M 1 has overflowed\n";

fn start() {
    needm::start(needm::Config { stack_size: 256 << 10, ..needm::Config::default() })
        .expect("it is not started");
}

/// Where a body must not come.
fn went_on() {
    println!("{}", child::WENT_ON);
}

fn write_through_null() {
    let null = black_box(std::ptr::null_mut::<u8>());
    // SAFETY: what happens is the hardware's doing: a fault.
    unsafe { null.write_volatile(1) };
}

#[inline(never)]
fn deep(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { deep(depth + 1) + frame[(depth % 64) as usize] }
}
