//! `--compare BEFORE`: what a change has made slower. Two builds take turns, and the ratio of
//! their times in each round counts, because the speed of a processor changes from second to
//! second. The first build runs twice in each round: how much it differs from itself is the noise.

use super::builds::{Build, CASES};
use super::counts;

/// Rounds where nothing says.
pub(crate) const ROUNDS: usize = 31;

/// The median of some ratios, and the bounds within which that of all such ratios is in 95 of 100
/// cases, whatever their distribution.
#[derive(Clone, Copy)]
struct Interval {
    low: f64,
    median: f64,
    high: f64,
}

impl Interval {
    fn of(mut ratios: Vec<f64>) -> Self {
        ratios.sort_by(f64::total_cmp);
        let last = ratios.len() - 1;
        let outside = rank(ratios.len());
        Self { low: ratios[outside], median: ratios[last / 2], high: ratios[last - outside] }
    }
}

/// How many of `n` values, at most, lie beyond each bound: the number of values that are below the
/// true median is that of heads in `n` throws of a coin.
fn rank(n: usize) -> usize {
    let n = i32::try_from(n).expect("some rounds");
    let (mut chance, mut sum) = (0.5_f64.powi(n), 0.0);
    for heads in 0..n {
        sum += chance;
        if sum > 0.025 {
            return usize::try_from(heads - 1).unwrap_or(0);
        }
        chance *= f64::from(n - heads) / f64::from(heads + 1);
    }
    0
}

/// What the ratios of the change say, beside those of a build to itself.
fn verdict(change: Interval, noise: Interval) -> &'static str {
    if change.low > noise.high.max(1.0) {
        "slower"
    } else if change.high < noise.low.min(1.0) {
        "faster"
    } else {
        ""
    }
}

/// Compares, and prints a table. True if nothing is slower, or takes more instructions.
pub(crate) fn compare(what: &str, rounds: usize) -> Result<bool, String> {
    eprintln!("figures: building {what}, and the working tree");
    let (before, after) = (Build::before(what)?, Build::own()?);
    let mut times: Vec<[Vec<f64>; 3]> = CASES.iter().map(|_| Default::default()).collect();
    for round in 0..rounds {
        eprint!("\rfigures: round {} of {rounds}", round + 1);
        for (case, times) in CASES.iter().zip(&mut times) {
            // Each of the three is first, second and last equally often.
            for turn in 0..3 {
                let which = (round + turn) % 3;
                let build = if which == 2 { &after } else { &before };
                times[which].extend(build.time(case.name));
            }
        }
    }
    eprintln!();
    println!(
        "{:<28} {:>10} {:>10}  change, and its 95 % interval; noise",
        "", "before ns", "after ns"
    );
    let mut fine = true;
    for (case, [first, second, after]) in CASES.iter().zip(times) {
        if [&first, &second, &after].iter().any(|times| times.len() != rounds) {
            println!("{:<28} not in both builds", case.name);
            continue;
        }
        let ratios = |of: &[f64]| of.iter().zip(&first).map(|(of, first)| of / first).collect();
        let (change, noise) = (Interval::of(ratios(&after)), Interval::of(ratios(&second)));
        let percent = |ratio: f64| 100.0 * (ratio - 1.0);
        let verdict = verdict(change, noise);
        fine &= verdict != "slower";
        let (was, is) = (Interval::of(first).median, Interval::of(after).median);
        println!(
            "{:<28} {was:>10.2} {is:>10.2}  {:>+6.1} % ({:+.1} to {:+.1}); {:+.1} to {:+.1}  {verdict}",
            case.name,
            percent(change.median),
            percent(change.low),
            percent(change.high),
            percent(noise.low),
            percent(noise.high),
        );
    }
    Ok(counts::compare(&before, &after) && fine)
}
