//! needm calls no allocator: not on any callback's path, and its libraries do not even
//! refer to one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::process::Command;

use needm::{CallbackError, Config};

struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    CALLS.with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: every call is passed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's.
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
fn no_callback_allocates_not_even_a_threads_first() {
    needm::start(Config::default()).expect("it is not started");
    let allocations = std::thread::spawn(|| {
        let before = CALLS.get();
        assert!(before > 0, "the allocator is not the one that counts");
        for _ in 0..1000 {
            let _ = needm::callback(|_| ());
            nested(10);
            let null = std::hint::black_box(std::ptr::null_mut::<u8>());
            // SAFETY: the fault ends the callback, whose frames hold nothing.
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
fn the_c_library_of_the_kernel_refers_to_no_allocator() {
    let Some(folder) = std::env::var_os("NEEDM_LIB_DIR") else {
        // Without qemu/test nobody says where the libraries are; it does, always.
        return;
    };
    let library = std::path::Path::new(&folder).join("libneedm.so");
    let cc = std::env::var_os("NEEDM_CC").unwrap_or_else(|| "cc".into());
    let nm = Command::new(cc).arg("-print-prog-name=nm").output().expect("the C compiler runs");
    let nm = String::from_utf8(nm.stdout).expect("a path");
    let symbols = Command::new(nm.trim()).args(["-D", "--undefined-only"]).arg(library).output();
    let symbols = String::from_utf8(symbols.expect("nm runs").stdout).expect("names");
    assert!(symbols.contains("memcpy") || symbols.contains("pthread"), "not symbols: {symbols}");
    for name in ["malloc", "calloc", "realloc", "free", "mmap", "__rust_alloc", "posix_memalign"] {
        let found = symbols.split_whitespace().any(|symbol| symbol.split('@').next() == Some(name));
        assert!(!found, "refers to {name}");
    }
}
