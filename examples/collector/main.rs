//! A garbage collector on needm: C threads make and drop objects that only the stacks of
//! callbacks refer to, while the world is stopped again and again to find those objects.
//!
//! `cargo run --release --example collector [THREADS] [COLLECTIONS] [SEED]`, 4 and 2000 by
//! default. Every callback checks that none of its objects was freed; at the end all must
//! be. It exits with a failure if anything is wrong, and says each second how far it is.
//!
//! # Safety
//! Pointers to objects come from the heap and are kept on a callback's stack, where every
//! collection finds them, so the objects are not freed while they are used.

mod heap;

use std::ffi::{c_int, c_long};
use std::process::ExitCode;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use heap::{Heap, Object};
use needm::{Config, Context};

unsafe extern "C" {
    /// `examples/cthread/threads.c`.
    fn cthread_run(threads: c_long, calls: c_long, call: extern "C" fn(c_long, c_long)) -> c_int;
}

static HEAP: OnceLock<Heap> = OnceLock::new();
static SEED: AtomicU64 = AtomicU64::new(0);
static OVER: AtomicBool = AtomicBool::new(false);
static CALLBACKS: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);

/// Callbacks of a thread, after which it exits and another one is made.
const CALLS: c_long = 300;

fn heap() -> &'static Heap {
    HEAP.get_or_init(Heap::new)
}

/// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators").
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

/// A new object; collects first if there is no room.
fn allocate(kids: [*mut Object; 2], value: u64) -> *mut Object {
    loop {
        if let Some(object) = heap().allocate(kids, value) {
            return object;
        }
        collect_if_needed();
    }
}

fn collect_if_needed() {
    if heap().is_nearly_full() {
        heap().collect().expect("this thread has not stopped the world");
    }
}

/// Builds a chain of objects with links across, lets the world stop in between, and checks
/// that the chain is as it was built. Only this frame refers to the chain.
fn work(cx: &Context<'_, '_>, random: &mut Random, depth: u32) -> bool {
    let length = 1 + random.below(60);
    let mut chain: *mut Object = ptr::null_mut();
    let mut sum = 0;
    for _ in 0..length {
        let value = random.below(1 << 40);
        // SAFETY: null, or the object that this frame made last: `chain` is on this stack, so
        // collections keep the object, and only this frame writes to it.
        let across = unsafe { chain.as_ref() }.map_or(ptr::null_mut(), |object| object.kids[0]);
        chain = allocate([chain, across], value);
        sum += value;
        match random.below(24) {
            0 => needm::safepoint(),
            1 => collect_if_needed(),
            2 if depth < 3 => {
                // Out to C and in again: a collection must then find this frame, too.
                let seed = random.0 | 1;
                let again = move || {
                    std::thread::yield_now();
                    needm::callback(|cx| work(cx, &mut Random(seed), depth + 1))
                };
                if !matches!(cx.ccall(again), Ok(Ok(true))) {
                    return false;
                }
            }
            _ => {}
        }
    }
    let (mut at, mut seen, mut left) = (chain, 0, sum);
    // SAFETY: null, or an object of the chain: `chain` is on this stack, and a collection keeps
    // what it leads to.
    while let Some(object) = unsafe { at.as_ref() } {
        if !object.is_whole() {
            return false;
        }
        seen += 1;
        left = left.wrapping_sub(object.value);
        at = object.kids[0];
    }
    seen == length && left == 0
}

/// What C calls, on its thread.
extern "C" fn call(thread: c_long, round: c_long) {
    if OVER.load(Relaxed) {
        return;
    }
    let number = CALLBACKS.fetch_add(1, Relaxed);
    #[allow(clippy::cast_sign_loss)] // counts; 32 bits wide on some targets
    let mixed = number ^ (thread as u64) << 32 ^ (round as u64) << 48;
    let mut random = Random(SEED.load(Relaxed).wrapping_add(mixed.wrapping_mul(0x9e37_79b9)) | 1);
    let answer = needm::callback(|cx| work(cx, &mut random, 0));
    if !matches!(answer, Ok(true)) {
        WRONG.fetch_add(1, Relaxed);
    }
}

fn number(argument: Option<String>, default: u64) -> Result<u64, String> {
    let Some(text) = argument else { return Ok(default) };
    text.parse().map_err(|_| format!("not a number: {text}"))
}

/// The pauses of so many collections, while C threads start and exit.
fn collect_under_load(threads: c_long, collections: u64) -> Result<Vec<Duration>, String> {
    let driver = std::thread::spawn(move || {
        while !OVER.load(Relaxed) {
            // SAFETY: `call` takes any two numbers, on any thread, and the threads are joined.
            let refused = unsafe { cthread_run(threads, CALLS, call) };
            if refused != 0 {
                return Err(std::io::Error::from_raw_os_error(refused));
            }
        }
        Ok(())
    });
    let mut pauses = Vec::new();
    let (start, mut said) = (Instant::now(), 0);
    for number in 0..collections {
        if start.elapsed().as_secs() > said {
            said += 1;
            eprintln!("collector: {said} s: {number} of {collections} collections");
        }
        pauses.push(heap().collect().map_err(|error| error.to_string())?);
        std::thread::sleep(Duration::from_micros(200));
    }
    OVER.store(true, Relaxed);
    match driver.join() {
        Ok(Ok(())) => Ok(pauses),
        Ok(Err(error)) => Err(format!("not all threads could be made: {error}")),
        Err(_) => Err("the thread that starts C threads panicked".into()),
    }
}

/// The command line: threads, collections, the seed.
fn asked() -> Result<(c_long, u64, u64), String> {
    let mut arguments = std::env::args().skip(1);
    let threads = number(arguments.next(), 4)?;
    let collections = number(arguments.next(), 2000)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs());
    let seed = number(arguments.next(), now)?;
    match c_long::try_from(threads) {
        Ok(threads @ 1..=1000) if collections > 0 && arguments.next().is_none() => {
            Ok((threads, collections, seed))
        }
        _ => Err("usage: collector [THREADS, 1 to 1000] [COLLECTIONS] [SEED]".into()),
    }
}

/// Whether collections kept all that was in use, and freed the rest.
fn run(threads: c_long, collections: u64, seed: u64) -> Result<bool, String> {
    println!("seed {seed}");
    SEED.store(seed, Relaxed);
    needm::start(Config::default()).map_err(|error| error.to_string())?;
    let start = Instant::now();
    let mut pauses = collect_under_load(threads, collections)?;
    let took = start.elapsed().as_secs_f64();
    heap().collect().map_err(|error| error.to_string())?;
    let counts = heap().counts();
    let left = heap().used();
    needm::stop().map_err(|error| error.to_string())?;

    pauses.sort_unstable();
    let pause = |share: usize| pauses[(pauses.len() - 1) * share / 100].as_secs_f64() * 1e6;
    let (callbacks, wrong) = (CALLBACKS.load(Relaxed), WRONG.load(Relaxed));
    println!("{callbacks} callbacks, {wrong} of them lost an object, in {took:.1} s");
    println!(
        "{} objects made, {} freed in {} collections, {left} left; a collection kept at most {}",
        counts.allocated, counts.freed, counts.collections, counts.most_kept
    );
    println!(
        "pauses in us, to mark and sweep the heap: median {:.0}, 99 % {:.0}, worst {:.0}",
        pause(50),
        pause(99),
        pause(100)
    );
    #[allow(clippy::cast_precision_loss)] // for show
    let rate = |count: u64| count as f64 / took;
    println!("{:.0} callbacks/s, {:.0} objects/s", rate(callbacks), rate(counts.allocated));
    Ok(wrong == 0 && left == 0 && counts.allocated == counts.freed && callbacks > 0)
}

fn main() -> ExitCode {
    match asked().and_then(|(threads, collections, seed)| run(threads, collections, seed)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("collector: objects were lost, or left");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("collector: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_collector_keeps_what_callbacks_refer_to_and_frees_the_rest() {
        let emulated = std::env::var_os("NEEDM_RUNNER").is_some();
        let all_found = super::run(4, if emulated { 100 } else { 2000 }, 20_131_203);
        assert_eq!(all_found, Ok(true));
    }
}
