// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the build scripts of the crate and of the C libraries share: it assembles the target's
//! room of this folder, with `offsets.h` written from `src/layout.rs`, which each of them has as a
//! module.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::layout;

/// Target architectures, as Cargo names them, and their rooms under `arch/`.
const ROOMS: &[(&str, &str)] = &[
    ("x86_64", "x86_64"),
    ("x86", "i386"),
    ("arm", "arm"),
    ("aarch64", "aarch64"),
    ("riscv64", "riscv64"),
];

/// The assembly files of each room that the CPU needs under the System V ABI.
const CPU: &[&str] = &["tls.S", "entry.S", "switch.S", "call_on.S"];

/// Those that it needs under Linux.
const LINUX: &[&str] = &["linux/sigtramp.S", "linux/thread.S"];

/// The one for a program without a C library, under Linux.
const LINUX_FREESTANDING: &str = "linux/start.S";

/// Those that it needs under Windows, which has calling conventions of its own.
const WINDOWS: &[&str] = &[
    "windows/tls.S",
    "windows/entry.S",
    "windows/switch.S",
    "windows/call_on.S",
    "windows/landing.S",
];

/// Assembles it; `root` is the folder of the crate `needm`.
pub(crate) fn assemble(root: &Path) {
    let var = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let (arch, os) = (var("CARGO_CFG_TARGET_ARCH"), var("CARGO_CFG_TARGET_OS"));
    let Some((_, room)) = ROOMS.iter().find(|(name, _)| *name == arch) else {
        panic!("needm has no assembly for {arch}: see arch/README.md for what a room holds");
    };
    let bits: usize = var("CARGO_CFG_TARGET_POINTER_WIDTH").parse().expect("a number of bits");
    let out = PathBuf::from(var("OUT_DIR"));
    fs::write(out.join("offsets.h"), offsets(bits / 8)).expect("OUT_DIR can be written");
    for path in ["arch", "src/layout.rs"] {
        println!("cargo:rerun-if-changed={}", root.join(path).display());
    }
    // docs.rs documents targets that it has no assembler for, and links nothing.
    println!("cargo:rerun-if-env-changed=DOCS_RS");
    if env::var_os("DOCS_RS").is_some() {
        return;
    }

    let folder = root.join("arch");
    let room = folder.join(room);
    let freestanding = env::var_os("CARGO_FEATURE_FREESTANDING").map(|_| &LINUX_FREESTANDING);
    let files: Vec<&str> = match os.as_str() {
        "linux" => CPU.iter().chain(LINUX).chain(freestanding).copied().collect(),
        "windows" => {
            assert!(arch.starts_with("x86"), "needm runs on Windows for x86_64 and i386 only");
            WINDOWS.to_vec()
        }
        _ => panic!("needm runs on Linux and Windows only"),
    };
    let mut build = cc::Build::new();
    build.include(&out).include(folder).files(files.iter().map(|name| room.join(name)));
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
