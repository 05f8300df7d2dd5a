//! Replays the stored corpus with the program `operations`: a process of its own, because a
//! case that fails leaves its threads wherever they are.

use std::path::Path;
use std::process::{Command, Output};

#[path = "../../tests/arch/mod.rs"]
mod arch;

/// Replays the corpus with these words before it.
fn replay(words: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_operations");
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/operations");
    let runner = std::env::var("NEEDM_RUNNER").unwrap_or_default();
    let mut all = runner.split_whitespace().chain([program]);
    let mut command = Command::new(all.next().expect("at least the program"));
    command.args(all).args(words).arg(corpus).output().expect("the program runs")
}

fn emulated() -> bool {
    std::env::var_os("NEEDM_RUNNER").is_some_and(|words| !words.is_empty())
}

#[test]
fn the_corpus_agrees_with_the_model_and_has_every_operation() {
    let output = replay(&[]);
    let (told, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}\n{error}", output.status);
    // README.md says which operations an emulator leaves out.
    let left_out = |name: &str| match name {
        "RawExit" => emulated(),
        "Signal" | "CFault" => emulated() && arch::current().emulator_loses_thread,
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
        if rule == needm_fuzz::Wrong::End && emulated() {
            continue; // an emulator runs no raw exits
        }
        let output = replay(&["--wrong", name]);
        let error = String::from_utf8_lossy(&output.stderr);
        let found = output.status.code() == Some(1) && error.contains("want");
        assert!(found, "{claim}: {:?}\n{error}", output.status);
        println!("{claim}: {}", error.lines().last().unwrap_or_default());
    }
}
