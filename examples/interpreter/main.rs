//! A small language with a garbage collector, whose functions C calls on threads of its own.
//!
//! `cargo run --release --example interpreter [FILE]` runs a program of the
//! language, or `program.lisp` of this folder. It prints what the program prints, and then
//! what the collector did.
//!
//! # Safety
//! `heap.rs`, `barrier.rs` and `eval.rs` say what they rely on.

mod barrier;
mod eval;
mod heap;
mod read;

use std::process::ExitCode;

use barrier::Barrier;
use eval::Run;
use heap::{Counts, ROOTS, Value};
use needm::Config;

/// Runs a program; what the collector did. At the end nothing is left.
fn run(text: &str) -> Result<Counts, String> {
    let config = Config { stack_size: 1024 * 1024, ..Config::default() };
    needm::start_with(config, Barrier::prepare()).map_err(|error| error.to_string())?;
    let ran = needm::callback(|cx| {
        eval::prepare()?;
        let (run, mut reader) = (Run::new(cx), read::Reader(text));
        // Expressions too are pairs, kept by being on the stack.
        while let Some(expression) = reader.next()? {
            run.eval(expression, Value::NIL)?;
        }
        Ok::<_, String>(())
    });
    let ran = ran.unwrap_or_else(|error| Err(error.to_string()));
    // No callback, no roots: all is garbage.
    for root in &ROOTS {
        Value::NIL.store(root);
    }
    heap::collect(false);
    let counts = heap::counts();
    needm::stop().map_err(|error| error.to_string())?;
    ran.map(|()| counts)
}

fn main() -> ExitCode {
    let own = include_str!("program.lisp").to_owned();
    let text = std::env::args().nth(1).map_or(Ok(own), std::fs::read_to_string);
    match text.map_err(|error| error.to_string()).and_then(|text| run(&text)) {
        Ok(Counts { made, freed, collections, full, faults }) => {
            eprintln!("{made} pairs made, {freed} freed in {collections} collections");
            eprintln!("{full} of these looked at all pairs; {faults} faults of the write barrier");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("interpreter: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_calls_functions_of_a_language_while_their_garbage_is_collected() {
        let emulated = std::env::var_os("NEEDM_RUNNER").is_some();
        let calls = if emulated { "20" } else { "500" };
        let text = include_str!("program.lisp").replace("500", calls);
        // The program compares its answers, and raises an error if one is wrong.
        let counts = run(&text).expect("the program runs to its end");
        assert!(counts.collections > if emulated { 1 } else { 20 }, "{counts:?}");
        assert!(counts.full < counts.collections, "{counts:?}");
        assert!(counts.faults > if emulated { 100 } else { 10_000 }, "{counts:?}");
        assert_eq!(counts.made, counts.freed);
    }
}
