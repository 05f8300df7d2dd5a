//! Assembles `arch/<arch>/*.S` with the offsets of `src/layout.rs`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

#[path = "src/layout.rs"]
mod layout;

/// Target architectures (as Cargo names them) and their rooms under `arch/`.
const ROOMS: &[(&str, &str)] = &[("x86_64", "x86_64"), ("x86", "i386"), ("arm", "arm")];

/// A room's assembly: for the CPU, and for the CPU under Linux.
const CPU: &[&str] = &["tls.S", "entry.S", "switch.S", "call_on.S"];
const LINUX: &[&str] = &["linux/sigtramp.S", "linux/thread.S"];
/// The start of a program without a C library.
const LINUX_START: &str = "linux/start.S";

fn offsets(word: usize) -> String {
    let mut out = String::from("/* Written by build.rs from src/layout.rs. */\n");
    let mut line = |name: &str, words: usize| {
        writeln!(out, "#define {name} {}", words * word).expect("a String takes all");
    };
    line("WORD", 1);
    line("TLS_M", layout::tls::M);
    line("TLS_BOUND_EPOCH", layout::tls::BOUND_EPOCH);
    line("TLS_THREAD", layout::tls::THREAD);
    line("TLS_REBIND_EPOCH", layout::tls::REBIND_EPOCH);
    line("TLS_SIZE", layout::tls::WORDS);
    line("M_SEG", layout::m::SEG);
    line("M_TOP", layout::m::TOP);
    line("M_NEEDS_CLEANUP", layout::m::NEEDS_CLEANUP);
    line("M_STATE", layout::m::STATE);
    line("M_BASE", layout::m::BASE);
    line("M_THREAD", layout::m::THREAD);
    line("M_SIG_LO", layout::m::SIG_LO);
    line("M_SIG_LEN", layout::m::SIG_LEN);
    line("THREAD_M", layout::thread::M);
    line("THREAD_LAST", layout::thread::LAST);
    line("THREAD_CLAIM", layout::thread::CLAIM);
    line("THREAD_SIG_LO", layout::thread::SIG_LO);
    line("THREAD_SIG_LEN", layout::thread::SIG_LEN);
    line("SEG_CALL", layout::segment::CALL);
    line("SEG_GSP", layout::segment::GSP);
    line("SEG_DEFERS", layout::segment::DEFERS);
    line("SEG_FLAGS", layout::segment::FLAGS);
    line("SEG_SIZE", layout::segment::WORDS);
    line("CALL_FN", layout::call::FN);
    line("CALL_FRAME", layout::call::FRAME);
    line("CALL_SIZE", layout::call::SIZE);
    line("CALL_INFO", layout::call::INFO);
    line("CALL_ARG", layout::call::ARG);
    line("CALL_OUT", layout::call::OUT);
    line("CALL_BYTES", layout::call::WORDS);
    line("FAULT_SP", layout::fault::SP);
    line("FAULT_PC", layout::fault::PC);
    for (name, bits) in [
        ("RUNNING", layout::m::RUNNING),
        ("GATE_WAITERS", layout::gate::WAITERS),
        ("GATE_BYTES", layout::gate::BYTES),
        ("M_IDLE", layout::m::IDLE as usize),
        ("BOUND_HERE", layout::segment::BOUND_HERE),
        ("CALL_PENDING", layout::call::PENDING),
        ("CALL_ON_G", layout::call::ON_G),
    ] {
        writeln!(out, "#define {name} {bits}").expect("a String takes all");
    }
    // The three ints take four bytes more where a word of eight must follow aligned.
    let ints = layout::panic_info::INT_BYTES.next_multiple_of(word);
    writeln!(out, "#define INFO_BYTES {}", layout::panic_info::WORDS * word + ints)
        .expect("a String takes all");
    out
}

/// The C sides of examples.
const EXAMPLES_IN_C: [&str; 2] = ["examples/cthread/threads.c", "examples/soak/foreign.c"];

/// Compiles them where `.cargo/config.toml` asks for it. Linked into examples only.
fn build_example_threads() {
    println!("cargo:rerun-if-env-changed=NEEDM_C_EXAMPLES");
    if env::var_os("NEEDM_C_EXAMPLES").is_none() || env::var_os("DOCS_RS").is_some() {
        return;
    }
    let mut build = cc::Build::new();
    build.files(EXAMPLES_IN_C).flag("-pthread").cargo_metadata(false);
    match build.try_compile("examples") {
        Ok(()) => {
            let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
            println!("cargo:rustc-link-arg-examples={out}/libexamples.a");
        }
        // A target without a C library has no threads of C's, and no examples.
        Err(error) => println!("cargo:warning=examples with a C side are not built: {error}"),
    }
}

fn main() {
    let var = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let (arch, os) = (var("CARGO_CFG_TARGET_ARCH"), var("CARGO_CFG_TARGET_OS"));
    let Some((_, room)) = ROOMS.iter().find(|(name, _)| *name == arch) else {
        panic!("needm has no assembly for {arch}: see arch/README.md for what a room holds");
    };
    assert_eq!(os, "linux", "needm runs on Linux only");
    let bits: usize = var("CARGO_CFG_TARGET_POINTER_WIDTH").parse().expect("a number of bits");
    let out = PathBuf::from(var("OUT_DIR"));
    fs::write(out.join("offsets.h"), offsets(bits / 8)).expect("OUT_DIR can be written");

    build_example_threads();
    for path in ["arch", "src/layout.rs", "build.rs"].iter().chain(&EXAMPLES_IN_C) {
        println!("cargo:rerun-if-changed={path}");
    }
    // docs.rs documents targets that it has no assembler for, and links nothing.
    println!("cargo:rerun-if-env-changed=DOCS_RS");
    if env::var_os("DOCS_RS").is_some() {
        return;
    }

    let room = PathBuf::from("arch").join(room);
    let mut build = cc::Build::new();
    build.include(&out).include("arch");
    for name in CPU.iter().chain(LINUX) {
        build.file(room.join(name));
    }
    if env::var_os("CARGO_FEATURE_FREESTANDING").is_some() {
        build.file(room.join(LINUX_START));
    }
    build.compile("needm_arch");
}
