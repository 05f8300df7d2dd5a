//! What the libraries define: names of needm's, and no other. A program keeps its own libm.

use std::process::Command;

use crate::common::{c_compiler, libraries};
use crate::{Link, compile_with, run};

/// The names that a library defines for others.
fn defined(library: &str, how: &str) -> Vec<String> {
    let nm = Command::new(c_compiler()).arg("-print-prog-name=nm").output();
    let nm = String::from_utf8(nm.expect("the C compiler runs").stdout).expect("a path");
    let mut nm = Command::new(nm.trim());
    nm.args([how, "--defined-only", "--format=posix"]).arg(libraries().join(library));
    let names = String::from_utf8(nm.output().expect("nm runs").stdout).expect("names");
    // An archive has a line for each of its objects, too.
    let names = names.lines().filter(|line| !line.ends_with(':'));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "the archive is as Rust makes it")]
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
#[cfg_attr(not(target_arch = "x86_64"), ignore = "the archive is as Rust makes it")]
fn a_program_keeps_its_own_libm() {
    let test = "a_program_keeps_its_own_libm";
    run(&compile_with(test, "libm", Link::Archive, &[], &["-lm", "-ldl"]), &[]);
}
