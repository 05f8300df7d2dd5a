//! Assembles the target's room of `arch/`, with `offsets.h` written from `src/layout.rs`; and
//! compiles the C sides of the examples.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

#[allow(unused_imports, unused_macros)] // they prove the structs, which are the crate's
#[path = "src/layout.rs"]
mod layout;

/// Target architectures, as Cargo names them, and their rooms under `arch/`.
const ROOMS: &[(&str, &str)] = &[
    ("x86_64", "x86_64"),
    ("x86", "i386"),
    ("arm", "arm"),
    ("aarch64", "aarch64"),
    ("riscv64", "riscv64"),
];

/// The assembly files of each room that the CPU needs under every system.
const CPU: &[&str] = &["tls.S", "entry.S", "switch.S", "call_on.S"];

/// Those that it needs under Linux.
const LINUX: &[&str] = &["linux/sigtramp.S", "linux/thread.S"];

/// The one for a program without a C library, under Linux.
const LINUX_FREESTANDING: &str = "linux/start.S";

/// The C sides of examples.
const EXAMPLES_IN_C: [&str; 2] = ["examples/cthread/threads.c", "examples/soak/foreign.c"];

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

    build_examples();
    for path in ["arch", "src/layout.rs", "build.rs"].iter().chain(&EXAMPLES_IN_C) {
        println!("cargo:rerun-if-changed={path}");
    }
    // docs.rs documents targets that it has no assembler for, and links nothing.
    println!("cargo:rerun-if-env-changed=DOCS_RS");
    if env::var_os("DOCS_RS").is_some() {
        return;
    }

    let room = PathBuf::from("arch").join(room);
    let freestanding = env::var_os("CARGO_FEATURE_FREESTANDING").map(|_| &LINUX_FREESTANDING);
    let files = CPU.iter().chain(LINUX).chain(freestanding);
    let mut build = cc::Build::new();
    build.include(&out).include("arch").files(files.map(|name| room.join(name)));
    build.compile("needm_arch");
}

/// `offsets.h`: each row of the table, for words of so many bytes.
fn offsets(word: usize) -> String {
    let mut out = String::from("/* Written by build.rs from src/layout.rs. */\n");
    for (name, value) in layout::TABLE.iter().copied().flatten() {
        writeln!(out, "#define {name} {}", value(word)).expect("a String takes all");
    }
    out
}

/// Compiles the C sides of the examples where `.cargo/config.toml` asks for it, so not for a
/// program that depends on needm. Only examples are linked with them.
fn build_examples() {
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
