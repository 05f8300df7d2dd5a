//! Walks the machine code of the built library from a root function, through all that it calls:
//! computes the greatest depth of the stack, and reports system calls, atomic instructions and
//! whatever else the promises of `lists.rs` forbid.
//!
//! Each function is interpreted once. The walk tracks which registers hold the stack pointer of
//! the function's start plus a known offset. While the stack pointer itself holds no such value,
//! the code is on another stack, whose depth does not count; a load of such a value brings it
//! back. Only the functions that are listed as switches may leave the stack.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::code::{Flow, Instruction, Op, Processor, Register};
use super::decoders::processor;
use super::image::{Image, Target};

/// Something that a function does and may not do, or that the walk cannot follow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Finding {
    SystemCall {
        function: String,
    },
    /// An atomic read-modify-write. `at` is the instruction's address, as everywhere here.
    Atomic {
        function: String,
        at: u64,
    },
    /// A call of a function that is not in the library.
    Outside {
        function: String,
        symbol: String,
    },
    /// A call through a pointer.
    Indirect {
        function: String,
        at: u64,
        instruction: String,
    },
    /// A jump to one of many places, or to an unknown one.
    Computed {
        function: String,
        instruction: String,
    },
    /// Functions that call each other in a circle.
    Recursion {
        circle: String,
    },
    /// The walk cannot follow the function, so nothing is proved of it.
    Unproved {
        function: String,
        why: String,
    },
}

/// Which sides of the root's first conditional branch are walked: in `needm_entry` it
/// chooses between the two fast paths (`arch/README.md`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstBranch {
    Either,
    NotTaken,
    Taken,
}

/// What to walk.
pub(crate) struct Path<'a> {
    pub(crate) root: &'a str,
    pub(crate) first_branch: FirstBranch,
    /// Functions that are not followed: a suffix of the name, and the reason.
    pub(crate) cuts: &'a [(&'a str, &'a str)],
    /// Functions that never return: a suffix of the name, and the reason.
    pub(crate) noreturn: &'a [(&'a str, &'a str)],
    /// Functions that may change stacks: suffixes of their names.
    pub(crate) switches: &'a [&'a str],
}

/// What the walk found.
#[derive(Default)]
pub(crate) struct Report {
    /// Bytes below the root's caller, and the calls that lead to the deepest place.
    pub(crate) depth: i64,
    pub(crate) chain: Vec<String>,
    /// The functions reached, each with the first that called it.
    pub(crate) reached: BTreeMap<String, String>,
    pub(crate) findings: BTreeSet<Finding>,
    /// The entries of `cuts`, `noreturn` and `switches` that were met.
    pub(crate) exceptions_used: BTreeSet<String>,
}

/// The value of a register that the walk follows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    /// The stack pointer at the function's start, plus this.
    Stack(i64),
    Code(Target),
}

type State = HashMap<Register, Value>;

/// The finding for a function whose stack pointer becomes unknown.
const MOVES: &str = "switches stacks, or moves the stack pointer by an unknown amount";

/// A function that uses more stack than this is taken for endless.
const LIMIT: i64 = 1 << 24;

#[derive(Clone, Default)]
struct Summary {
    depth: i64,
    chain: Vec<String>,
}

pub(crate) fn walk(image: &Image, path: &Path) -> Report {
    let root = image.named(path.root).unwrap_or_else(|| panic!("no function {}", path.root));
    let mut walker = Walker {
        image,
        path,
        processor: processor(image),
        report: Report::default(),
        done: BTreeMap::new(),
        active: Vec::new(),
        popped_by: HashMap::new(),
    };
    let summary = walker.function(root.start);
    walker.report.depth = summary.depth;
    walker.report.chain = summary.chain;
    walker.report
}

struct Walker<'a> {
    image: &'a Image,
    path: &'a Path<'a>,
    processor: Box<dyn Processor>,
    report: Report,
    done: BTreeMap<u64, Summary>,
    active: Vec<u64>,
    /// For each function that returns: how many bytes of arguments it pops as it does.
    popped_by: HashMap<u64, u64>,
}

impl Walker<'_> {
    fn report(&mut self, finding: Finding) {
        self.report.findings.insert(finding);
    }

    fn function(&mut self, start: u64) -> Summary {
        if let Some(summary) = self.done.get(&start) {
            return summary.clone();
        }
        let name = self.image.name(start);
        if let Some(from) = self.active.iter().position(|at| *at == start) {
            let circle: Vec<_> =
                self.active[from..].iter().map(|at| self.image.name(*at)).collect();
            self.report(Finding::Recursion { circle: circle.join(" -> ") });
            return Summary::default();
        }
        let caller = self.active.last().map(|at| self.image.name(*at)).unwrap_or_default();
        self.report.reached.insert(name.clone(), caller);
        self.active.push(start);
        let mut summary = self.run(start, &name);
        self.active.pop();
        summary.chain.insert(0, name);
        self.done.insert(start, summary.clone());
        summary
    }

    fn run(&mut self, start: u64, name: &str) -> Summary {
        let sp = self.processor.stack_pointer();
        let end = self.image.function(start).map_or(start, |f| f.end);
        let mut seen: HashMap<u64, State> = HashMap::new();
        let mut todo = VecDeque::from([(start, State::from([(sp, Value::Stack(0))]))]);
        let mut deepest = Summary::default();
        let (is_root, mut first) = (name == self.path.root, None);
        while let Some((at, state)) = todo.pop_front() {
            let Some(state) = join(&mut seen, at, state, sp) else { continue };
            if !(start..end).contains(&at) {
                self.unproved(name, "leaves the function");
                continue;
            }
            let Some(instruction) = self.processor.decode(self.image, at) else {
                self.unproved(name, &format!("cannot be decoded: {at:#x}"));
                continue;
            };
            self.note(&instruction, at, name);
            let depth = depth_of(&state, sp);
            if depth > LIMIT {
                self.unproved(name, "uses more stack each time round");
                break;
            }
            let mut after = state.clone();
            self.apply(&instruction, &mut after, name);
            deepest.depth = deepest.depth.max(depth).max(depth_of(&after, sp));
            match &instruction.flow {
                Flow::Next => {
                    if instruction.conditional {
                        todo.push_back((instruction.next, state));
                    }
                    todo.push_back((instruction.next, after));
                }
                Flow::Stop => {}
                Flow::Return(popped) => {
                    self.popped_by.insert(start, *popped);
                }
                Flow::Branch(to) if !(start..end).contains(to) => {
                    // A tail call, where something holds.
                    todo.push_back((instruction.next, after));
                    let (inner, popped) = self.call(&Target::At(*to), &instruction, at, name);
                    deepen(&mut deepest, depth, &inner, state.contains_key(&sp));
                    if let Some(popped) = popped {
                        self.popped_by.insert(start, popped);
                    }
                }
                Flow::Branch(to) => {
                    let is_first = is_root && *first.get_or_insert(at) == at;
                    let sides = if is_first { self.path.first_branch } else { FirstBranch::Either };
                    if sides != FirstBranch::Taken {
                        todo.push_back((instruction.next, after.clone()));
                    }
                    if sides != FirstBranch::NotTaken {
                        todo.push_back((*to, after));
                    }
                }
                Flow::Jump(Target::At(to)) if (start..end).contains(to) => {
                    todo.push_back((*to, after));
                }
                Flow::Jump(target) => {
                    let target = known(target, &instruction, &state);
                    // A jump through a register is followed as a tail call only if the function
                    // has popped its own frame before.
                    let is_tail_call = state.get(&sp) == Some(&Value::Stack(0));
                    if target == Target::Unknown && (instruction.computed || !is_tail_call) {
                        let instruction = instruction.text.clone();
                        self.report(Finding::Computed { function: name.into(), instruction });
                        continue;
                    }
                    let (inner, popped) = self.call(&target, &instruction, at, name);
                    deepen(&mut deepest, depth, &inner, state.contains_key(&sp));
                    if let Some(popped) = popped {
                        self.popped_by.insert(start, popped);
                    }
                }
                Flow::Call(target) => {
                    let target = known(target, &instruction, &state);
                    let (inner, popped) = self.call(&target, &instruction, at, name);
                    let depth = depth + self.processor.call_bytes();
                    deepen(&mut deepest, depth, &inner, state.contains_key(&sp));
                    let Some(popped) = popped else { continue };
                    if let Some(Value::Stack(offset)) = after.get_mut(&sp) {
                        *offset += i64::try_from(popped).expect("a few bytes");
                    }
                    for register in self.processor.clobbered() {
                        after.remove(register);
                    }
                    todo.push_back((instruction.next, after));
                }
            }
        }
        deepest
    }

    /// Follows the call by the instruction `from`, which is `at`: what it uses and, if it returns,
    /// how many bytes it pops.
    fn call(
        &mut self,
        target: &Target,
        from: &Instruction,
        at: u64,
        name: &str,
    ) -> (Summary, Option<u64>) {
        // If such a function does pop something, the walk takes the stack for deeper than it is,
        // never for less deep.
        let not_followed = (Summary::default(), Some(0));
        match target {
            Target::At(start) => {
                let callee = self.image.name(*start);
                let listed = |list: &[(&str, &str)]| {
                    let mut suffixes = list.iter().map(|(suffix, _)| *suffix);
                    suffixes.find(|suffix| callee.ends_with(suffix)).map(String::from)
                };
                if let Some(suffix) = listed(self.path.noreturn) {
                    self.report.exceptions_used.insert(suffix);
                    return (Summary::default(), None);
                }
                if let Some(suffix) = listed(self.path.cuts) {
                    self.report.exceptions_used.insert(suffix);
                    return not_followed;
                }
                // In a circle, what this function pops is not known yet. The circle is reported, so
                // the proof fails in any case; with 0 the walk goes on and reports the rest.
                let is_circle = self.active.contains(start);
                let summary = self.function(*start);
                (summary, self.popped_by.get(start).copied().or(is_circle.then_some(0)))
            }
            Target::Outside(symbol) => {
                self.report(Finding::Outside { function: name.into(), symbol: symbol.clone() });
                not_followed
            }
            Target::Unknown => {
                let instruction = from.text.clone();
                self.report(Finding::Indirect { function: name.into(), at, instruction });
                not_followed
            }
        }
    }

    fn note(&mut self, instruction: &Instruction, at: u64, name: &str) {
        if instruction.system_call {
            self.report(Finding::SystemCall { function: name.into() });
        }
        if instruction.atomic {
            self.report(Finding::Atomic { function: name.into(), at });
        }
    }

    fn unproved(&mut self, name: &str, why: &str) {
        self.report(Finding::Unproved { function: name.into(), why: why.into() });
    }

    fn apply(&mut self, instruction: &Instruction, state: &mut State, name: &str) {
        let sp = self.processor.stack_pointer();
        for op in &instruction.ops {
            match *op {
                Op::Move(bytes) => {
                    if let Some(Value::Stack(offset)) = state.get_mut(&sp) {
                        *offset += bytes;
                    }
                }
                Op::Add { to, from, offset } => match state.get(&from) {
                    Some(Value::Stack(base)) => {
                        let value = Value::Stack(base + offset);
                        state.insert(to, value);
                    }
                    // On another stack it stays unknown.
                    _ if to == sp && from == sp => {}
                    _ => self.forget(to, state, name),
                },
                Op::Align { register, to } => {
                    // Aligning moves it down by `to - 1` bytes at most; the worst case counts.
                    if let Some(Value::Stack(offset)) = state.get_mut(&register) {
                        *offset -= to - 1;
                    }
                }
                Op::Load { to, slot } => match self.image.slot(slot) {
                    Some(target) => {
                        state.insert(to, Value::Code(target.clone()));
                    }
                    None => self.forget(to, state, name),
                },
                Op::Forget(register) => self.forget(register, state, name),
            }
        }
    }

    fn forget(&mut self, register: Register, state: &mut State, name: &str) {
        let was = state.remove(&register);
        if register == self.processor.stack_pointer() && was.is_some() {
            match self.path.switches.iter().find(|suffix| name.ends_with(**suffix)) {
                Some(suffix) => {
                    self.report.exceptions_used.insert((*suffix).into());
                }
                None => self.unproved(name, MOVES),
            }
        }
    }
}

fn depth_of(state: &State, sp: Register) -> i64 {
    match state.get(&sp) {
        Some(Value::Stack(offset)) => -offset,
        _ => 0,
    }
}

/// Adds an inner function's use, if it runs on the caller's stack.
fn deepen(deepest: &mut Summary, depth: i64, inner: &Summary, on_callers: bool) {
    if on_callers && depth + inner.depth > deepest.depth {
        *deepest = Summary { depth: depth + inner.depth, chain: inner.chain.clone() };
    }
}

/// The target of a call through a register that was loaded from a linkage table.
fn known(target: &Target, instruction: &Instruction, state: &State) -> Target {
    if *target == Target::Unknown
        && let Some(Value::Code(target)) = instruction.through.and_then(|r| state.get(&r))
    {
        return target.clone();
    }
    target.clone()
}

/// Merges the state of another path that leads to an address; `None` if that changes nothing.
///
/// The merge keeps the larger of two depths. If only one path is on this stack, the merge is, too:
/// what the other path does on its own stack then counts as if it were on this one. Either way the
/// depth is never less than that of one of the paths. A register keeps a value only if it has it
/// on both paths, so a later load of the stack pointer from one that has lost it is reported.
fn join(seen: &mut HashMap<u64, State>, at: u64, state: State, sp: Register) -> Option<State> {
    let Some(before) = seen.get(&at) else {
        seen.insert(at, state.clone());
        return Some(state);
    };
    let mut joined: State = before
        .iter()
        .filter(|(r, v)| state.get(r) == Some(v))
        .map(|(r, v)| (*r, v.clone()))
        .collect();
    let stacks = [before, &state].map(|s| match s.get(&sp) {
        Some(Value::Stack(offset)) => Some(*offset),
        _ => None,
    });
    if let Some(lowest) = stacks.into_iter().flatten().min() {
        joined.insert(sp, Value::Stack(lowest));
    }
    if joined == *before {
        return None;
    }
    seen.insert(at, joined.clone());
    Some(joined)
}

/// A conditional branch over no more bytes than this skips what saves floating-point control.
const SHORT: u64 = 16;

/// Instructions from a function's first to its return if no conditional branch is taken, or with
/// `skips` only the first over a few instructions; with those of the functions it calls, but not of
/// the one it calls through a pointer.
pub(crate) fn straight_line(image: &Image, root: &str, mut skips: bool) -> usize {
    let processor = processor(image);
    let mut at = image.named(root).unwrap_or_else(|| panic!("no function {root}")).start;
    let (mut count, mut return_stack) = (0, Vec::new());
    loop {
        let instruction = processor.decode(image, at).expect("an instruction");
        count += 1;
        at = match instruction.flow {
            Flow::Jump(Target::At(to)) => to,
            Flow::Branch(to) if skips && (at..=at + SHORT).contains(&to) => {
                skips = false;
                to
            }
            Flow::Call(Target::At(to)) => {
                return_stack.push(instruction.next);
                to
            }
            Flow::Return(_) => match return_stack.pop() {
                Some(back) => back,
                None => return count,
            },
            Flow::Jump(_) | Flow::Stop => {
                panic!("{root} has no straight line: {}", instruction.text)
            }
            _ => instruction.next,
        };
        assert!(count < 10_000, "{root} does not return");
    }
}
