//! What the harnesses need of the architecture that the tests are built for: one row each.
//! `arch.h` beside this file is the same for tests in C. Nothing else in `tests` asks which
//! architecture it is.
#![allow(dead_code)] // each harness uses a part

use std::env::consts;

/// An architecture.
pub(crate) struct Arch {
    /// What `qemu/targets` calls it.
    pub(crate) name: &'static str,
    /// What Rust calls it.
    rust: &'static str,
    /// The folder of Debian's headers for it, in `/usr/include`.
    pub(crate) headers: &'static str,
    /// Flags of the C compiler for code that the tests decode.
    pub(crate) decodable: &'static [&'static str],
}

const ALL: [Arch; 3] = [
    Arch { name: "x86_64", rust: "x86_64", headers: "x86_64-linux-gnu", decodable: &[] },
    Arch { name: "i386", rust: "x86", headers: "i386-linux-gnu", decodable: &[] },
    // The decoder knows no Thumb code.
    Arch { name: "arm", rust: "arm", headers: "arm-linux-gnueabihf", decodable: &["-marm"] },
];

/// The architecture that the tests are built for.
pub(crate) fn current() -> &'static Arch {
    let found = ALL.iter().find(|arch| arch.rust == consts::ARCH);
    found.expect("a row in tests/arch/mod.rs")
}

/// The items given, where sanitizers, valgrind, musl and libunwind are installed and run
/// natively.
#[cfg(target_arch = "x86_64")]
macro_rules! where_tools_run {
    ($($items:tt)*) => { $($items)* };
}
#[cfg(not(target_arch = "x86_64"))]
macro_rules! where_tools_run {
    ($($items:tt)*) => {};
}
#[allow(unused_imports)] // as above
pub(crate) use where_tools_run;
