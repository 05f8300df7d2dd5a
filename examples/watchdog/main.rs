//! A watchdog: callbacks get a number of milliseconds, and are interrupted when they are over.
//!
//! `cargo run --release --example watchdog [MILLISECONDS]`. The page of the guide
//! (`src/guide/watchdog.md`) says what may be interrupted, and when it ends.

use needm::{CallbackError, Config, Context, Error, M};
use std::hint::black_box;
use std::ptr;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The callback that is under way, and when its time is over.
#[derive(Default)]
struct Watched {
    running: Option<(M, Instant)>,
    closing: bool,
}

static WATCHED: Mutex<Watched> = Mutex::new(Watched { running: None, closing: false });

fn with_watched<R>(work: impl FnOnce(&mut Watched) -> R) -> R {
    work(&mut WATCHED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Interrupts callbacks whose time is over, until it is told to close.
fn watch() {
    while !with_watched(|watched| {
        if let Some((m, _)) = watched.running.filter(|(_, until)| Instant::now() >= *until) {
            // The callback cannot end while this holds the lock, so it is the one that is
            // interrupted.
            // SAFETY: from when it has said that it is under way, `limited` runs nothing on its
            // stack but the work, whose caller promises that it may be ended anywhere.
            let asked = unsafe { needm::interrupt(&m, ptr::null_mut()) };
            assert_eq!(asked, Ok(()));
            watched.running = None; // once
        }
        watched.closing
    }) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs `work` as a callback for at most `limit`.
///
/// # Safety
/// `work` may be ended at each of its instructions: it allocates nothing, takes no lock, and holds
/// nothing that has a destructor.
unsafe fn limited(limit: Duration, work: fn() -> u64) -> Result<u64, CallbackError> {
    // No interrupt ends a deferred function, nor a ccall: they may take the lock.
    let over = |_: &needm::Deferred| with_watched(|watched| watched.running = None);
    let callback = |cx: &Context| -> Result<u64, Error> {
        let m = cx.m().ok_or(Error::Invalid)?;
        cx.ccall(|| {
            with_watched(|watched| watched.running = Some((m, Instant::now() + limit)));
        })?;
        Ok(work())
    };
    // SAFETY: the frames above `work` hold nothing that has a destructor, and change nothing.
    unsafe {
        needm::callback_catching_faults(|cx| {
            cx.defer(&over)?;
            callback(cx)
        })
    }?
    .map_err(CallbackError::Refused)
}

fn quick() -> u64 {
    black_box(6) * 7
}

fn endless() -> u64 {
    let mut count = 0_u64;
    loop {
        count = black_box(count.wrapping_add(1));
    }
}

/// Runs each kind of work; what came of it.
fn run(limit: Duration) -> Result<Vec<String>, Error> {
    needm::start(Config::default())?;
    let watchdog = thread::spawn(watch);
    let run = |name: &str, work: fn() -> u64| {
        // SAFETY: each only counts.
        match unsafe { limited(limit, work) } {
            Ok(result) => format!("{name}: {result}"),
            Err(CallbackError::Interrupted(_)) => format!("{name}: took too long"),
            Err(error) => format!("{name}: {error}"),
        }
    };
    let lines = vec![run("quick", quick), run("endless", endless), run("quick", quick)];
    with_watched(|watched| watched.closing = true);
    watchdog.join().expect("the watchdog closes");
    needm::stop()?;
    Ok(lines)
}

fn main() -> Result<(), Error> {
    let asked = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let lines = run(Duration::from_millis(asked.unwrap_or(50)))?;
    for line in lines {
        println!("{line}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_callback_that_takes_too_long_is_ended_and_no_other() {
        let lines = super::run(std::time::Duration::from_millis(200)).expect("needm starts");
        assert_eq!(lines, ["quick: 42", "endless: took too long", "quick: 42"]);
    }
}
