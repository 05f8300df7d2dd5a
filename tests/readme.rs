//! The C programs of the README and the guide are compiled and run as they stand there.
//! (The Rust ones are documentation tests of the crate; the one without a C library is run
//! by `hosts.rs`.)

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn block<'a>(text: &'a str, language: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("\n```{language}\n")).expect("the README has one");
    rest.split_once("\n```").expect("it ends").0
}

/// Compiles the C program of a page and runs it; what it prints.
fn run_page(page: &str, name: &str) -> Option<String> {
    // Without qemu/test nobody says where the libraries are; it does, always.
    let folder = env::var_os("NEEDM_LIB_DIR")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join(page)).expect("a page");
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).with_extension("c");
    fs::write(&source, block(&page, "c")).expect("a source file");
    let program = source.with_extension("out");
    let cc = env::var_os("NEEDM_CC").unwrap_or_else(|| "cc".into());
    let compiled = Command::new(cc)
        .arg("-I")
        .arg(root.join("include"))
        .arg(&source)
        .arg(Path::new(&folder).join("libneedm.a"))
        .args(["-pthread", "-o"])
        .arg(&program)
        .output()
        .expect("the C compiler runs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let runner = env::var("NEEDM_RUNNER").unwrap_or_default();
    let mut words: Vec<_> = runner.split_whitespace().map(Into::into).collect();
    words.push(program.into_os_string());
    let ran = Command::new(&words[0]).args(&words[1..]).output().expect("it starts");
    assert!(ran.status.success(), "{ran:?}");
    Some(String::from_utf8_lossy(&ran.stdout).into_owned())
}

#[test]
fn the_c_example_of_the_readme_runs() {
    if let Some(said) = run_page("README.md", "readme") {
        assert!(said.contains("signal 11 at address 0"), "{said}");
    }
}

#[test]
fn the_c_program_of_the_guide_prints_what_the_guide_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide/c_host.md");
    let page_text = fs::read_to_string(page).expect("a page");
    if let Some(said) = run_page("src/guide/c_host.md", "guide") {
        assert_eq!(said.trim_end(), block(&page_text, "text"));
    }
}
