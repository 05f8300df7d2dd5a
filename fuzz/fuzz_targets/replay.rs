//! Replays inputs, and prints how often each operation was run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use needm_fuzz::{Case, Done, KINDS, Run, Wrong, run};

/// The inputs that an argument names: a file, or all files of a folder.
fn inputs(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = path.read_dir().map_err(|error| format!("{}: {error}", path.display()))?;
    let mut all: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    all.sort();
    Ok(all)
}

fn replay(words: impl Iterator<Item = String>) -> Result<(usize, Done), String> {
    let mut how = Run::default();
    let (mut count, mut done) = (0, Done::new());
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--aloud" => how.aloud = true,
            "--wrong" => {
                let name = words.next().unwrap_or_default();
                let found = Wrong::ALL.iter().find(|(known, ..)| *known == name);
                how.wrong = Some(found.ok_or(format!("no rule {name:?} in {:?}", Wrong::ALL))?.1);
            }
            path => {
                for input in inputs(Path::new(path))? {
                    let name = input.display();
                    let bytes =
                        std::fs::read(&input).map_err(|error| format!("{name}: {error}"))?;
                    let case = run(&Case::read(&bytes), how);
                    for (kind, times) in case.map_err(|error| format!("{name}:\n{error}"))? {
                        *done.entry(kind).or_default() += times;
                    }
                    count += 1;
                }
            }
        }
    }
    Ok((count, done))
}

pub(crate) fn main() -> ExitCode {
    match replay(std::env::args().skip(1)) {
        Ok((count, done)) => {
            for kind in KINDS {
                println!("{kind:?} {}", done.get(&kind).unwrap_or(&0));
            }
            println!("{count} inputs agree with the model");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("operations: {error}");
            ExitCode::FAILURE
        }
    }
}
