//! What tests, benchmarks and examples need in Rust of the architecture they run on: one
//! row for each. What they need of it in C and assembly is in the headers beside this file.

/// An architecture.
#[allow(dead_code)] // each program that includes this file uses a part of it
pub(crate) struct Arch {
    /// Its name in Rust (`std::env::consts::ARCH`) and Cargo.
    pub(crate) rust: &'static str,
    /// Its name here: a folder of `arch/`, a row of `qemu/targets`, a script of `linker/`.
    pub(crate) name: &'static str,
    /// Whether qemu-user 7.2 gives a thread that returns from a signal handler the thread
    /// pointer of the thread that was made last.
    pub(crate) qemu_mixes_up_threads: bool,
    /// Whether a division by zero is a fault.
    pub(crate) division_faults: bool,
    /// Whether a return to an impossible address faults before it jumps (addresses that are not
    /// canonical), so that the fault's place is the function that returns.
    pub(crate) impossible_returns_fault: bool,
    /// Whether an unwinder finds the caller of the C library's `abort`.
    pub(crate) aborts_are_unwound: bool,
    /// The folder of Debian's headers for it in `/usr/include`.
    pub(crate) headers: &'static str,
    /// What the C compiler needs to be told to emit the code that `tests/nosplit` decodes.
    pub(crate) c_flags: &'static [&'static str],
    /// The same for a program that is linked without the compiler's library.
    pub(crate) freestanding_c_flags: &'static [&'static str],
    /// The most instructions of the fast path, from the call in C to the callback's first and
    /// from its return back to C. An ending puts back what the ABI makes the callee save, so
    /// the path stores it: with many such registers, and two in an instruction at most, it is
    /// longer.
    pub(crate) fast_instructions: u32,
    /// The same with `NEEDM_LEAVE_FP_CONTROL`.
    pub(crate) fast_instructions_without_fp_control: u32,
    /// The word that a routine of assembly must begin with, because an indirect branch may lead
    /// to it.
    pub(crate) landing_pad: Option<u32>,
    /// The sizes that a page may have, the most usual first.
    pub(crate) pages: &'static [usize],
}

impl Arch {
    /// The largest page, for which a program without a C library is linked.
    #[allow(dead_code)] // as for `own`
    pub(crate) fn max_page(&self) -> usize {
        self.pages.iter().copied().max().expect("a size")
    }
}

const TABLE: &[Arch] = &[
    Arch {
        rust: "x86_64",
        name: "x86_64",
        qemu_mixes_up_threads: false,
        division_faults: true,
        impossible_returns_fault: true,
        aborts_are_unwound: true,
        headers: "x86_64-linux-gnu",
        c_flags: &[],
        freestanding_c_flags: &[],
        fast_instructions: 48,
        fast_instructions_without_fp_control: 46,
        landing_pad: None,
        pages: &[4096],
    },
    Arch {
        rust: "x86",
        name: "i386",
        // qemu-i386 has one table of segments for all threads.
        qemu_mixes_up_threads: true,
        division_faults: true,
        impossible_returns_fault: false,
        aborts_are_unwound: true,
        headers: "i386-linux-gnu",
        c_flags: &[],
        freestanding_c_flags: &[],
        fast_instructions: 49,
        fast_instructions_without_fp_control: 47,
        landing_pad: None,
        pages: &[4096],
    },
    Arch {
        rust: "arm",
        name: "arm",
        qemu_mixes_up_threads: false,
        division_faults: false,
        impossible_returns_fault: false,
        aborts_are_unwound: false,
        headers: "arm-linux-gnueabihf",
        c_flags: &["-marm"],
        freestanding_c_flags: &[],
        fast_instructions: 47,
        fast_instructions_without_fp_control: 45,
        landing_pad: None,
        pages: &[4096],
    },
    // A call keeps 20 registers. Unless it is told otherwise, GCC calls its library for each
    // atomic access, which has the instructions for both kinds of processors.
    Arch {
        rust: "aarch64",
        name: "aarch64",
        qemu_mixes_up_threads: false,
        division_faults: false,
        impossible_returns_fault: false,
        aborts_are_unwound: true,
        headers: "aarch64-linux-gnu",
        c_flags: &["-mno-outline-atomics"],
        freestanding_c_flags: &["-mno-outline-atomics"],
        fast_instructions: 59,
        fast_instructions_without_fp_control: 56,
        landing_pad: Some(0xd503_245f), // bti c
        pages: &[4096, 16384, 65536],
    },
    // A call keeps 25 registers, and an instruction stores one.
    Arch {
        rust: "riscv64",
        name: "riscv64",
        qemu_mixes_up_threads: false,
        division_faults: false,
        impossible_returns_fault: false,
        aborts_are_unwound: false,
        headers: "riscv64-linux-gnu",
        c_flags: &[],
        freestanding_c_flags: &[],
        fast_instructions: 73,
        fast_instructions_without_fp_control: 71,
        landing_pad: None,
        pages: &[4096],
    },
];

/// The row of an architecture, by its name in Rust.
///
/// # Panics
/// If there is none.
pub(crate) fn named(rust: &str) -> &'static Arch {
    let row = TABLE.iter().find(|row| row.rust == rust);
    row.unwrap_or_else(|| panic!("no row in tests/arch/table.rs for {rust}"))
}

/// The row of the architecture that this program is built for.
#[allow(dead_code)] // a build script asks for its target's
pub(crate) fn own() -> &'static Arch {
    named(std::env::consts::ARCH)
}

/// The row of the architecture whose libraries are tested: `NEEDM_ARCH`, or this program's.
///
/// # Panics
/// If there is none.
#[allow(dead_code)] // as for `own`
pub(crate) fn tested() -> &'static Arch {
    let Ok(name) = std::env::var("NEEDM_ARCH") else { return own() };
    let row = TABLE.iter().find(|row| row.name == name);
    row.unwrap_or_else(|| panic!("no row in tests/arch/table.rs for {name}"))
}

/// The items given, where sanitizers, valgrind, musl, libunwind and the runtimes of `tests/clients`
/// are installed and run natively; elsewhere those after `else`, if there are any.
#[cfg(target_arch = "x86_64")]
#[allow(unused_macros)] // as for `own`
macro_rules! where_tools_run {
    ({ $($items:tt)* } else { $($others:tt)* }) => { $($items)* };
    ($($items:tt)*) => { $($items)* };
}
#[cfg(not(target_arch = "x86_64"))]
#[allow(unused_macros)] // as for `own`
macro_rules! where_tools_run {
    ({ $($items:tt)* } else { $($others:tt)* }) => { $($others)* };
    ($($items:tt)*) => {};
}
#[allow(unused_imports)] // as for `own`
pub(crate) use where_tools_run;

/// The same where corosensei builds. It asks the compiler for facts, on ARM alone, and then needs an
/// installed standard library; `qemu/test` builds one from source. `tests/coroutines/Cargo.toml`
/// has the same condition.
#[cfg(not(target_arch = "arm"))]
#[allow(unused_macros)] // as for `own`
macro_rules! where_corosensei_builds {
    ({ $($items:tt)* } else { $($others:tt)* }) => { $($items)* };
}
#[cfg(target_arch = "arm")]
#[allow(unused_macros)] // as for `own`
macro_rules! where_corosensei_builds {
    ({ $($items:tt)* } else { $($others:tt)* }) => { $($others)* };
}
#[allow(unused_imports)] // as for `own`
pub(crate) use where_corosensei_builds;
