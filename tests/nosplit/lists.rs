//! What the walk does not follow, and what is allowed, each with its reason.

use super::walk::{Path, Way};

/// The C caller's bytes below its own frame: the steady ways, and a first callback.
pub(crate) const STEADY_LIMIT: i64 = 512;
pub(crate) const FIRST_LIMIT: i64 = 2048;

/// The routines of the rooms that are there to change stacks (`arch/README.md`).
const SWITCHES: &[&str] = &["needm_entry", "needm_call_on", "needm_sigjump"];

/// Calls that leave the two fast ways of the entry.
const COLD: &[(&str, &str)] = &[
    ("needm_enter", "the slow way: a path of its own here"),
    ("needm_exit", "the end of the slow way, and of all endings but a return: a path of its own"),
    ("needm_on_g_prologue", "the slow way, on the G"),
    ("needm_on_g_epilogue", "the slow way, on the G: the host's deferred functions"),
    ("needm_on_g_cleanup", "functions were deferred, or the stack had run out: on the G"),
    ("needm_notify_stopper", "the world is being stopped, and its stopper has to be woken"),
];

/// And the second of them only.
const COLD_AGAIN: &[(&str, &str)] = &[
    ("needm_dropm", "the M is not on the list any more, or the gate has closed: dropm"),
    ("needm_wake", "a thread waits for an M, and has to be woken"),
];

/// Ways to the end of the process, with a message.
const FATAL: &[(&str, &str)] = &[
    ("needm::fatal::throw", "prints one line and ends the process"),
    (
        "needm::callback::fault::sigpanic",
        "the handler has left for the G: no stack of the caller's",
    ),
];

/// On the slow way, what runs on the G.
const ON_THE_G: &[(&str, &str)] = &[
    ("needm_on_g_epilogue", "on the G: the host's deferred functions"),
    ("needm_on_g_cleanup", "on the G"),
];

/// A path, and what holds on it.
pub(crate) struct Promise {
    pub(crate) name: &'static str,
    pub(crate) path: Path<'static>,
    pub(crate) limit: i64,
    pub(crate) system_calls: bool,
    pub(crate) atomics: usize,
}

pub(crate) fn promises() -> [Promise; 5] {
    let path = |root, way, cuts| Path { root, way, cuts, ends: FATAL, switches: SWITCHES };
    let again = COLD.iter().chain(COLD_AGAIN).copied().collect::<Vec<_>>().leak();
    let free = usize::MAX;
    [
        Promise {
            name: "steady",
            path: path("needm_entry", Way::GoOn, COLD),
            limit: STEADY_LIMIT,
            system_calls: false,
            atomics: 0,
        },
        Promise {
            name: "taking the last M again",
            path: path("needm_entry", Way::Branch, again),
            limit: STEADY_LIMIT,
            system_calls: false,
            atomics: 1,
        },
        Promise {
            name: "needm",
            path: path("needm_entry", Way::Both, ON_THE_G),
            limit: FIRST_LIMIT,
            system_calls: true,
            atomics: free,
        },
        Promise {
            name: "dropm",
            path: path("needm_exit", Way::Both, ON_THE_G),
            limit: FIRST_LIMIT,
            system_calls: true,
            atomics: free,
        },
        Promise {
            name: "signal handler",
            path: path("needm_handler", Way::Both, ON_THE_G),
            // Of the signal stack: `HANDLER_ROOM` of src/settings.rs.
            limit: 1024,
            system_calls: true,
            atomics: free,
        },
    ]
}

/// Functions of the C library that are called, and why that may be. What they use of the
/// stack is theirs, and not counted.
pub(crate) const OUTSIDE: &[(&str, &str)] = &[
    ("memcpy", "the compiler's, for copying a frame"),
    #[cfg(target_arch = "arm")]
    ("memset", "the compiler's"),
];

/// Calls through pointers: in which functions, by their names' ends, how many at most,
/// and to what.
pub(crate) const INDIRECT: &[(&str, usize, &str)] = &[
    ("needm_entry", 3, "the callback itself"),
    ("needm_call_on", 1, "the handler of before, on the signal stack's outer part; sigpanic"),
    ("signal::forward::forward", 2, "the handler of before: what is not ours is passed on"),
    ("needm::needm", 1, "the host's minit"),
    ("thread::record", 3, "the C library's pthread_setspecific"),
    ("needm::dropm", 1, "the host's unminit"),
    ("Extra::make", 1, "the host's m_new"),
    ("Thread::return_all_ms", 2, "the host's unminit, of a thread that has ended"),
];

/// All that the lists name.
pub(crate) fn all_names() -> impl Iterator<Item = &'static str> {
    let pairs = [COLD, COLD_AGAIN, FATAL, ON_THE_G, OUTSIDE].into_iter().flatten();
    let indirect = INDIRECT.iter().map(|(end, ..)| *end);
    pairs.map(|(name, _)| *name).chain(SWITCHES.iter().copied()).chain(indirect)
}
