//! Programs with musl for their C library, against the same `libneedm.a`: linked against
//! the shared one, and static.

use std::fs::create_dir_all;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::{Link, compile_by, run};

/// What a static program has to ask for itself, since the kernel's references are weak.
const STATIC: [&str; 5] = [
    "-static",
    "-Wl,-u,pthread_key_create",
    "-Wl,-u,pthread_key_delete",
    "-Wl,-u,pthread_setspecific",
    "-Wl,-u,pthread_atfork",
];

/// The system's own headers, of which musl's compiler does not know.
fn kernel_headers() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kernel-headers");
    create_dir_all(&folder).expect("a folder");
    let system = PathBuf::from("/usr/include");
    for (name, at) in
        [("linux", "linux"), ("asm-generic", "asm-generic"), ("asm", "x86_64-linux-gnu/asm")]
    {
        // Another test may have been first.
        let _ = symlink(system.join(at), folder.join(name));
    }
    folder
}

fn runs(test: &str, name: &str, words: &[&str]) {
    let headers = kernel_headers();
    let mut all = vec!["-idirafter", headers.to_str().expect("a path")];
    all.extend(words);
    run(&compile_by("musl-gcc", test, name, Link::Archive, &all, &["-lgcc_eh"]), &[]);
}

macro_rules! programs {
    ($($test:ident = $name:literal $words:expr;)*) => {$(
        #[test]
        fn $test() {
            runs(concat!("musl_", stringify!($test)), $name, $words);
        }
    )*};
}

programs! {
    jobs = "jobs" &[];
    jobs_of_a_static_program = "jobs" &STATIC;
    endings = "endings" &[];
    faults_are_errors = "faults" &[];
    faults_storm_on_eight_threads = "storm" &[];
    jumps_out_of_callbacks_lose_nothing = "longjmp" &[];
    ms_are_counted_bound_and_given_back = "ms" &[];
    ms_of_a_static_program_are_counted_bound_and_given_back = "ms" &STATIC;
    registers_are_their_callers = "registers" &[];
    every_misuse_is_refused = "refusals" &[];
    steady_callbacks_make_no_system_call = "quiet" &[];
    crowds_of_threads_leave_nothing_behind = "scale" &[];
    memory_that_is_refused_is_an_error = "scarce" &[];
    threads_and_processes_leave_as_they_like = "leave" &[];
    threads_and_processes_of_static_programs_leave_as_they_like = "leave" &STATIC;
    the_world_stops = "world" &[];
    the_world_of_a_static_program_stops = "world" &STATIC;
}
