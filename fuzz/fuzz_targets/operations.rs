//! The fuzz target. Without cargo-fuzz it is a program that replays inputs:
//! `operations [--wrong RULE] [--aloud] FILE|FOLDER...`
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    use needm_fuzz::{Case, Run, run};
    if let Err(error) = run(&Case::read(bytes), Run::default()) {
        eprintln!("{error}");
        std::process::abort();
    }
});

#[cfg(not(fuzzing))]
mod replay;

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    replay::main()
}
