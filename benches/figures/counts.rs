//! Instructions and system calls of a callback, which valgrind counts exactly. They are kept in
//! `instructions.txt`, so that CI sees a path that has grown.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::builds::{Build, CASES, Case, Counts, PLAIN, THREADS, said};
use crate::arch;

/// What one repetition of a row takes.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Count {
    instructions: f64,
    calls: f64,
}

/// Repetitions that are compared with twice as many.
const FEW: u32 = 1000;
/// The same of threads, and of what takes some microseconds.
const FEW_THREADS: u32 = 200;

/// What valgrind has counted in a run: all instructions, and the system calls of the first thread
/// or of the others.
fn run(build: &Build, options: &[&str], case: &str, n: u32, of_others: bool) -> Option<[f64; 2]> {
    let options = [&["--trace-syscalls=yes"], options].concat();
    let said = build.under_valgrind(&options, case, n)?;
    let collected = said.lines().find(|line| line.contains("Collected :"))?;
    let instructions = collected.split_whitespace().last()?.parse().ok()?;
    // "SYSCALL[process,thread](number) ...", and what a call answers in the same line.
    let threads = said
        .split("SYSCALL[")
        .skip(1)
        .filter_map(|call| call.split_once(']')?.0.split_once(',')?.1.trim().parse::<u32>().ok());
    #[allow(clippy::cast_precision_loss)] // some thousands
    let calls = threads.filter(|thread| (*thread != 1) == of_others).count() as f64;
    Some([instructions, calls])
}

/// Those of one more repetition.
fn one_more(
    build: &Build,
    options: &[&str],
    case: &str,
    n: u32,
    of_others: bool,
) -> Option<[f64; 2]> {
    let count = |n| run(build, options, case, n, of_others);
    let (once, twice) = (count(n)?, count(2 * n)?);
    Some([0, 1].map(|at: usize| (twice[at] - once[at]) / f64::from(n)))
}

impl Count {
    /// Counts a row. `None` without valgrind, or if the build does not know the row.
    fn of(build: &Build, case: &Case) -> Option<Self> {
        // Waiting for a thread takes more or fewer instructions, by chance: only those of needm in
        // the thread are counted.
        let inside = ["--toggle-collect=calls_back", "--toggle-collect=needm::thread::on_exit*"];
        let (one, none) = match case.counts {
            Counts::None => return None,
            Counts::OfThreads => {
                let one = one_more(build, &inside, case.name, FEW_THREADS, true)?;
                let [_, calls] = one_more(build, &[], THREADS, FEW_THREADS, true)?;
                (one, [0.0, calls])
            }
            Counts::OfAssembly | Counts::OfRust => (
                one_more(build, &[], case.name, FEW, false)?,
                one_more(build, &[], PLAIN, FEW, false)?,
            ),
        };
        Some(Self { instructions: one[0] - none[0], calls: one[1] - none[1] })
    }

    /// Whether it is more than before. What is rare beside the repetitions, as a record's first
    /// use, may fall in either run.
    fn exceeds(self, before: Self) -> bool {
        self.instructions > before.instructions + 0.5 || self.calls > before.calls + 0.01
    }
}

fn counted() -> impl Iterator<Item = &'static Case> {
    CASES.iter().filter(|case| case.counts != Counts::None)
}

/// Prints what differs between two builds. True if nothing has grown.
pub(crate) fn compare(before: &Build, after: &Build) -> bool {
    println!("\n{:<28} {:>20} {:>20}", "counts by valgrind", "before", "after");
    let mut fine = true;
    for case in counted() {
        let (Some(was), Some(is)) = (Count::of(before, case), Count::of(after, case)) else {
            println!("{:<28} not counted", case.name);
            continue;
        };
        let verdict = match (is.exceeds(was), was.exceeds(is)) {
            (false, false) => continue,
            (true, _) => "grew",
            (false, true) => "shrank",
        };
        fine &= verdict != "grew";
        let of = |count: Count| format!("{:.1}, {:.2} calls", count.instructions, count.calls);
        println!("{:<28} {:>20} {:>20}  {verdict}", case.name, of(was), of(is));
    }
    fine
}

/// The file for this architecture.
fn file() -> PathBuf {
    let name = format!("compare/instructions-{}.txt", arch::own().name);
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The compiler that the counts of Rust depend on.
fn compiler() -> String {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    said(&rustc, &["--version"]).unwrap_or_else(|_| "an unknown compiler".into())
}

/// A row of the file.
fn parse(line: &str) -> Option<(&str, Count)> {
    let mut words = line.split_whitespace();
    let name = words.next()?;
    let instructions = words.next()?.parse().ok()?;
    let calls = words.next()?.parse().ok()?;
    Some((name, Count { instructions, calls }))
}

/// `--instructions`: counts, and compares with the file; with `write`, writes the file. True if
/// nothing has grown.
pub(crate) fn check(write: bool) -> Result<bool, String> {
    let own = Build::own()?;
    if said("valgrind", &["--version"]).is_err() {
        println!("instructions: skipped: there is no valgrind");
        return Ok(true);
    }
    let compiler = compiler();
    let mut text = format!(
        "# cargo bench -p needm-benches -- --instructions write\n# by {compiler}\n# row, instructions, system calls\n"
    );
    let kept = std::fs::read_to_string(file()).unwrap_or_default();
    let same = kept.lines().any(|line| line == format!("# by {compiler}"));
    let mut fine = true;
    for case in counted() {
        let Some(is) = Count::of(&own, case) else {
            return Err(format!("{}: not counted", case.name));
        };
        let (instructions, calls) = (is.instructions.round(), is.calls);
        writeln!(text, "{:<28} {instructions:>6} {calls:>5.2}", case.name).expect("text");
        let before = kept.lines().filter_map(parse).find(|(name, _)| *name == case.name);
        // The file has whole numbers, which those of assembly are.
        let rounded = if case.counts == Counts::OfAssembly { 0.0 } else { 0.5 };
        let most = |was: Count| Count { instructions: was.instructions + rounded, ..was };
        let verdict = match before {
            _ if write => "",
            None => "not in the file",
            Some((_, was)) if !is.exceeds(most(was)) => match was.exceeds(most(is)) {
                true => "shrank: write the file",
                false => "",
            },
            Some(_) if !same && case.counts != Counts::OfAssembly => "more, by another compiler",
            Some(_) => "grew",
        };
        fine &= verdict != "grew" && verdict != "not in the file";
        let was = before.map_or(String::new(), |(_, was)| {
            format!("(was {}, {:.2})", was.instructions, was.calls)
        });
        println!("{:<28} {instructions:>6} {calls:>5.2} {was:<18} {verdict}", case.name);
    }
    if write {
        std::fs::write(file(), text).map_err(|error| error.to_string())?;
    }
    Ok(fine)
}
