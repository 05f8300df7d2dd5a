//! What harnesses, examples, fuzzer and benchmarks need of the architecture that they are
//! built for: one row each. `arch.h` beside this file is the same for C and assembly. Nothing
//! else in `tests` asks which architecture it is.
#![allow(dead_code)] // each of them uses a part

use std::env::consts;

/// An architecture.
pub(crate) struct Arch {
    /// What `qemu/targets` and the files of `linker` call it.
    pub(crate) name: &'static str,
    /// What Rust and Cargo call it.
    rust: &'static str,
    /// The folder of Debian's headers for it, in `/usr/include`.
    pub(crate) headers: &'static str,
    /// Flags of the C compiler for code that the tests decode.
    pub(crate) decodable: &'static [&'static str],
    /// Flags of the C compiler for a program that is linked without the compiler's library.
    pub(crate) freestanding: &'static [&'static str],
    /// Whether the emulator gives a thread that returns from a handler the thread pointer of
    /// the thread that was made last: `ARCH_EMULATOR_LOSES_THREAD` of the headers.
    pub(crate) emulator_loses_thread: bool,
    /// The most instructions of the fast path, from the call in C to the callback's first and
    /// from its return back to C. An ending puts back what the ABI makes the callee save, so
    /// the path stores it: with many such registers, and two in an instruction at most, it is
    /// longer.
    pub(crate) fast_instructions: u32,
    /// The word that a routine of assembly must begin with, because an indirect branch may lead
    /// to it.
    pub(crate) landing_pad: Option<u32>,
    /// The sizes that a page may have, the most usual first.
    pub(crate) pages: &'static [usize],
}

impl Arch {
    /// The largest page, for which a program without a C library is linked.
    pub(crate) fn max_page(&self) -> usize {
        self.pages.iter().copied().max().expect("a size")
    }
}

const ALL: [Arch; 4] = [
    Arch {
        name: "x86_64",
        rust: "x86_64",
        headers: "x86_64-linux-gnu",
        decodable: &[],
        freestanding: &[],
        emulator_loses_thread: false,
        fast_instructions: 60,
        landing_pad: None,
        pages: &[4096],
    },
    Arch {
        name: "i386",
        rust: "x86",
        headers: "i386-linux-gnu",
        decodable: &[],
        freestanding: &[],
        emulator_loses_thread: true,
        fast_instructions: 60,
        landing_pad: None,
        pages: &[4096],
    },
    // The decoder knows no Thumb code.
    Arch {
        name: "arm",
        rust: "arm",
        headers: "arm-linux-gnueabihf",
        decodable: &["-marm"],
        freestanding: &[],
        emulator_loses_thread: false,
        fast_instructions: 60,
        landing_pad: None,
        pages: &[4096],
    },
    // A call keeps 20 registers. Unless it is told otherwise, GCC calls its library for each
    // atomic access, which has the instructions for both kinds of processors.
    Arch {
        name: "aarch64",
        rust: "aarch64",
        headers: "aarch64-linux-gnu",
        decodable: &["-mno-outline-atomics"],
        freestanding: &["-mno-outline-atomics"],
        emulator_loses_thread: false,
        fast_instructions: 62,
        landing_pad: Some(0xd503_245f), // bti c
        pages: &[4096, 16384, 65536],
    },
];

/// The architecture that Rust calls `rust`.
pub(crate) fn named(rust: &str) -> &'static Arch {
    let found = ALL.iter().find(|arch| arch.rust == rust);
    found.expect("a row in tests/arch/mod.rs")
}

/// The architecture that the tests are built for.
pub(crate) fn current() -> &'static Arch {
    named(consts::ARCH)
}

/// The items given, where sanitizers, valgrind, musl and libunwind are installed and run
/// natively.
#[cfg(target_arch = "x86_64")]
#[allow(unused_macros)] // only c_programs.rs uses it
macro_rules! where_tools_run {
    ($($items:tt)*) => { $($items)* };
}
#[cfg(not(target_arch = "x86_64"))]
#[allow(unused_macros)] // only c_programs.rs uses it
macro_rules! where_tools_run {
    ($($items:tt)*) => {};
}
#[allow(unused_imports)] // only c_programs.rs uses it
pub(crate) use where_tools_run;
