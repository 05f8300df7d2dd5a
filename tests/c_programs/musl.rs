//! Programs with musl as their C library, against the same `libneedm.a`: linked against the
//! shared musl, and static.
#![allow(dead_code, unused_imports, unused_macros)] // the tests are only where musl is installed

use std::ffi::OsStr;
use std::fs::create_dir_all;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::common::arch::{self, where_tools_run};
use crate::common::scratch;
use crate::{Link, compile_by, run};

/// What a static program must ask the linker for, because needm's references are weak.
const STATIC: [&str; 5] = [
    "-static",
    "-Wl,-u,pthread_key_create",
    "-Wl,-u,pthread_key_delete",
    "-Wl,-u,pthread_setspecific",
    "-Wl,-u,pthread_atfork",
];

/// The headers of Linux, which musl's compiler does not search.
fn linux_headers() -> PathBuf {
    let folder = scratch("linux-headers");
    create_dir_all(&folder).expect("a folder");
    let system = Path::new("/usr/include");
    let asm = format!("{}/asm", arch::own().headers);
    for (name, at) in [("linux", "linux"), ("asm-generic", "asm-generic"), ("asm", &asm)] {
        // It fails if another test was first.
        let _ = symlink(system.join(at), folder.join(name));
    }
    folder
}

fn runs(test: &str, name: &str, words: &[&str]) {
    let headers = linux_headers();
    let mut all = vec!["-idirafter", headers.to_str().expect("a path")];
    all.extend(words);
    let musl = OsStr::new("musl-gcc");
    run(&compile_by(musl, test, name, Link::Archive, &all, &["-lgcc_eh"]), &[]);
}

macro_rules! programs {
    ($($test:ident = $name:literal $words:expr;)*) => {$(
        #[test]
        fn $test() {
            runs(concat!("musl_", stringify!($test)), $name, $words);
        }
    )*};
}

where_tools_run! {
    programs! {
        many_callbacks = "many_callbacks" &[];
        many_callbacks_of_a_static_program = "many_callbacks" &STATIC;
        many_threads_leave_nothing_behind = "many_threads" &[];
        endings = "endings" &[];
        every_misuse_is_refused = "refusals" &[];
        ms_are_pooled_and_bound = "pool" &[];
        exiting_threads_return_their_ms = "thread_exit" &[];
        exiting_threads_of_a_static_program_return_their_ms = "thread_exit" &STATIC;
        faults_of_every_kind_are_errors = "fault_kinds" &[];
        faults_of_c_are_not_caught = "faults_in_c" &[];
        a_longjmp_past_callbacks_loses_nothing = "longjmp" &[];
        registers_are_preserved = "registers" &[];
        later_callbacks_make_no_system_call = "no_system_calls" &[];
        memory_that_is_refused_is_an_error = "out_of_memory" &[];
        callbacks_before_main_and_at_exit = "process_exit" &[];
        callbacks_of_a_static_program_before_main_and_at_exit = "process_exit" &STATIC;
        children_of_a_static_program_call_back = "fork" &STATIC;
        signals_interrupt_callbacks = "signals_during_callbacks" &[];
        the_world_stops = "world" &[];
        the_world_of_a_static_program_stops = "world" &STATIC;
        spawned_threads_run_as_callbacks = "spawn" &[];
    }
}
