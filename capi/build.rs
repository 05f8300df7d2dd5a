// SPDX-License-Identifier: MIT OR Apache-2.0
//! Assembles as the crate's own build script does; names the shared library, because without a
//! SONAME a program remembers the path that it was linked with; and has it ask for the C library
//! by name.

use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "../arch/assemble.rs"]
mod assemble;
#[allow(unused_imports, unused_macros)] // they prove the structs, which are the crate's
#[path = "../src/layout.rs"]
mod layout;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    assemble::assemble(Path::new(".."));
    // The libraries always hold the C interface, also where no command names the feature.
    println!("cargo:rustc-cfg=feature=\"capi\"");
    if env::var_os("CARGO_FEATURE_FREESTANDING").is_none() {
        println!("cargo:rustc-cfg=needm_c_library");
    }
    ask_for_the_c_library();
    println!("cargo:rerun-if-env-changed=NEEDM_SONAME");
    println!("cargo:rerun-if-env-changed=CARGO_C_CARGO");
    // cargo-c gives a name of its own, before this one; the linker takes the last.
    if env::var_os("CARGO_C_CARGO").is_some() {
        return;
    }
    // `packaging/install` gives the one with a version.
    let name = env::var("NEEDM_SONAME").unwrap_or_else(|_| "libneedm.so".into());
    let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_FAMILY", "unix") && !is("CARGO_CFG_TARGET_VENDOR", "apple") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,{name}");
    }
}

/// Has the shared library list the C library among those that it needs. A loader relocates a
/// library after those; and glibc's chooses its `memcpy` by a function, which cannot run
/// before glibc itself is relocated.
///
/// It is linked with an empty library of that name, not with the C library: then its symbols
/// have no versions, and it goes on to run with older C libraries, and with others.
fn ask_for_the_c_library() {
    let var = |name: &str| env::var(name).unwrap_or_default();
    let name = match (&*var("CARGO_CFG_TARGET_OS"), &*var("CARGO_CFG_TARGET_ENV")) {
        ("linux", "gnu") => "libc.so.6",
        ("linux", "musl") => "libc.so",
        _ => return,
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let (source, library) = (out.join("empty.c"), out.join("libempty.so"));
    fs::write(&source, "").expect("OUT_DIR can be written");
    if link_empty(name, &source, &library) {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--no-as-needed");
        println!("cargo:rustc-cdylib-link-arg={}", library.display());
    } else {
        println!("cargo:warning=libneedm.so does not ask for {name}: the compiler cannot link");
    }
}

/// A shared library with a name and nothing in it.
fn link_empty(name: &str, source: &Path, library: &Path) -> bool {
    let mut compiler = cc::Build::new().get_compiler().to_command();
    compiler.args(["-shared", "-nostdlib", "-fPIC", &format!("-Wl,-soname,{name}"), "-o"]);
    compiler.arg(library).arg(source).status().is_ok_and(|status| status.success())
}
