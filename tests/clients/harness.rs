//! The table of clients, and what runs it. It is no harness of Rust's, because that cannot count a
//! test as skipped once it has begun; it prints the same lines, which `qemu/test` counts.

use std::os::unix::process::ExitStatusExt;
use std::panic::catch_unwind;
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Instant;
use std::{env, process};

use crate::common::{SUCCESS, is_emulated, run, scratch};
use crate::make::{self, Runtime, Words};

/// A runtime with a program for it.
struct Client {
    name: &'static str,
    /// Where it is on this machine, and what to say if it is not.
    find: (fn() -> Vec<Runtime>, &'static str),
    make: fn(&Runtime) -> Words,
    /// What each thread does, so many times.
    rounds: u32,
    /// Endings of callbacks that do not work if the runtime starts after needm, and needm is not
    /// started once more: the guide's page `runtimes` says why.
    not_after: &'static str,
    /// How the process ends by a fault outside callbacks, and what it says: if the runtime starts
    /// before needm, and if it finds needm's handler. Then it may leave the fault to that.
    crash: [(Ends, &'static str); 2],
}

/// The number of the signal that kills a process, or its exit status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ends {
    Signal(i32),
    Code(i32),
}

use Ends::{Code, Signal};

/// What to say of a runtime that a package brings.
macro_rules! packaged {
    ($name:literal) => {
        concat!($name, " (qemu/setup --clients installs it)")
    };
}

const PYTHON: (fn() -> Vec<Runtime>, &str) = (make::pythons, packaged!("python3"));
const NODE: (fn() -> Vec<Runtime>, &str) = (make::nodes, packaged!("node"));
const SBCL: (fn() -> Vec<Runtime>, &str) = (make::sbcls, packaged!("sbcl"));
const OCAML: (fn() -> Vec<Runtime>, &str) = (make::ocamls, packaged!("ocamlopt"));
const WASMTIME: (fn() -> Vec<Runtime>, &str) = (make::wasmtimes, packaged!("wasmtime of PyPI"));
const GO: (fn() -> Vec<Runtime>, &str) = (make::gos, packaged!("go"));
const JVM: (fn() -> Vec<Runtime>, &str) = (make::jvms, packaged!("JDK in /usr/lib/jvm"));
const CUDA: (fn() -> Vec<Runtime>, &str) = (make::cudas, "GPU of NVIDIA's with its driver");

/// How a process ends that does nothing about faults.
const KILLED: (Ends, &str) = (Signal(11), "");
const PYTHON_SAYS: (Ends, &str) = (Signal(11), "Fatal Python error: Segmentation fault");
const SBCL_SAYS: (Ends, &str) = (Code(1), "Unhandled memory fault");
const GO_SAYS: (Ends, &str) = (Code(2), "SIGSEGV: segmentation violation");
const JVM_SAYS: (Ends, &str) = (Code(1), "A fatal error has been detected by the Java Runtime");

#[rustfmt::skip] // a table
const CLIENTS: [Client; 13] = [
    Client { name: "python", find: PYTHON, make: make::python, rounds: 50_000, not_after: "", crash: [KILLED, KILLED] },
    Client { name: "faulthandler", find: PYTHON, make: make::faulthandler, rounds: 50_000, not_after: "fault overflow", crash: [PYTHON_SAYS, PYTHON_SAYS] },
    Client { name: "node", find: NODE, make: make::node, rounds: 50_000, not_after: "fault overflow", crash: [KILLED, KILLED] },
    Client { name: "wasmtime", find: WASMTIME, make: make::wasmtime, rounds: 5_000, not_after: "", crash: [KILLED, KILLED] },
    Client { name: "sbcl", find: SBCL, make: make::sbcl, rounds: 20_000, not_after: "fault overflow interrupt", crash: [SBCL_SAYS, SBCL_SAYS] },
    Client { name: "ocaml", find: OCAML, make: make::ocaml, rounds: 20_000, not_after: "fault overflow", crash: [KILLED, KILLED] },
    Client { name: "go", find: GO, make: make::go, rounds: 50_000, not_after: "", crash: [GO_SAYS, KILLED] },
    Client { name: "go_library", find: GO, make: make::go_library, rounds: 50_000, not_after: "", crash: [KILLED, KILLED] },
    Client { name: "jvm", find: JVM, make: make::jvm, rounds: 50_000, not_after: "overflow", crash: [JVM_SAYS, KILLED] },
    Client { name: "interpreting_jvm", find: JVM, make: make::interpreting_jvm, rounds: 10_000, not_after: "overflow", crash: [JVM_SAYS, KILLED] },
    Client { name: "embedded_jvm", find: JVM, make: make::embedded_jvm, rounds: 10_000, not_after: "overflow", crash: [JVM_SAYS, KILLED] },
    Client { name: "jvm_called_out", find: JVM, make: make::jvm_called_out, rounds: 200, not_after: "overflow", crash: [JVM_SAYS, KILLED] },
    Client { name: "cuda", find: CUDA, make: make::cuda, rounds: 20_000, not_after: "", crash: [KILLED, KILLED] },
];

/// What comes first to its handlers: `GUEST_ORDER`, and the end of the test's name.
const ORDERS: [(&str, &str); 3] = [
    ("runtime-first", "before_needm"),
    ("needm-first", "after_needm"),
    ("restarted", "before_a_restart"),
];

/// What to run: the arguments that are no options, as those of Rust's harness.
struct Wanted {
    lists: bool,
    parts: Vec<String>,
}

impl Wanted {
    fn from_arguments() -> Self {
        let mut arguments = env::args().skip(1);
        let mut wanted = Self { lists: false, parts: Vec::new() };
        while let Some(argument) = arguments.next() {
            match &*argument {
                "--list" => wanted.lists = true,
                "--test-threads" | "--skip" | "--format" | "--color" => drop(arguments.next()),
                option if option.starts_with("--") => {}
                _ => wanted.parts.push(argument),
            }
        }
        wanted
    }

    /// Whether a test of this name is to run.
    fn has(&self, name: &str) -> bool {
        let chosen = self.parts.is_empty() || self.parts.iter().any(|part| name.contains(part));
        if chosen && self.lists {
            println!("{name}: test");
        }
        chosen && !self.lists
    }
}

/// How many tests have passed, failed, and were skipped.
#[derive(Default)]
struct Counts {
    passed: u32,
    failed: u32,
    skipped: u32,
}

pub(crate) fn main() {
    if is_emulated() {
        println!("skipped: clients run natively");
        return;
    }
    let wanted = Wanted::from_arguments();
    let mut counts = Counts::default();
    let start = Instant::now();
    for client in &CLIENTS {
        let (find, lacking) = client.find;
        let found = find();
        for (_, end) in ORDERS.iter().filter(|_| found.is_empty()) {
            if wanted.has(&format!("{}_{end}", client.name)) {
                counts.skipped += 1;
                println!("skipped: no {lacking}");
            }
        }
        for runtime in &found {
            client.run_in_all_orders(runtime, &wanted, &mut counts);
        }
    }
    if wanted.lists {
        return;
    }
    let Counts { passed, failed, skipped } = counts;
    println!(
        "\ntest result: {}. {passed} passed; {failed} failed; {skipped} ignored; finished in {:.2?}",
        if failed == 0 { "ok" } else { "FAILED" },
        start.elapsed()
    );
    if failed != 0 {
        process::exit(101);
    }
}

impl Client {
    fn run_in_all_orders(&self, runtime: &Runtime, wanted: &Wanted, counts: &mut Counts) {
        let words = OnceLock::new();
        let name = [self.name, &*runtime.version].join(" ").trim().replace([' ', '.'], "_");
        for (order, end) in ORDERS {
            let name = format!("{name}_{end}");
            if !wanted.has(&name) {
                continue;
            }
            let start = Instant::now();
            let test = || self.run(words.get_or_init(|| (self.make)(runtime)), order, &name);
            if catch_unwind(test).is_ok() {
                counts.passed += 1;
                println!("test {name} ... ok ({:.1?})", start.elapsed());
            } else {
                counts.failed += 1;
                println!("test {name} ... FAILED");
            }
        }
    }

    /// Runs it to its end, and then to a crash.
    fn run(&self, words: &Words, order: &str, name: &str) {
        let times = env::var("NEEDM_CLIENTS_TIMES");
        let times = times.map_or(1, |times| times.parse().expect("a number"));
        let command = |rounds: u32| {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).current_dir(scratch(""));
            command.env("GUEST", make::guest()).env("GUEST_ORDER", order);
            command.env("ROUNDS", rounds.to_string()).env_remove("GUEST_SPARES");
            if order != "runtime-first" {
                command.env("LD_PRELOAD", make::guest());
            }
            if order == "needm-first" {
                command.env("GUEST_SPARES", self.not_after);
            }
            command
        };
        let log = scratch(&format!("client-{name}.log"));
        let ends = |command: &mut Command, (expected, says): (Ends, &str)| {
            let (status, text) = run(command, &log);
            assert_eq!(ending(status), expected, "{command:?}:\n{}", tail(&text));
            assert!(text.contains(says), "{command:?} does not say {says:?}:\n{}", tail(&text));
        };
        ends(&mut command(self.rounds * times), (Code(SUCCESS), ""));
        if order == "needm-first" && !self.not_after.is_empty() {
            // If this works one day, the guide's page has to say so.
            let (status, _) = run(command(1001).env_remove("GUEST_SPARES"), &log);
            assert_ne!(ending(status), Code(SUCCESS), "{name}: {} work", self.not_after);
        }
        let crash = self.crash[usize::from(order != "runtime-first")];
        ends(command(1000).env("GUEST_CRASHES", "1"), crash);
    }
}

fn ending(status: ExitStatus) -> Ends {
    status.signal().map_or_else(|| Code(status.code().expect("one of both")), Signal)
}

/// The last lines: some runtimes report each fault.
fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
