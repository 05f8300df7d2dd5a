//! Operations, and how an input (bytes) is read as a sequence of them.

use arbitrary::{Arbitrary, Result, Unstructured};

/// As in worker.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)] // worker.c does what the names say
pub enum Kind {
    Call,
    Return,
    Ccall,
    Panic,
    Fault,
    Overflow,
    Jump,
    Attach,
    Detach,
    Defer,
    Signal,
    StopWorld,
    StartWorld,
    Safepoint,
    EachM,
    Spawn,
    Fork,
    Stop,
    Start,
    Exit,
    RawExit,
    Mask,
    SignalStack,
    CFault,
    Misuse,
}

/// All of them, in the order of their numbers.
pub const KINDS: [Kind; 25] = {
    use Kind::*;
    [
        Call,
        Return,
        Ccall,
        Panic,
        Fault,
        Overflow,
        Jump,
        Attach,
        Detach,
        Defer,
        Signal,
        StopWorld,
        StartWorld,
        Safepoint,
        EachM,
        Spawn,
        Fork,
        Stop,
        Start,
        Exit,
        RawExit,
        Mask,
        SignalStack,
        CFault,
        Misuse,
    ]
};

/// How many threads a case has.
pub const THREADS: usize = 3;
/// The most operations of a case.
pub const LONGEST: usize = 60;

/// One operation: which thread does what, with which choice among its variants.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The thread.
    pub thread: usize,
    /// What the thread does.
    pub kind: Kind,
    /// Which variant.
    pub choice: u8,
}

/// What needm is started with.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// `NEEDM_BIND_CALL`.
    pub per_call: bool,
    /// The most Ms; 0: a limit that no case reaches.
    pub max_ms: u32,
    /// Ms made at the start.
    pub seed_ms: u32,
    /// With the hooks `minit` and `unminit`.
    pub hooks: bool,
    /// The handler that calls back runs on the signal stack.
    pub on_signal_stack: bool,
}

/// An input.
#[derive(Clone, Debug)]
pub struct Case {
    /// What needm is started with.
    pub config: Config,
    /// What the threads then do.
    pub operations: Vec<Operation>,
}

impl Config {
    fn new(byte: u8) -> Self {
        let [max_ms, seed_ms] = [[0, 1], [2, 1], [3, 2], [1, 1]][usize::from(byte >> 3 & 3)];
        Self {
            per_call: byte & 1 != 0,
            hooks: byte & 2 != 0,
            on_signal_stack: byte & 4 != 0,
            max_ms,
            seed_ms,
        }
    }
}

/// The first byte is the configuration. Then come two for each operation: its number and
/// thread, and its choice. So an input keeps its meaning when operations are added.
impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let config = Config::new(u.arbitrary().unwrap_or(0));
        let mut operations = Vec::new();
        while operations.len() < LONGEST && u.len() >= 2 {
            let [what, choice] = [u.arbitrary::<u8>()?, u.arbitrary()?];
            let kind = usize::from(what & 31);
            let thread = usize::from(what >> 5) % THREADS;
            // A number without an operation is a call, the most frequent one.
            let kind = KINDS.get(kind).copied().unwrap_or(Kind::Call);
            operations.push(Operation { thread, kind, choice });
        }
        Ok(Self { config, operations })
    }
}

impl Case {
    /// Reads an input: any bytes are one.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let config = Config::new(0);
        let nothing = Self { config, operations: Vec::new() };
        Self::arbitrary(&mut Unstructured::new(bytes)).unwrap_or(nothing)
    }
}
