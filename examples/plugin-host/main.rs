//! A plug-in host in Rust, for the same plug-ins as `host.c`: the threads of a pool call them,
//! each call as one callback, and what a plug-in does wrong ends the call only.
//!
//! `cargo run --release --example plugin-host [PLUGIN.so]...`. Without a name it
//! compiles those in `plugins/` with the C compiler, and runs them all.
//!
//! # Safety
//! A plug-in's function `plugin_run` is what `plugin.h` declares. The frames that a crash skips
//! are the plug-in's, which are C, and those of closures here that hold nothing to be dropped.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{env, fs, iter, thread};

use needm::{CallbackError, Config, Deferred};

const THREADS: usize = 4;

/// Calls of each plug-in, until one fails.
const CALLS: usize = 3;

/// A call that takes longer is ended.
const LIMIT: Duration = Duration::from_secs(2);

/// Return addresses of a backtrace, innermost first.
const FRAMES: usize = 32;
const MOST_FRAMES: c_int = 32;

struct Plugin {
    path: PathBuf,
    run: extern "C" fn(c_int) -> c_int,
    /// Of the first call that failed: the plug-in then gets no further calls, because what it
    /// held is lost, and its data may be damaged.
    failure: Mutex<Option<Failure>>,
}

struct Failure {
    ended: CallbackError,
    place: String,
}

/// A plug-in's function, from its file, which stays loaded.
fn load(path: &Path) -> Result<Plugin, String> {
    let name = CString::new(path.to_string_lossy().as_ref()).map_err(|error| error.to_string())?;
    // SAFETY: the names are C strings. A plug-in's constructors run here; plug-ins are the user's.
    let run = unsafe {
        let library = libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        if library.is_null() { library } else { libc::dlsym(library, c"plugin_run".as_ptr()) }
    };
    if run.is_null() {
        // SAFETY: after a refusal it is a C string, until this thread's next call of the loader.
        let why = unsafe { CStr::from_ptr(libc::dlerror()) };
        return Err(why.to_string_lossy().into_owned());
    }
    // SAFETY: `plugin.h` says that the function of this name has this type.
    let run = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(c_int) -> c_int>(run) };
    Ok(Plugin { path: path.to_owned(), run, failure: Mutex::new(None) })
}

/// One call of a plug-in: its answer, or why there is none and where it was.
fn call(plugin: &Plugin, input: c_int) -> Result<c_int, Failure> {
    let returned = Cell::new(false);
    let frames = [const { Cell::new(std::ptr::null_mut::<c_void>()) }; FRAMES];
    // At the end of the call, however it ends, on the plug-in's stack. After a crash the frames of
    // the plug-in are still there, so the backtrace shows the place. It is a callback of its own,
    // because the unwinder faults, too, where the plug-in has destroyed its frames. Neither
    // allocates nor takes a lock, which the plug-in may have held when it crashed: names are
    // looked up later.
    let note_where = |_: &Deferred| {
        if returned.get() {
            return;
        }
        // SAFETY: it writes no more addresses than there are cells, which hold pointers like those.
        let take = || unsafe { libc::backtrace(frames.as_ptr().cast_mut().cast(), MOST_FRAMES) };
        // SAFETY: the unwinder is C, and no frame here holds anything to be dropped.
        let taken = unsafe { needm::callback_catching_faults(|_| take()) };
        // After an overflow no callback fits on the stack: this function itself runs on a reserve.
        if let Err(CallbackError::Refused(needm::Error::Overflow)) = taken {
            take();
        }
    };
    // SAFETY: the frames of the plug-in are C, and this closure holds nothing to be dropped.
    let answer = unsafe {
        needm::callback_catching_faults(|cx| {
            cx.defer(&note_where)?;
            let answer = (plugin.run)(input);
            returned.set(true);
            Ok::<_, needm::Error>(answer)
        })
    };
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => panic!("no function can be deferred: {error}"),
        Err(ended) => {
            let pc = match &ended {
                CallbackError::Fault(fault) | CallbackError::Overflow(fault) => fault.pc,
                _ => 0,
            };
            Err(Failure { ended, place: names(&plugin.path, &frames, pc) })
        }
    }
}

/// The names of a plug-in's own frames, innermost first. `pc` is the instruction that faulted.
fn names(path: &Path, frames: &[Cell<*mut c_void>], pc: usize) -> String {
    let name_of = |frame: &Cell<*mut c_void>| {
        // SAFETY: all zeros is a value of it.
        let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
        // A frame returns to the instruction after its call, which is another function's if the
        // call never returns. The instruction that faulted is told as it is.
        let at = frame.get().wrapping_byte_sub(usize::from(frame.get().addr() != pc));
        // SAFETY: it takes any address, and writes to `info`.
        let known = unsafe { libc::dladdr(at, &raw mut info) } != 0;
        let text = |name: *const c_char| {
            // SAFETY: where it is not null, a C string of the loader's, which lives as long as the
            // library is loaded.
            let name = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) })?;
            Some(name.to_string_lossy().into_owned())
        };
        let of = text(info.dli_fname).filter(|_| known)?;
        (Path::new(&of) == path).then(|| text(info.dli_sname).unwrap_or_else(|| "?".into()))
    };
    let names: Vec<_> = frames.iter().filter_map(name_of).take(3).collect();
    if names.is_empty() { "-".into() } else { names.join(" < ") }
}

/// A thread of the pool, as the watchdog sees it: its M, and since when it is in a call. The lock
/// is never held inside a callback, where an interrupt could skip its release.
type Worker = Mutex<Option<(needm::M, Instant)>>;

/// Ends calls that take too long, until all work is done.
fn watch(workers: &[Worker], done: &AtomicBool) {
    while !done.load(Relaxed) {
        thread::sleep(Duration::from_millis(20));
        for worker in workers {
            let call = worker.lock().expect("no thread panics with it");
            if let Some((m, since)) = &*call
                && since.elapsed() > LIMIT
            {
                // An error says that the call is just over.
                // SAFETY: while the lock is held, the M's innermost callback is the call of a plug-in,
                // or one that takes a backtrace. Both are C and hold nothing of Rust's; what the
                // plug-in held is lost, as after a crash.
                let _ = unsafe { needm::interrupt(m, std::ptr::null_mut()) };
            }
        }
    }
}

/// Calls each plug-in from the threads of a pool, until its calls are over or one has failed.
fn call_all(plugins: &[Plugin]) {
    let next = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    let workers: [Worker; THREADS] = Default::default();
    let work = |worker: &Worker| {
        needm::attach().expect("there are enough Ms");
        let m = needm::with_m(|m| *m).expect("it is attached, and so keeps this one");
        let in_call = |since| *worker.lock().expect("no thread panics with it") = since;
        let jobs = iter::repeat_with(|| next.fetch_add(1, Relaxed));
        for job in jobs.take_while(|job| *job < plugins.len() * CALLS) {
            let plugin = &plugins[job / CALLS];
            let failed = || plugin.failure.lock().expect("no thread panics with it");
            if failed().is_some() {
                continue;
            }
            in_call(Some((m, Instant::now())));
            let answer = call(plugin, c_int::try_from(job).unwrap_or(0));
            in_call(None);
            if let Err(failure) = answer {
                failed().get_or_insert(failure);
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| watch(&workers, &done));
        let threads: Vec<_> = workers.iter().map(|one| scope.spawn(move || work(one))).collect();
        let joined = threads.into_iter().map(|thread| thread.join().is_ok()).collect::<Vec<_>>();
        done.store(true, Relaxed);
        assert!(joined.into_iter().all(|well| well), "a thread of the pool has panicked");
    });
}

/// A plug-in, what happened, the signal, and where.
type Row = [String; 4];

fn rows(plugins: Vec<Plugin>) -> Vec<Row> {
    let row = |plugin: Plugin| {
        let name = plugin.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let failure = plugin.failure.into_inner().expect("no thread panics with it");
        let Some(Failure { ended, place }) = failure else {
            return [name, "returned".into(), "-".into(), "-".into()];
        };
        let (happened, signal) = match &ended {
            CallbackError::Fault(fault) => ("a fault ended the callback", signal_name(fault.signo)),
            CallbackError::Overflow(fault) => ("the stack ran out", signal_name(fault.signo)),
            CallbackError::Interrupted(_) => ("it took too long", "-".into()),
            other => return [name, other.to_string(), "-".into(), place],
        };
        [name, happened.into(), signal, place]
    };
    plugins.into_iter().map(row).collect()
}

fn signal_name(signal: c_int) -> String {
    match signal {
        libc::SIGSEGV => "SIGSEGV".into(),
        libc::SIGBUS => "SIGBUS".into(),
        libc::SIGFPE => "SIGFPE".into(),
        libc::SIGILL => "SIGILL".into(),
        libc::SIGTRAP => "SIGTRAP".into(),
        libc::SIGABRT => "SIGABRT".into(),
        other => format!("signal {other}"),
    }
}

/// The plug-ins of this folder, compiled.
fn compile(into: &Path) -> Result<Vec<PathBuf>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/plugin-host/plugins");
    let mut sources = HashMap::new();
    for entry in fs::read_dir(folder).map_err(|error| error.to_string())?.flatten() {
        let name = Path::new(&entry.file_name()).with_extension("so");
        sources.insert(into.join(name), entry.path());
    }
    let compiler = env::var_os("NEEDM_CC").unwrap_or_else(|| "cc".into());
    for (library, source) in &sources {
        let mut cc = Command::new(&compiler);
        cc.args(["-O2", "-fPIC", "-shared", "-funwind-tables"]).arg(source).arg("-o").arg(library);
        let status = cc.status().map_err(|error| format!("{}: {error}", compiler.display()))?;
        if !status.success() {
            return Err(format!("{} does not compile", source.display()));
        }
    }
    let mut libraries: Vec<_> = sources.into_keys().collect();
    libraries.sort();
    Ok(libraries)
}

/// What happened to each of these plug-ins.
fn run(libraries: &[PathBuf]) -> Result<Vec<Row>, String> {
    let plugins = libraries.iter().map(|path| load(path)).collect::<Result<Vec<_>, _>>()?;
    // The first backtrace of a process loads the unwinder: not in a plug-in that has crashed.
    let mut frame = std::ptr::null_mut();
    // SAFETY: it writes one address.
    unsafe { libc::backtrace(&raw mut frame, 1) };
    let config = Config { catch_abort: true, ..Config::default() };
    needm::start(config).map_err(|error| error.to_string())?;
    call_all(&plugins);
    needm::stop().map_err(|error| error.to_string())?;
    Ok(rows(plugins))
}

/// Those of the command line, or of this folder.
fn run_all(libraries: &[PathBuf]) -> Result<Vec<Row>, String> {
    if !libraries.is_empty() {
        return run(libraries);
    }
    let folder = env::temp_dir().join(format!("plugin-host-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let rows = compile(&folder).and_then(|libraries| run(&libraries));
    let _ = fs::remove_dir_all(&folder);
    rows
}

fn main() -> ExitCode {
    let libraries: Vec<_> = env::args_os().skip(1).map(PathBuf::from).collect();
    match run_all(&libraries) {
        Ok(rows) => {
            println!("{:<15}{:<36}{:<9}where", "plug-in", "what happened", "signal");
            for [name, happened, signal, place] in rows {
                println!("{name:<15}{happened:<36}{signal:<9}{place}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("plugin-host: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
#[path = "../../tests/arch/table.rs"]
mod arch;

#[cfg(test)]
mod tests {
    use super::arch;

    #[test]
    fn plug_ins_that_fail_end_their_calls_only() {
        let rows = super::run_all(&[]).expect("the plug-ins compile and load");
        let fault = "a fault ended the callback";
        let aborted = |place| if arch::own().aborts_are_unwound { place } else { "-" };
        let want = [
            ("abort", fault, "SIGABRT", aborted("check < plugin_run")),
            ("breakpoint", fault, "SIGTRAP", "debug_me < plugin_run"),
            ("divide", fault, "SIGFPE", "average < plugin_run"),
            ("file", fault, "SIGBUS", "first_byte < plugin_run"),
            ("good", "returned", "-", "-"),
            ("illegal", fault, "SIGILL", "newest_instruction < plugin_run"),
            ("loop", "it took too long", "-", "wait_for < plugin_run"),
            ("null", fault, "SIGSEGV", "save < plugin_run"),
            ("recursion", "the stack ran out", "SIGSEGV", "descend < descend < descend"),
            // Where the address to return to is impossible, the fault is at the return; else it is
            // where the return leads, and no unwinder comes back from there.
            (
                "smash",
                fault,
                "SIGSEGV",
                if arch::own().impossible_returns_fault { "copy_name" } else { "-" },
            ),
            ("smash_checked", fault, "SIGABRT", aborted("copy_name")),
        ];
        assert_eq!(rows.len(), want.len());
        for (row, (name, happened, signal, place)) in rows.iter().zip(want) {
            let mut want = [name, happened, signal, place].map(str::to_owned);
            if name == "divide" && !arch::own().division_faults {
                want = [name, "returned", "-", "-"].map(str::to_owned);
            }
            // How much of its frames such a plug-in leaves differs.
            if name == "smash_checked" && row[3].contains(place) {
                want[3].clone_from(&row[3]);
            }
            assert_eq!(row, &want);
        }
    }
}
