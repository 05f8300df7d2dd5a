//! A test body in a process of its own, because it is meant to end that process, or might.

#[path = "../common/limit.rs"]
mod limit;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

/// What an accident cannot give.
const SUCCESS: i32 = 200;

/// How long a body may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Which body a child process is for.
const OWN: &str = "NEEDM_SOUND_BODY";

/// How a child ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) signal: Option<i32>,
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
}

/// Whether an emulator runs this.
pub(crate) fn is_emulated() -> bool {
    env::var_os("NEEDM_RUNNER").is_some_and(|runner| !runner.is_empty())
}

/// Runs `body` in a child of this process that runs only the test `name`. In that child, this
/// does not return.
pub(crate) fn run(name: &str, variables: &[(&str, &str)], body: fn()) -> Ended {
    if env::var_os(OWN).is_some_and(|own| own == name) {
        // SAFETY: a limit of zero, so that no core is written.
        unsafe {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        }
        body();
        std::process::exit(SUCCESS);
    }
    let own = env::current_exe().expect("this program has a path");
    let runner = env::var("NEEDM_RUNNER").unwrap_or_default();
    let mut words: Vec<_> = runner.split_whitespace().map(Into::into).collect();
    words.push(own.into_os_string());
    let log = format!("sound-{}.log", name.replace("::", "-"));
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(log);
    let file = fs::File::create(&log).expect("a log");
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(OWN, name)
        .env("RUST_BACKTRACE", "0")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a log"))
        .stderr(file)
        .spawn()
        .expect("the child starts");
    let status = limit::wait(&mut child, LIMIT);
    let said = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    let status = status.unwrap_or_else(|| panic!("{name} is not done after {LIMIT:?}:\n{said}"));
    Ended { signal: status.signal(), code: status.code(), said }
}

impl Ended {
    /// The body returned.
    #[track_caller]
    pub(crate) fn well(&self) {
        assert_eq!(self.code, Some(SUCCESS), "{self:?}");
    }

    /// A signal ended the process before the body could say that it went on.
    #[track_caller]
    pub(crate) fn by(&self, signal: i32) -> &Self {
        assert_eq!(self.signal, Some(signal), "{self:?}");
        assert!(!self.said.contains(WENT_ON), "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn saying(&self, text: &str) {
        assert!(self.said.contains(text), "no {text:?}: {self:?}");
    }
}

/// What a body prints where it must not come.
pub(crate) const WENT_ON: &str = "the body went on";

/// Tests of bodies: each runs in a child, and the rest says how that must end.
macro_rules! bodies {
    ($($name:ident $([$($variable:literal = $value:literal),*])? => $($ending:ident($($arg:expr)?)).+;)*) => {$(
        #[test]
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            let (_, name) = path.split_once("::").expect("a crate and a path");
            let ended = crate::child::run(name, &[$($(($variable, $value)),*)?], body::$name);
            ended.$($ending($($arg)?)).+;
        }
    )*};
}
pub(crate) use bodies;
