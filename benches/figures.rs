//! `cargo bench -p needm-benches [-- --quick]`: measures what needm costs, and what it is
//! compared with, in one run. Says each part and each row on standard error as it is
//! measured, prints a table at the end, and writes that to `benches/figures.txt` and a plot
//! to `src/guide/figures.svg`. `benches/README.md` says what each row is.
//!
//! With `--compare BEFORE [--rounds N]` it compares the working tree with a commit, or with a
//! build that `--store FILE` has kept; with `--instructions [write]` it counts instructions; with
//! `--draw` it draws the plot from `benches/figures.txt`.

#[path = "../tests/arch/table.rs"]
mod arch;

mod figures {
    pub(crate) mod builds;
    pub(crate) mod calls;
    pub(crate) mod children;
    pub(crate) mod compare;
    pub(crate) mod counts;
    pub(crate) mod plot;
    pub(crate) mod table;
    pub(crate) mod threads;
    pub(crate) mod world;
}

use std::env;
use std::path::{Path, PathBuf};

use figures::{builds, calls, children, compare, counts, plot, table, threads, world};

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let Some((first, rest)) = args.split_first()
        && first == children::CHILD
    {
        return children::run(rest);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let fine = match args.as_slice() {
        [] => return figures(false),
        ["--quick"] => return figures(true),
        ["--compare", before] => compare::compare(before, compare::ROUNDS),
        ["--compare", before, "--rounds", rounds] => match rounds.parse::<usize>() {
            Ok(rounds) if rounds > 0 => compare::compare(before, rounds),
            _ => Err(format!("{rounds}: not a number of rounds")),
        },
        ["--draw"] => draw(),
        ["--store", file] => builds::Build::own().and_then(|own| own.store(file)).map(|()| true),
        ["--instructions"] => counts::check(false),
        ["--instructions", "write"] => counts::check(true),
        _ => {
            Err("the arguments are --quick, --draw, --compare BEFORE [--rounds N], --store FILE, \
                  or --instructions [write]"
                .into())
        }
    };
    std::process::exit(match fine {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(why) => {
            eprintln!("figures: {why}");
            2
        }
    });
}

/// Measures all rows.
fn figures(quick: bool) {
    let about = if quick { "15 seconds, nothing is written" } else { "1.5 minutes" };
    eprintln!("figures: measuring in 4 parts, about {about}");
    let mut rows = table::Table::new();
    eprintln!("figures: 1 of 4: calls, callbacks and faults on one thread");
    calls::measure(&mut rows, quick);
    eprintln!("figures: 2 of 4: first callbacks on new threads");
    threads::measure(&mut rows, quick);
    eprintln!("figures: 3 of 4: stopping the world");
    world::measure(&mut rows, quick);
    eprintln!("figures: 4 of 4: memory, crowds of threads, instructions, in child processes");
    children::measure(&mut rows);
    let text = rows.text();
    print!("\n{text}");
    // The files hold what a whole run measured, which a quick one is too short for.
    if !quick {
        std::fs::write(file("figures.txt"), &text).expect("the folder can be written");
        plot::write(&text, &file(PLOT));
    }
}

/// The plot, from this package's folder.
const PLOT: &str = "../src/guide/figures.svg";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Draws what was measured last.
fn draw() -> Result<bool, String> {
    let text = std::fs::read_to_string(file("figures.txt")).map_err(|error| error.to_string())?;
    plot::write(&text, &file(PLOT));
    Ok(true)
}
