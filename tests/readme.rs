//! The C programs of the README and the guide are compiled and run as they stand there.
//! (The Rust ones are documentation tests of the crate; the one without a C library is run
//! by `hosts.rs`.)

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{c_compiler, command, compile, libraries, root, scratch};

fn block<'a>(text: &'a str, language: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("\n```{language}\n")).expect("the page has one");
    rest.split_once("\n```").expect("it ends").0
}

/// The text of a page, and what its C program prints.
fn run_page(page: &str, name: &str) -> (String, String) {
    let text = fs::read_to_string(root().join(page)).expect("a page");
    let source = scratch(name).with_extension("c");
    fs::write(&source, block(&text, "c")).expect("a source file");
    let program = source.with_extension("out");
    let mut cc = Command::new(c_compiler());
    cc.arg("-I").arg(root().join("include")).arg(&source);
    cc.arg(libraries().join("libneedm.a")).args(["-pthread", "-o"]).arg(&program);
    compile(&mut cc);
    let ran = command(Path::new(&program)).output().expect("it starts");
    assert!(ran.status.success(), "{ran:?}");
    (text, String::from_utf8_lossy(&ran.stdout).into_owned())
}

#[test]
fn the_c_program_of_the_readme_runs() {
    let (_, printed) = run_page("README.md", "readme");
    assert!(printed.contains("signal 11 at address 0"), "{printed}");
}

#[test]
fn the_c_program_of_the_guide_prints_what_the_guide_says() {
    let (text, printed) = run_page("src/guide/c_host.md", "guide");
    assert_eq!(printed.trim_end(), block(&text, "text"));
}
