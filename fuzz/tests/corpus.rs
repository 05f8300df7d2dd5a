//! Replays the stored corpus with the program `operations`: a process of its own, because a
//! case that fails leaves its threads wherever they are.

use std::path::Path;
use std::process::Output;

#[path = "../../tests/common/mod.rs"]
mod common;

use common::{arch, command, is_emulated};

/// Replays the corpus with these arguments before it.
fn replay(arguments: &[&str]) -> Output {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/operations");
    let mut command = command(Path::new(env!("CARGO_BIN_EXE_operations")));
    command.args(arguments).arg(corpus).output().expect("the program starts")
}

#[test]
fn the_corpus_agrees_with_the_model_and_has_every_operation() {
    let output = replay(&[]);
    let (told, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}\n{error}", output.status);
    // README.md says which operations an emulator leaves out.
    let left_out = |name: &str| match name {
        "RawExit" => is_emulated(),
        "Signal" | "CFault" => is_emulated() && arch::own().qemu_mixes_up_threads,
        _ => false,
    };
    let missing =
        told.lines().filter_map(|line| line.strip_suffix(" 0")).find(|name| !left_out(name));
    assert_eq!(missing, None, "{told}");
    println!("{told}");
}

#[test]
fn the_corpus_finds_each_rule_that_is_wrong_on_purpose() {
    for (name, rule, claim) in needm_fuzz::Wrong::ALL {
        if rule == needm_fuzz::Wrong::End && is_emulated() {
            continue; // an emulator runs no raw exits
        }
        let output = replay(&["--wrong", name]);
        let error = String::from_utf8_lossy(&output.stderr);
        let found = output.status.code() == Some(1) && error.contains("want");
        assert!(found, "{claim}: {:?}\n{error}", output.status);
        println!("{claim}: {}", error.lines().last().unwrap_or_default());
    }
}
