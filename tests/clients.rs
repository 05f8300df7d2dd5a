//! Processes that have another runtime in them: Go, JVMs, CPython, Node, wasmtime, SBCL, OCaml.
//! Each handles faults of its own beside callbacks that fault, on the same threads; needm is
//! started after it, before it, or before it and once more after it. Every fault goes where it
//! belongs, and signal masks and signal stacks stay as they are. Then a fault that none of them
//! claims ends the process as that runtime has it.
//!
//! A client is a row of [`CLIENTS`], a source file in `clients/`, and a function that builds it in
//! `clients/make.rs`. What its threads do for how long is `ROUNDS` in the environment; by
//! `NEEDM_CLIENTS_TIMES` all of them do that many times as much.
//!
//! A runtime that is missing is skipped with a line: `qemu/setup --clients` installs them all. The
//! order of starts is theirs, not the architecture's: natively on x86_64 only.

mod common;

use common::arch::where_tools_run;

where_tools_run! {
    {
        #[path = "clients/harness.rs"]
        mod harness;
        #[path = "clients/make.rs"]
        mod make;

        fn main() {
            harness::main();
        }
    } else {
        fn main() {}
    }
}
