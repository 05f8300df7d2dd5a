// SPDX-License-Identifier: MIT OR Apache-2.0
//! Assembles the target's room of `arch/`, and compiles the C sides of the examples.

use std::env;
use std::path::Path;

#[path = "arch/assemble.rs"]
mod assemble;
#[allow(unused_imports, unused_macros)] // they prove the structs, which are the crate's
#[path = "src/layout.rs"]
mod layout;

/// The C sides of examples.
const EXAMPLES_IN_C: [&str; 2] = ["examples/cthread/threads.c", "examples/soak/foreign.c"];

fn main() {
    assemble::assemble(Path::new(""));
    warn_of_sanitizer();
    build_examples();
    for path in ["build.rs"].iter().chain(&EXAMPLES_IN_C) {
        println!("cargo:rerun-if-changed={path}");
    }
}

/// Tells of a sanitizer that instruments needm itself, because `RUSTFLAGS` has it. needm tells it of switches of
/// stacks in the middle of functions, which then must not be instrumented.
fn warn_of_sanitizer() {
    let instruments = env::var("CARGO_CFG_SANITIZE").unwrap_or_default();
    for (feature, sanitizer, then) in [
        (
            "CARGO_FEATURE_ASAN",
            "address",
            "crashes unless ASAN_OPTIONS=detect_stack_use_after_return=0",
        ),
        ("CARGO_FEATURE_TSAN", "thread", "crashes or hangs"),
    ] {
        if env::var_os(feature).is_some() && instruments.split(',').any(|one| one == sanitizer) {
            println!(
                "cargo:warning=needm itself is built with -Zsanitizer={sanitizer}, and {then}. Build only your own \
                 crate with it: no RUSTFLAGS, but `cargo rustc -- -Zsanitizer={sanitizer}` (needm's guide, tools)"
            );
        }
    }
}

/// Compiles the C sides of the examples where `.cargo/config.toml` asks for it, so not for a
/// program that depends on needm. Only examples are linked with them.
fn build_examples() {
    println!("cargo:rerun-if-env-changed=NEEDM_C_EXAMPLES");
    if env::var_os("NEEDM_C_EXAMPLES").is_none() || env::var_os("DOCS_RS").is_some() {
        return;
    }
    // The other one makes threads by Linux's system calls.
    let windows = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "windows");
    let files = if windows { &EXAMPLES_IN_C[..1] } else { &EXAMPLES_IN_C[..] };
    let mut build = cc::Build::new();
    build.files(files).flag("-pthread").cargo_metadata(false);
    match build.try_compile("examples") {
        Ok(()) => {
            let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
            println!("cargo:rustc-link-arg-examples={out}/libexamples.a");
            if windows {
                for library in ["-l:libpthread.a", "-lmsvcrt", "-lkernel32"] {
                    println!("cargo:rustc-link-arg-examples={library}");
                }
            }
        }
        // A target without a C library has no threads of C's, and no examples.
        Err(error) => println!("cargo:warning=examples with a C side are not built: {error}"),
    }
}
