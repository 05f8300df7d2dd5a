//! The wall around the operating system: only `src/os/<room>` and `arch/*/<room>` know one.
//!
//! Portable code asks through `crate::os`, so no constant, struct, system call or function of
//! a system's is named in its code. (Comments may give a system as an example.)

use std::path::{Path, PathBuf};

/// Where a system's own names are at home.
const ROOMS: [&str; 2] = ["src/os/linux/", "src/os/windows/"];

/// What belongs to a system: a word that starts so, and what it is.
const WORDS: &[(&str, &str)] = &[
    ("AT_", "an entry of the auxiliary vector, or a flag of openat"),
    ("CLONE_", "a flag of clone"),
    ("CLOCK_", "a clock"),
    ("FUTEX_", "an operation of futex"),
    ("MADV_", "advice of madvise"),
    ("MAP_", "a flag of mmap"),
    ("MEMBARRIER_", "a command of membarrier"),
    ("PROT_", "a flag of mmap"),
    ("SA_", "a flag of sigaction"),
    ("SI_", "a si_code"),
    ("SS_", "a flag of sigaltstack"),
    ("FUTEX", "a system call"),
    ("futex", "a system call"),
    ("madvise", "a system call"),
    ("membarrier", "a system call"),
    ("mmap", "a system call"),
    ("mprotect", "a system call"),
    ("munmap", "a system call"),
    ("EXCEPTION_", "a code of an exception"),
    ("Fls", "fiber-local storage"),
    ("MEM_", "a flag of VirtualAlloc"),
    ("PAGE_", "a flag of VirtualProtect"),
    ("StackFields", "the thread's environment block"),
    ("Virtual", "a function of Windows"),
    ("needm_base", "a routine of the room for Windows"),
    ("needm_c_base", "a routine of the room for Windows"),
    ("needm_clone", "a routine of the room for Linux"),
    ("needm_handler", "a routine of the room for Linux"),
    ("needm_handler_2", "a routine of the room for Linux"),
    ("needm_landing", "a routine of the room for Windows"),
    ("needm_libc", "the table of the C library"),
    ("needm_sigjump", "a routine of the room for Linux"),
    ("needm_siglanding", "a routine of the room for Linux"),
    ("needm_sigresume", "a routine of the room for Linux"),
    ("needm_sigreturn", "a routine of the room for Linux"),
    ("needm_sigstart", "a routine of the room for Linux"),
    ("needm_unmap_and_exit", "a routine of the room for Linux"),
    ("prctl", "a system call"),
    ("pthread_", "a function of the C library"),
    ("robust", "the robust-futex list"),
    ("sigaction", "a system call"),
    ("sigaltstack", "a system call"),
    ("sigprocmask", "a system call"),
    ("sigset", "a type of signals"),
    ("tgkill", "a system call"),
    ("ucontext", "a type of signals"),
];

/// Error numbers that a room may meet; `NEEDM_E…` and `Error` are needm's own.
const ERRNOS: &[&str] = &[
    "EACCES",
    "EAGAIN",
    "EBUSY",
    "EEXIST",
    "EFAULT",
    "EINTR",
    "EINVAL",
    "ENOENT",
    "ENOEXEC",
    "ENOMEM",
    "ENOSYS",
    "EPERM",
    "ESRCH",
    "ETIMEDOUT",
];

/// Paths into a room, and questions for the system.
const PATHS: &[&str] = &[
    "signal::",
    "libc::",
    "clone::",
    "arch::linux",
    "arch::windows",
    "os::linux",
    "os::windows",
    "os::room",
    "target_os",
];

fn files_under(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            files_under(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// A line without its comment and without the text of its strings.
fn code(line: &str) -> String {
    let mut code = String::new();
    let mut in_string = false;
    let mut before = ' ';
    for character in line.chars() {
        if character == '"' && before != '\\' && before != '\'' {
            in_string = !in_string;
        }
        if character == '/' && before == '/' && !in_string {
            break;
        }
        if !in_string || character == '"' {
            code.push(character);
        }
        before = character;
    }
    code
}

/// The words of a line of code.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
}

/// A name such as `SIGSEGV`: no underscore, as in needm's own `SIG_LO`.
fn is_signal(word: &str) -> bool {
    word.strip_prefix("SIG").is_some_and(|rest| {
        rest.len() > 1 && rest.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    })
}

/// What of a system a line of portable code names.
fn names_a_system(line: &str) -> Option<String> {
    let code = code(line);
    let word = words(&code).find_map(|word| {
        if is_signal(word) {
            return Some(format!("{word}: a signal"));
        }
        if ERRNOS.contains(&word) {
            return Some(format!("{word}: an error number"));
        }
        let known = WORDS.iter().find(|(start, _)| word.starts_with(start))?;
        Some(format!("{word}: {}", known.1))
    });
    word.or_else(|| {
        PATHS.iter().find(|path| code.contains(*path)).map(|path| format!("{path}: a path"))
    })
}

/// Every line outside the rooms that names a system.
fn leaks() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    files_under(&root.join("src"), &mut files);
    assert!(files.len() > 40, "the sources are elsewhere");
    let mut leaks = Vec::new();
    for path in files {
        let name = path.strip_prefix(root).expect("it is below the root").display().to_string();
        if ROOMS.iter().any(|room| name.starts_with(room)) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        for (number, line) in text.lines().enumerate() {
            // The one place that chooses a room.
            if name == "src/os/mod.rs" && code(line).contains("target_os") {
                continue;
            }
            if let Some(what) = names_a_system(line) {
                leaks.push(format!("{name}:{}: {what}", number + 1));
            }
        }
    }
    leaks
}

#[test]
fn portable_code_names_no_system() {
    let leaks = leaks();
    assert!(leaks.is_empty(), "ask through crate::os:\n{}", leaks.join("\n"));
}

#[test]
fn a_leak_is_found() {
    for line in [
        "let killed = SIGABRT;",
        "flags: SA_SIGINFO | SA_ONSTACK,",
        "use crate::os::signal::Stack;",
        "signal::block_all();",
        "libc::spawn(main, arg)",
        "return Err(Errno(ENOMEM));",
        "unsafe { needm_clone(top) }",
        "self.robust_list.store(0, Relaxed); // the list",
        "#[cfg(target_os = \"linux\")]",
        "use crate::arch::linux::nr;",
        "VirtualFree(start, 0, MEM_RELEASE)",
        "use crate::arch::windows::teb;",
    ] {
        assert!(names_a_system(line).is_some(), "{line}");
    }
}

#[test]
fn what_is_needms_own_is_no_leak() {
    for line in [
        "/// Ends the process by `SIGABRT`.",
        "let map = memory::map(len, Access::None); // mmap",
        "signal_stack_size: 0,",
        "const PENDING_HANDLER_STACK: usize = 4;",
        "layout::thread::SIG_LO",
        "#[derive(Clone, Copy)]",
        "fatal::throw(format_args!(\"SIGSEGV is not a signal of mine\"));",
        "Error::Fault.code(), // NEEDM_EFAULT",
    ] {
        assert!(names_a_system(line).is_none(), "{line}: {:?}", names_a_system(line));
    }
}
