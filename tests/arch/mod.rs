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
    /// Whether the emulator gives a thread that returns from a handler the thread pointer of
    /// the thread that was made last: `ARCH_EMULATOR_LOSES_THREAD` of the headers.
    pub(crate) emulator_loses_thread: bool,
}

const ALL: [Arch; 3] = [
    Arch {
        name: "x86_64",
        rust: "x86_64",
        headers: "x86_64-linux-gnu",
        decodable: &[],
        emulator_loses_thread: false,
    },
    Arch {
        name: "i386",
        rust: "x86",
        headers: "i386-linux-gnu",
        decodable: &[],
        emulator_loses_thread: true,
    },
    // The decoder knows no Thumb code.
    Arch {
        name: "arm",
        rust: "arm",
        headers: "arm-linux-gnueabihf",
        decodable: &["-marm"],
        emulator_loses_thread: false,
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
