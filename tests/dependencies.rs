//! The tables of dependencies in the guide's page `support` are those of the manifests: what a
//! program that uses needm is built with, and what tests need. And all licences are ones that ask
//! for no more than to be named. Each file of the library names its own licence.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Packages of the repository, of which the published crate has the first only.
const PACKAGES: [&str; 8] =
    [".", "benches", "capi", "fuzz", "models", "qemu/hosts", "tests/coroutines", "tests/nosplit"];

/// What the licence of a dependency may be, one of its alternatives at least.
const LICENCES: [&str; 9] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "0BSD",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unlicense",
    "Zlib",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The direct dependencies of a package, if it is here.
fn of_manifest(package: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap_or_default();
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(header) = line.strip_prefix('[') {
            inside = header.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside) {
            names.insert(name.trim().trim_end_matches(".workspace").to_owned());
        }
    }
    names.remove("needm");
    names
}

/// The crates that the first cells of the tables name.
fn of_page() -> BTreeSet<String> {
    let page = fs::read_to_string(root().join("src/guide/support.md")).expect("a page");
    let (_, text) = page.split_once("\n# Dependencies\n").expect("it has the chapter");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split_once(" | "));
    // In a cell, names stand between backquotes; in parentheses is what a crate takes itself.
    let names = cells.flat_map(|(cell, _)| {
        let cell = cell.split(" (").next().unwrap_or(cell).replace('`', "");
        cell.split(", ").map(str::to_owned).collect::<Vec<_>>()
    });
    names.collect()
}

/// Name and licence of each package that `cargo tree` finds for needm along some edges.
fn tree(edges: &str) -> BTreeSet<(String, String)> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["tree", "--offline", "-p", "needm", "--prefix", "none"]);
    let output = cargo.args(["-e", edges, "-f", "{p}|{l}"]).output().expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs = text.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('|'));
    let name = |package: &str| package.split(' ').next().unwrap_or(package).to_owned();
    pairs.map(|(package, licence)| (name(package), licence.to_owned())).collect()
}

#[test]
fn the_guide_names_every_dependency_and_no_other() {
    let manifests: BTreeSet<_> = PACKAGES.into_iter().flat_map(of_manifest).collect();
    let page = of_page();
    let unnamed: Vec<_> = manifests.difference(&page).collect();
    assert!(unnamed.is_empty(), "not in the table: {unnamed:?}");
    let is_whole = root().join("models/Cargo.toml").exists();
    let gone: Vec<_> = page.difference(&manifests).collect();
    assert!(!is_whole || gone.is_empty(), "no dependency any more: {gone:?}");
}

#[test]
fn nothing_is_linked_into_a_program_and_cc_builds_it() {
    let names = |edges: &str| tree(edges).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names("normal"), ["needm"]);
    assert_eq!(names("normal,build"), ["cc", "find-msvc-tools", "needm", "shlex"]);
}

/// Whether one of the alternatives of a licence is listed.
fn fits(licence: &str, listed: &[&str]) -> bool {
    let mut alternatives = licence.split(" OR ").flat_map(|one| one.split('/'));
    alternatives.any(|one| {
        one.split(" AND ").all(|part| listed.contains(&part.trim_matches(['(', ')', ' '])))
    })
}

#[test]
fn licences_ask_only_to_be_named() {
    for (name, licence) in tree("normal,build") {
        assert!(fits(&licence, &LICENCES), "{name}: {licence}");
    }
    // What only tests are linked with may ask for its own source besides.
    let of_tests = [&LICENCES[..], &["MPL-2.0"]].concat();
    for (name, licence) in tree("normal,build,dev") {
        assert!(fits(&licence, &of_tests), "{name}: {licence}");
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn each_file_of_the_library_names_its_licence() {
    let is_code = |path: &PathBuf| {
        let kind = path.extension().and_then(OsStr::to_str);
        matches!(kind, Some("rs" | "S" | "h" | "hpp" | "ld"))
    };
    let folders = ["arch", "include", "linker", "src"].map(|folder| root().join(folder));
    let code: Vec<_> = folders.iter().flat_map(|folder| files(folder)).filter(is_code).collect();
    assert!(code.len() > 200, "{} files", code.len());
    for path in code {
        let text = fs::read_to_string(&path).expect("text");
        let first = text.lines().next().unwrap_or_default();
        assert!(first.contains("SPDX-License-Identifier: MIT OR Apache-2.0"), "{}", path.display());
    }
}
