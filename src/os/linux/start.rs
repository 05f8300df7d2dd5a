// SPDX-License-Identifier: MIT OR Apache-2.0
//! The start of a program without a C library, from its first instruction to `needm_main`;
//! the Rust side of `arch/<arch>/linux/start.S`.

use core::ffi::{c_char, c_int};

use super::image::Image;
use super::libc;
use super::memory;
use super::process;
use crate::arch::linux::thread::set_thread_pointer;
use crate::arch::{needm_tls_block, upcalls, weak_table};
use crate::os::terms::Access;

upcalls! {
    "needm_host_start" => start,
}

// Where the linker has put the program's constructors; two nulls where it says nothing.
weak_table!("needm_init_array": hidden "__init_array_start", "__init_array_end");

/// A constructor, given what `needm_main` is given.
type Constructor = unsafe extern "C" fn(c_int, *const *const c_char, *const *const c_char);

unsafe extern "C" {
    /// From the first constructor to behind the last.
    #[link_name = "needm_init_array"]
    static CONSTRUCTORS: [*const Constructor; 2];

    /// The host's program: defined by `entry!` (`host/mod.rs`), or in C.
    fn needm_main(
        count: c_int,
        words: *const *const c_char,
        environment: *const *const c_char,
    ) -> c_int;
}

/// The exit status of a program that cannot start, as of one that a dynamic loader cannot load.
const CANNOT_START: i32 = 127;

/// Prints in one line why the program cannot start, and exits. It raises no signal, because this
/// thread is not in order yet.
fn refuse(why: &str) -> ! {
    for part in ["needm: cannot start: ", why, "; see linker/README.md\n"] {
        process::last_words(part.as_bytes());
    }
    process::exit(CANNOT_START)
}

/// From `_start`, with the stack as the system left it: the first thread's thread-local
/// storage, constructors, then the host's program.
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: so the system lays a new program's stack out, on every architecture:
    // argc, argv and its null, the environment and its null, the auxiliary vector.
    let (count, words, environment, mut vector) = unsafe {
        let count = stack.read();
        let words = stack.add(1);
        let environment = words.add(count + 1);
        let mut end = environment;
        while end.read() != 0 {
            end = end.add(1);
        }
        (count, words, environment, end.add(1))
    };
    // SAFETY: the vector is pairs of words, the last of which starts with AT_NULL, 0.
    unsafe {
        while vector.read() != 0 {
            libc::note_auxiliary(vector.read(), vector.add(1).read());
            vector = vector.add(2);
        }
    }
    memory::ask_page_size();
    ready_thread_pointer();
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // argc is an int
    let (count, words, environment) = (count as c_int, words.cast(), environment.cast());
    // SAFETY: the program's own functions, called once, with what the system gave. The
    // linker's two symbols are the bounds of an array of them.
    let status = unsafe {
        let [mut next, end] = CONSTRUCTORS;
        while next != end {
            next.read()(count, words, environment);
            next = next.add(1);
        }
        needm_main(count, words, environment)
    };
    process::exit(status)
}

/// Lays out the first thread's thread-local storage, and sets its thread pointer.
fn ready_thread_pointer() {
    let image = Image::look().unwrap_or_else(|flaw| refuse(flaw.meaning()));
    // A page is aligned enough: `look` refuses a larger alignment.
    let Ok(area) = memory::map(image.bytes(), Access::ReadWrite) else {
        refuse("no memory for thread-local storage")
    };
    // SAFETY: the mapping is as large and aligned as is asked for; this thread has had
    // no thread-local storage so far.
    let (pointer, refused) = unsafe {
        let pointer = image.copy_to(area as *mut u8);
        (pointer, set_thread_pointer(pointer))
    };
    if refused < 0 {
        refuse("the system sets no thread pointer")
    }
    // needm's own block is the proof: it must lie in the copy.
    if !image.holds(pointer, needm_tls_block() as usize) {
        refuse("thread-local storage is not where its users look for it");
    }
}

const _: () = assert!(size_of::<*const c_char>() == size_of::<usize>());
