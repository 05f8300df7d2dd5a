//! The paths that are checked, what is promised of each, and the exceptions with their
//! reasons: what the walk does not follow, and what it may find.

use super::walk::{FirstBranch, Path};

/// Bytes of the C caller's stack, below its own frame, that a callback may use on a fast
/// path, and that a first callback may use.
pub(crate) const FAST_LIMIT: i64 = 512;
pub(crate) const SLOW_LIMIT: i64 = 2048;

/// The routines of `arch/<arch>/` whose purpose is to change stacks (`arch/README.md`).
const SWITCHES: &[&str] = &["needm_entry", "needm_sigjump"];

/// Calls that leave both fast paths.
const LEAVE_FAST_PATH: &[(&str, &str)] = &[
    ("needm_enter", "the slow path in, which is walked by itself"),
    ("needm_exit", "the slow path out, for every ending but a return: walked by itself"),
    ("needm_on_g_prologue", "the slow path, on the G"),
    ("needm_on_g_epilogue", "the slow path, on the G: deferred functions, which are the host's"),
    ("needm_on_g_cleanup", "functions were deferred, or the stack had run out: on the G"),
    ("needm_notify_stopper", "the world is being stopped, and its stopper must be woken"),
];

/// Calls that leave only the fast path that rebinds the thread's last M.
const LEAVE_REBIND_PATH: &[(&str, &str)] = &[
    ("needm_dropm", "the M has left the extra list, or the gate has closed"),
    ("needm_wake", "a thread waits for an M, and must be woken"),
];

/// Functions that never return.
const NEVER_RETURN: &[(&str, &str)] = &[
    ("needm::fatal::throw", "prints one line and ends the process"),
    ("needm::callback::panic::raise", "on the G, for a request to interrupt the callback there"),
    ("needm_sigresume", "returns from the signal to the G: the signal stack is not used"),
    ("needm_sigstart", "the previous handler, on the interrupted stack"),
    (
        "needm::callback::raising::sigpanic",
        "the handler has switched to the G: the caller's stack is not used",
    ),
];

/// Calls of the slow path that run on the G.
const ON_THE_G: &[(&str, &str)] = &[
    ("needm_on_g_epilogue", "on the G: deferred functions, which are the host's"),
    ("needm_on_g_cleanup", "on the G"),
];

/// A path, and what holds on it.
pub(crate) struct Promise {
    pub(crate) name: &'static str,
    pub(crate) path: Path<'static>,
    /// Bytes of stack.
    pub(crate) limit: i64,
    /// Whether system calls are allowed, and how many atomic read-modify-writes.
    pub(crate) system_calls: bool,
    pub(crate) atomics: usize,
}

pub(crate) fn promises() -> [Promise; 5] {
    let path = |root, first_branch, cuts| Path {
        root,
        first_branch,
        cuts,
        noreturn: NEVER_RETURN,
        switches: SWITCHES,
    };
    let rebind = LEAVE_FAST_PATH.iter().chain(LEAVE_REBIND_PATH).copied().collect::<Vec<_>>();
    let any = usize::MAX;
    [
        Promise {
            name: "fast path, M bound",
            path: path("needm_entry", FirstBranch::NotTaken, LEAVE_FAST_PATH),
            limit: FAST_LIMIT,
            system_calls: false,
            atomics: 0,
        },
        Promise {
            name: "fast path, last M rebound",
            path: path("needm_entry", FirstBranch::Taken, rebind.leak()),
            limit: FAST_LIMIT,
            system_calls: false,
            atomics: 1,
        },
        Promise {
            name: "slow path in",
            path: path("needm_entry", FirstBranch::Either, ON_THE_G),
            limit: SLOW_LIMIT,
            system_calls: true,
            atomics: any,
        },
        Promise {
            name: "slow path out",
            path: path("needm_exit", FirstBranch::Either, ON_THE_G),
            limit: SLOW_LIMIT,
            system_calls: true,
            atomics: any,
        },
        Promise {
            name: "signal handler",
            path: path("needm_handler_2", FirstBranch::Either, ON_THE_G),
            // Of the signal stack: `HANDLER_ROOM` of src/settings/mod.rs.
            limit: 1536,
            system_calls: true,
            atomics: any,
        },
    ]
}

/// Functions that the compiler calls by itself. Which of them it emits depends on the
/// architecture and its version, so one that is not called is no mistake. What they use of
/// the stack is not counted.
pub(crate) const COMPILERS_OWN: &[&str] = &["memcpy", "memset"];

/// Calls through pointers: a suffix of the function's name, how many at most, and what they
/// call.
pub(crate) const INDIRECT: &[(&str, usize, &str)] = &[
    ("needm_entry", 4, "the callback itself, and the unwinder's function, after an exception"),
    ("fault::ask_host", 1, "the host's hook for faults"),
    ("forward::forward", 2, "the previous handler, to which it forwards a signal"),
    ("shared::is_on_its_g", 1, "the handler of another copy of needm, which it asks"),
    ("needm::needm", 1, "the host's minit"),
    ("thread::record", 3, "the C library's pthread_setspecific"),
    ("needm::dropm", 1, "the host's unminit"),
    ("Extra::make", 1, "the host's m_new"),
    ("Thread::return_one", 1, "the host's unminit, for a thread that has exited"),
    ("Thread::leave_behind", 2, "the host's unminit and m_free, for one that has left callbacks"),
];

/// All names in the lists, each of which must be met.
pub(crate) fn all_names() -> impl Iterator<Item = &'static str> {
    let pairs = [LEAVE_FAST_PATH, LEAVE_REBIND_PATH, NEVER_RETURN, ON_THE_G].into_iter().flatten();
    let indirect = INDIRECT.iter().map(|(suffix, ..)| *suffix);
    pairs.map(|(name, _)| *name).chain(SWITCHES.iter().copied()).chain(indirect)
}
