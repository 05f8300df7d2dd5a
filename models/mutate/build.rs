//! Sets the cfg under which needm's sources are given their rooms for loom; and writes a copy
//! of them all in which every bug of `bugs.rs` is planted, each behind a condition that only
//! its own test makes true.
//!
//! A comment `// model: NAME` in the sources, on a line of its own, marks the statement below
//! it. What bug `NAME` does to that statement is its [`mutate::Change`]. A marker without a bug
//! fails the build, and so does a bug without a marker.

mod bugs;
mod mutate;

use bugs::BUGS;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What the copy consists of. Paths between these folders are relative.
const FOLDERS: [&str; 5] = ["arch", "src", "models/sync", "models/os", "models/cpu"];
const CHECKS: &str = "models/checks";

fn main() {
    let models = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = models.parent().expect("the repository");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let copy = out.join("planted");
    println!("cargo:rustc-cfg=needm_loom");
    for folder in ["mutate", "sync", "os", "cpu", "checks", "../arch", "../src"] {
        println!("cargo:rerun-if-changed={folder}");
    }
    // What an earlier run has left: a file may be a folder now.
    if copy.exists() {
        fs::remove_dir_all(&copy).expect("OUT_DIR can be written");
    }
    let mut marked = BTreeSet::new();
    for folder in FOLDERS.iter().chain([&CHECKS]) {
        copy_folder(root, Path::new(folder), &copy, &mut marked);
    }
    for bug in BUGS {
        assert!(marked.contains(bug.name), "no statement is marked `// model: {}`", bug.name);
    }
    fs::write(out.join("found.rs"), tests()).expect("OUT_DIR can be written");
}

/// Copies the Rust files of a folder, with the bugs planted.
fn copy_folder(root: &Path, folder: &Path, copy: &Path, marked: &mut BTreeSet<String>) {
    fs::create_dir_all(copy.join(folder)).expect("OUT_DIR can be written");
    for entry in fs::read_dir(root.join(folder)).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_name().expect("an entry has a name");
        let inner = folder.join(name);
        if path.is_dir() {
            copy_folder(root, &inner, copy, marked);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("the file can be read");
            let planted = mutate::plant(&inner, &text, BUGS, marked);
            let is_root = inner == Path::new("src/lib.rs");
            let planted = if is_root { without_inner(&planted) } else { planted };
            fs::write(copy.join(inner), planted).expect("OUT_DIR can be written");
        }
    }
}

/// A crate's root as `tests/planted.rs` includes it: without what only the first lines of a
/// crate may be.
fn without_inner(text: &str) -> String {
    let inner = |line: &&str| line.starts_with("//!") || line.starts_with("#![");
    text.lines().filter(|line| !inner(line)).fold(String::new(), |all, line| all + line + "\n")
}

/// A test for each bug.
fn tests() -> String {
    let mut tests = String::new();
    for (number, bug) in BUGS.iter().enumerate() {
        let (name, check) = (bug.name, bug.check);
        writeln!(tests, "#[test]\nfn {name}() {{\n    must_find({number}, checks::{check});\n}}")
            .expect("a String takes all");
    }
    tests
}
