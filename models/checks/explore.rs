//! Explores executions, each exploration in a process of its own: a fork of the test's.
//!
//! needm is process-wide, and a failure inside a function that must not unwind ends the
//! process. The fork has the addresses of its parent; so words that one exploration finds to be
//! shared ([`words`]) are known to the next by their addresses.

use crate::sync::words::{self, Key};
use core::cell::RefCell;
use core::fmt::Write as _;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::boxed::Box;
use std::string::String;
use std::sync::Once;
use std::vec::Vec;

/// Bytes of a message.
const MESSAGE: usize = 4096;
/// Words that one exploration may find.
const KEYS: usize = 4096;

/// What a fork tells its parent; both have it mapped.
struct Report {
    executions: AtomicU32,
    message: [u8; MESSAGE],
    written: AtomicUsize,
    keys: [Option<Key>; KEYS],
    found: AtomicUsize,
}

/// How a fork ends.
const HELD: i32 = 0;
const FAILED: i32 = 3;
const AGAIN: i32 = 4;

/// Executions that are explored after one that has found a shared word, to find others.
const MORE: u32 = 500;

/// Executions of an exploration, at most: so that it ends within a minute. What comes after them
/// is not explored.
const MOST: usize = 140_000;

/// Where the panic hook of a fork writes to.
static REPORT: AtomicUsize = AtomicUsize::new(0);

fn map_report() -> *mut Report {
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, at an address of the system's choice.
    let report =
        unsafe { libc::mmap(core::ptr::null_mut(), size_of::<Report>(), access, kind, -1, 0) };
    assert!(report != libc::MAP_FAILED, "no memory for a report");
    report.cast()
}

std::thread_local! {
    /// Words that this test's explorations have found to be shared: the next one begins with
    /// them, so that it is seldom begun again.
    static KNOWN: RefCell<Vec<Key>> = const { RefCell::new(Vec::new()) };
}

/// Makes a panic in a fork end the fork. Set before the first fork: another thread that panics meanwhile has
/// the hook locked, and in a fork it would stay locked.
fn set_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if REPORT.load(SeqCst) == 0 {
                return before(panic);
            }
            let mut message = String::new();
            let _ = write!(message, "{panic}");
            end(Some(&message));
        }));
    });
}

/// Explores `model` with so many preemptions at most. Fails as it does.
pub(crate) fn explore(preemptions: usize, model: impl Fn() + Send + Sync + Clone + 'static) {
    set_hook();
    let mut known = KNOWN.take();
    loop {
        let report = map_report();
        // SAFETY: the fork runs nothing but the exploration, which uses no lock that another
        // thread of this process may hold now but the allocator's, which the C library frees.
        let fork = unsafe { libc::fork() };
        assert!(fork >= 0, "no process for an exploration");
        if fork == 0 {
            run(preemptions, model, &known, report);
        }
        let mut status = 0;
        // SAFETY: zeros are valid for it.
        let mut used: libc::rusage = unsafe { core::mem::zeroed() };
        // SAFETY: the fork is this thread's to wait for.
        while unsafe { libc::wait4(fork, &raw mut status, 0, &raw mut used) } != fork {}
        // SAFETY: zeros at first, and the fork has ended.
        let told = unsafe { &*report };
        let message = &told.message[..told.written.load(SeqCst)];
        let message = String::from_utf8_lossy(message).into_owned();
        let executions = told.executions.load(SeqCst);
        let found = told.found.load(SeqCst);
        known.extend(told.keys[..found].iter().flatten());
        // SAFETY: nothing refers to it any more.
        unsafe { libc::munmap(report.cast(), size_of::<Report>()) };
        if std::env::var_os("NEEDM_MODELS_VERBOSE").is_some() {
            std::eprintln!(
                "{executions} executions{} in {} s, {found} new words, status {status:#x}: {message}",
                if executions as usize >= MOST { ", and no more" } else { "" },
                used.ru_utime.tv_sec + used.ru_stime.tv_sec
            );
        }
        match (libc::WIFEXITED(status), libc::WEXITSTATUS(status)) {
            (true, HELD) => return KNOWN.set(known),
            (true, AGAIN) => assert!(found != 0, "an exploration begins again for nothing"),
            (true, FAILED) => panic!("execution {executions}: {message}"),
            _ => panic!("execution {executions} ends the process ({status:#x}): {message}"),
        }
    }
}

/// In the fork: explores, and exits.
fn run(
    preemptions: usize,
    model: impl Fn() + Send + Sync + 'static,
    known: &[Key],
    report: *mut Report,
) -> ! {
    REPORT.store(report.expose_provenance(), SeqCst);
    words::known(known);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 50_000;
    builder.max_permutations = Some(MOST);
    let since = AtomicU32::new(0);
    builder.check(move || {
        let report = core::ptr::with_exposed_provenance::<Report>(REPORT.load(SeqCst));
        // SAFETY: it is mapped until this process ends.
        unsafe { (*report).executions.fetch_add(1, SeqCst) };
        let late = !words::discovered().is_empty() && since.fetch_add(1, SeqCst) > MORE;
        if late {
            end(None);
        }
        words::fresh();
        model();
    });
    end(None)
}

/// Ends the fork. What it has found only counts if it has found no new shared word.
fn end(failure: Option<&str>) -> ! {
    let report = core::ptr::with_exposed_provenance_mut::<Report>(REPORT.load(SeqCst));
    // SAFETY: only this process writes there, on the one thread that it has, and the parent
    // waits for its end.
    let report = unsafe { &mut *report };
    let text = failure.unwrap_or_default().as_bytes();
    let len = text.len().min(MESSAGE);
    report.message[..len].copy_from_slice(&text[..len]);
    report.written.store(len, SeqCst);
    let found = words::discovered();
    for (place, key) in report.keys.iter_mut().zip(&found) {
        *place = Some(*key);
    }
    report.found.store(found.len().min(KEYS), SeqCst);
    let status = if !found.is_empty() {
        AGAIN
    } else if failure.is_some() {
        FAILED
    } else {
        HELD
    };
    // SAFETY: nothing is left to be done at the end of this process.
    unsafe { libc::_exit(status) }
}
