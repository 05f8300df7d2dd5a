//! Assembles the target's room of `arch/`, with the offsets of `src/layout.rs`; and compiles the
//! C sides of the examples.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

#[allow(unused_imports, unused_macros)] // for the structs of the crate
#[path = "src/layout.rs"]
mod layout;

/// Target architectures (as Cargo names them) and their rooms under `arch/`.
const ROOMS: &[(&str, &str)] =
    &[("x86_64", "x86_64"), ("x86", "i386"), ("arm", "arm"), ("aarch64", "aarch64")];

/// A room's assembly: for the CPU, and for the CPU under Linux.
const CPU: &[&str] = &["tls.S", "entry.S", "switch.S", "call_on.S"];
const LINUX: &[&str] = &["linux/sigtramp.S", "linux/thread.S"];
/// The start of a program without a C library.
const LINUX_START: &str = "linux/start.S";

/// `offsets.h`: the names of the table, for words of so many bytes.
fn offsets(word: usize) -> String {
    let mut out = String::from("/* Written by build.rs from src/layout.rs. */\n");
    for (name, value) in layout::TABLE.iter().copied().flatten() {
        writeln!(out, "#define {name} {}", value(word)).expect("a String takes all");
    }
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
