//! needm calls no allocator: not on any path of a callback, and its libraries do not even refer
//! to one.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::process::Command;

use common::{c_compiler, libraries};
use needm::{CallbackError, Config};

struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    CALLS.with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: every call goes on to `System` with the arguments that it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller gives a layout that this function may be called with, and `System`
        // asks no more.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: `at` is what `alloc` above got from `System` for this layout.
        unsafe { System.dealloc(at, layout) };
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn nested(depth: u32) {
    let ended = needm::callback(|cx| {
        if depth == 0 {
            // SAFETY: the callback's frames hold nothing.
            unsafe { needm::panic(std::ptr::null_mut()) };
        }
        let _ = cx.ccall(|| nested(depth - 1));
    });
    assert!(depth != 0 || matches!(ended, Err(CallbackError::Panic(_))));
}

#[test]
fn no_callback_allocates() {
    needm::start(Config::default()).expect("it is not started");
    let allocations = std::thread::spawn(|| {
        let before = CALLS.get();
        assert!(before > 0, "the allocator is not the one that counts");
        for _ in 0..1000 {
            let _ = needm::callback(|_| ());
            nested(10);
            let null = std::hint::black_box(std::ptr::null_mut::<u8>());
            // SAFETY: the compiler does not know the address, so the volatile write is done, and
            // faults: that ends the callback, which holds nothing.
            let _ = unsafe { needm::callback_catching_faults(|_| null.write_volatile(1)) };
        }
        needm::detach().expect("outside");
        let _ = needm::callback(|_| ());
        CALLS.get() - before
    });
    assert_eq!(allocations.join().expect("it returns"), 0);
    needm::stop().expect("no callback is left");
}

#[test]
fn libneedm_refers_to_no_allocator() {
    let library = libraries().join("libneedm.so");
    let nm = Command::new(c_compiler())
        .arg("-print-prog-name=nm")
        .output()
        .expect("the C compiler runs");
    let nm = String::from_utf8(nm.stdout).expect("a path");
    let symbols = Command::new(nm.trim()).args(["-D", "--undefined-only"]).arg(library).output();
    let symbols = String::from_utf8(symbols.expect("nm runs").stdout).expect("names");
    assert!(symbols.contains("memcpy") || symbols.contains("pthread"), "not symbols: {symbols}");
    for name in ["malloc", "calloc", "realloc", "free", "mmap", "__rust_alloc", "posix_memalign"] {
        let found = symbols.split_whitespace().any(|symbol| symbol.split('@').next() == Some(name));
        assert!(!found, "refers to {name}");
    }
}
