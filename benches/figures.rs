//! `cargo bench -p needm-benches [-- --quick]`: measures what needm costs, and what it is
//! compared with, in one run. Says each part and each row on standard error as it is
//! measured, prints a table at the end, and writes that to `benches/figures.txt` and a plot
//! to `src/guide/figures.svg`. `benches/README.md` says what each row is.

#[path = "../tests/arch/table.rs"]
mod arch;

mod figures {
    pub(crate) mod calls;
    pub(crate) mod children;
    pub(crate) mod plot;
    pub(crate) mod table;
    pub(crate) mod threads;
    pub(crate) mod world;
}

use std::env;
use std::path::Path;

use figures::{calls, children, plot, table, threads, world};

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let Some((first, rest)) = args.split_first()
        && first == children::CHILD
    {
        return children::run(rest);
    }
    let quick = args.iter().any(|arg| arg == "--quick");
    if let Some(other) = args.iter().find(|arg| *arg != "--quick") {
        eprintln!("figures: {other}: the only argument is --quick");
        std::process::exit(2);
    }
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
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::write(folder.join("figures.txt"), text).expect("the folder can be written");
        plot::write(&rows, &folder.join("../src/guide/figures.svg"));
    }
}
