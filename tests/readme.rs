//! The README's C example is compiled and run as it stands there. (Its Rust example
//! is a documentation test of the crate.)

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn block<'a>(text: &'a str, language: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("\n```{language}\n")).expect("the README has one");
    rest.split_once("\n```").expect("it ends").0
}

#[test]
fn the_c_example_of_the_readme_runs() {
    let Some(folder) = env::var_os("NEEDM_LIB_DIR") else {
        // Without qemu/test nobody says where the libraries are; it does, always.
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("a README");
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme.c");
    fs::write(&source, block(&readme, "c")).expect("a source file");
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
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(said.contains("signal 11 at address 0"), "{said}");
}
