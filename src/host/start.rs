//! From the first instruction to the host's program; the Rust side of
//! `arch/<arch>/start.S`.

use core::arch::global_asm;
use core::ffi::{CStr, c_char, c_int};
use core::panic::PanicInfo;

use crate::arch::{self, upcalls};
use crate::os::image::Image;
use crate::os::libc::{self, word};
use crate::os::memory::{self, Access};
use crate::{fatal, os};

upcalls! {
    "needm_host_start" => start,
}

// Where the linker has put the program's constructors; two nulls where it says nothing.
global_asm!(
    ".pushsection .data.rel.ro.needm_init_array,\"aw\",%progbits",
    ".p2align 3",
    ".globl needm_init_array",
    ".hidden needm_init_array",
    ".weak __init_array_start",
    ".hidden __init_array_start",
    ".weak __init_array_end",
    ".hidden __init_array_end",
    "needm_init_array:",
    concat!(word!(), "__init_array_start"),
    concat!(word!(), "__init_array_end"),
    ".size needm_init_array, . - needm_init_array",
    ".popsection",
);

/// A constructor, given what `needm_main` is given.
type Constructor = unsafe extern "C" fn(c_int, *const *const c_char, *const *const c_char);

unsafe extern "C" {
    /// From the first constructor to behind the last.
    #[link_name = "needm_init_array"]
    static CONSTRUCTORS: [*const Constructor; 2];

    /// The host's program: [`entry!`](crate::host::entry), or C's.
    fn needm_main(
        count: c_int,
        words: *const *const c_char,
        environment: *const *const c_char,
    ) -> c_int;
}

/// What a program is told by who started it.
#[derive(Clone, Copy)]
pub struct Arguments {
    next: *const *const c_char,
    left: usize,
}

impl Arguments {
    /// `count` strings.
    ///
    /// # Safety
    /// They are there, and stay for as long as the program runs.
    #[doc(hidden)]
    #[must_use]
    pub unsafe fn new(count: c_int, words: *const *const c_char) -> Self {
        Self { next: words, left: usize::try_from(count).unwrap_or(0) }
    }
}

impl Iterator for Arguments {
    type Item = &'static CStr;

    fn next(&mut self) -> Option<&'static CStr> {
        self.left = self.left.checked_sub(1)?;
        // SAFETY: as many strings are there as were left.
        unsafe {
            let word = CStr::from_ptr(self.next.read());
            self.next = self.next.add(1);
            Some(word)
        }
    }
}

/// What a program's exit status is that could not be started, as with a loader that
/// cannot load one.
const CANNOT_START: i32 = 127;

/// Why the program cannot go on, in one line, and its end: a signal would need a
/// thread that is in order.
fn refuse(why: &str) -> ! {
    fatal::print(format_args!("needm: cannot start: {why}; see linker/README.md"));
    os::exit(CANNOT_START)
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
    ready_thread_pointer();
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // argc is an int
    let (count, words, environment) = (count as c_int, words.cast(), environment.cast());
    // SAFETY: the host's own functions, with what the system gave. The linker's two
    // symbols are the bounds of an array of them.
    let status = unsafe {
        let [mut next, end] = CONSTRUCTORS;
        while next != end {
            next.read()(count, words, environment);
            next = next.add(1);
        }
        needm_main(count, words, environment)
    };
    os::exit(status)
}

/// Lays out the first thread's thread-local storage, and sets its thread pointer.
fn ready_thread_pointer() {
    let image = Image::find().unwrap_or_else(|flaw| refuse(flaw.meaning()));
    // A page is aligned enough: `find` has seen to that.
    let Ok(area) = memory::map(image.bytes(), Access::ReadWrite) else {
        refuse("no memory for thread-local storage")
    };
    // SAFETY: the mapping is as large and aligned as is asked for; this thread has had
    // no thread-local storage so far.
    let (pointer, refused) = unsafe {
        let pointer = image.copy_to(area as *mut u8);
        (pointer, arch::linux::thread::set_thread_pointer(pointer))
    };
    if refused < 0 {
        refuse("the system sets no thread pointer")
    }
    // The kernel's own block is the proof: it must lie in the copy.
    if !image.holds(pointer, crate::tls::needm_tls_block() as usize) {
        refuse("thread-local storage is not where its users look for it");
    }
}

/// A panic of the program's Rust code: one line, and the end.
#[cfg_attr(not(docsrs), panic_handler)] // documented beside `std`, which has one
fn panic(info: &PanicInfo<'_>) -> ! {
    match info.location() {
        Some(at) => fatal::throw(format_args!(
            "panicked at {}:{}: {}",
            at.file(),
            at.line(),
            info.message()
        )),
        None => fatal::throw(format_args!("panicked: {}", info.message())),
    }
}

const _: () = assert!(size_of::<*const c_char>() == size_of::<usize>());
