//! `cargo bench -p needm-benches [-- --quick]`: what needm costs, and what it is compared
//! with, in one run. Prints a table at the end, and writes it to `benches/figures.txt` and
//! a plot to `src/guide/figures.svg`. `benches/README.md` says what each row is.

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
    let mut rows = table::Table::new();
    calls::measure(&mut rows, quick);
    threads::measure(&mut rows, quick);
    world::measure(&mut rows, quick);
    children::measure(&mut rows);
    let text = rows.text();
    print!("\n{text}");
    // A quick run is for looking at; the files are of a whole one.
    if !quick {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::write(folder.join("figures.txt"), text).expect("the folder can be written");
        plot::write(&rows, &folder.join("../src/guide/figures.svg"));
    }
}
