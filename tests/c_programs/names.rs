//! What the libraries say to linkers: names of needm's, and no other, so that a program keeps its
//! own libm; and no mark that they do not deserve.

use std::process::Command;

use crate::common::arch::where_tools_run;
use crate::common::{c_compiler, libraries};
use crate::{Link, compile_with, run};

/// A tool of the C compiler's.
fn tool(name: &str) -> Command {
    let path = Command::new(c_compiler()).arg(format!("-print-prog-name={name}")).output();
    let path = String::from_utf8(path.expect("the C compiler runs").stdout).expect("a path");
    Command::new(path.trim())
}

/// The names that a library defines for others.
fn defined(library: &str, how: &str) -> Vec<String> {
    let mut nm = tool("nm");
    nm.args([how, "--defined-only", "--format=posix"]).arg(libraries().join(library));
    let names = String::from_utf8(nm.output().expect("nm runs").stdout).expect("names");
    // An archive has a line for each of its objects, too.
    let names = names.lines().filter(|line| !line.ends_with(':'));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn the_libraries_define_needms_names_only() {
    for (library, how) in [("libneedm.a", "-g"), ("libneedm.so", "-D")] {
        let names = defined(library, how);
        for name in ["needm_start", "needm_callback", "needm_each_m"] {
            assert!(names.iter().any(|defined| defined == name), "{library}: no {name}");
        }
        let others: Vec<_> = names.iter().filter(|name| !name.starts_with("needm_")).collect();
        assert!(others.is_empty(), "{library}: {others:?}");
    }
}

#[test]
fn a_program_keeps_its_own_libm() {
    let test = "a_program_keeps_its_own_libm";
    run(&compile_with(test, "libm", Link::Archive, &[], &["-lm", "-ldl"]), &[]);
}

where_tools_run! {
/// Linkers differ in what they take out of an archive, and when.
#[test]
fn a_program_keeps_its_own_libm_with_each_linker() {
    for linker in ["bfd", "gold", "lld", "mold"] {
        // A compiler asks the linker that it is told of, under that linker's name.
        if Command::new(format!("ld.{linker}")).arg("--version").output().is_err() {
            println!("skipped: no ld.{linker} (Debian: binutils, lld, mold)");
            continue;
        }
        let test = format!("a_program_keeps_its_own_libm_with_{linker}");
        let which = format!("-fuse-ld={linker}");
        run(&compile_with(&test, "libm", Link::Archive, &[&which], &["-lm", "-ldl"]), &[]);
    }
}

/// Another library in Rust brings its own core, std and compiler_builtins.
#[test]
fn a_program_links_with_another_library_in_rust() {
    let source = crate::common::scratch("other_library.rs");
    let library = crate::common::scratch("libother_library.a");
    let text = r#"
        #[unsafe(no_mangle)]
        pub extern "C" fn other_library(number: f64) -> f64 {
            let panicked = std::panic::catch_unwind(|| panic!("caught"));
            let twice = std::thread::spawn(move || number * 2.0).join();
            if panicked.is_err() { twice.unwrap_or(0.0) } else { 0.0 }
        }"#;
    std::fs::write(&source, text).expect("a source file");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut rustc = Command::new(rustc);
    rustc.args(["--edition=2024", "--crate-type=staticlib", "-O", "-o"]);
    crate::common::compile(rustc.arg(&library).arg(&source));
    let library = library.to_str().expect("a path");
    let test = "a_program_links_with_another_library_in_rust";
    let first = ["-DOTHER_LIBRARY"];
    run(&compile_with(test, "libm", Link::Archive, &first, &[library, "-lm", "-ldl"]), &[]);
    let test = "a_program_links_behind_another_library_in_rust";
    let first = ["-DOTHER_LIBRARY", "-Wl,--whole-archive", library, "-Wl,--no-whole-archive"];
    run(&compile_with(test, "libm", Link::Archive, &first, &["-lm", "-ldl"]), &[]);
}
}

/// With the mark of a shadow stack the C library switches one on, which needm cannot unwind.
#[test]
fn the_libraries_are_not_marked_for_shadow_stacks() {
    for library in ["libneedm.a", "libneedm.so"] {
        let read = tool("readelf").arg("-nW").arg(libraries().join(library)).output();
        let read = read.expect("readelf runs");
        assert!(read.status.success(), "readelf cannot read {library}");
        let notes = String::from_utf8_lossy(&read.stdout);
        for mark in ["SHSTK", "GCS"] {
            assert!(!notes.contains(mark), "{library} has the mark {mark}: {notes}");
        }
    }
}
