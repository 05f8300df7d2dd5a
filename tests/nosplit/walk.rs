//! All code that can be reached from a function, and how much stack it uses.
//!
//! Each function is interpreted once, with offsets instead of addresses: for each register
//! whether it holds the stack pointer at the function's start plus a known offset. If the
//! stack pointer becomes anything else, the code is on another stack until it loads such a
//! value again; only the functions that are listed as switches may do that.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::code::{Flow, Instruction, Op, Processor, Register};
use super::decoders::processor;
use super::image::{Image, Target};

/// Something that a function does and may not do, or that the walk cannot follow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Finding {
    SystemCall(String),
    /// The function, and the address.
    Atomic(String, u64),
    Outside(String, String),
    /// A call through a pointer: the function, the address, the instruction.
    Indirect(String, u64, String),
    /// A jump to one of many places, or to an unknown one.
    Computed(String, String),
    Recursion(String),
    Unproved(String, String),
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
    /// Functions that are not followed, by the ends of their names, with the reason.
    pub(crate) cuts: &'a [(&'a str, &'a str)],
    /// Functions that never return, likewise.
    pub(crate) ends: &'a [(&'a str, &'a str)],
    /// Functions that may change stacks.
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
    /// The cuts, ends and switches that were met.
    pub(crate) cut: BTreeSet<String>,
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
const MOVES: &str = "goes to another stack, or moves it by an amount not known";

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
        returns: HashMap::new(),
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
    /// Bytes of arguments that a function pops as it returns.
    returns: HashMap<u64, u64>,
}

impl Walker<'_> {
    fn find(&mut self, finding: Finding) {
        self.report.findings.insert(finding);
    }

    fn function(&mut self, start: u64) -> Summary {
        if let Some(summary) = self.done.get(&start) {
            return summary.clone();
        }
        let name = self.image.name(start);
        if let Some(from) = self.active.iter().position(|at| *at == start) {
            let cycle: Vec<_> = self.active[from..].iter().map(|at| self.image.name(*at)).collect();
            self.find(Finding::Recursion(cycle.join(" -> ")));
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
            self.note(&instruction, name);
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
                Flow::Return(taken) => {
                    self.returns.insert(start, *taken);
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
                    // A tail call: the function has popped its own frame before the jump.
                    let is_last = state.get(&sp) == Some(&Value::Stack(0));
                    if target == Target::Unknown && (instruction.computed || !is_last) {
                        self.find(Finding::Computed(name.into(), instruction.text.clone()));
                        continue;
                    }
                    let (inner, taken) = self.call(&target, &instruction, name);
                    deepen(&mut deepest, depth, &inner, state.contains_key(&sp));
                    if let Some(taken) = taken {
                        self.returns.insert(start, taken);
                    }
                }
                Flow::Call(target) => {
                    let target = known(target, &instruction, &state);
                    let (inner, taken) = self.call(&target, &instruction, name);
                    let depth = depth + self.processor.call_bytes();
                    deepen(&mut deepest, depth, &inner, state.contains_key(&sp));
                    let Some(taken) = taken else { continue };
                    if let Some(Value::Stack(offset)) = after.get_mut(&sp) {
                        *offset += i64::try_from(taken).expect("a few bytes");
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

    /// Follows a call: what it uses and, if it returns, how many bytes it pops.
    fn call(&mut self, target: &Target, from: &Instruction, name: &str) -> (Summary, Option<u64>) {
        let not_followed = (Summary::default(), Some(0));
        match target {
            Target::At(at) => {
                let callee = self.image.name(*at);
                let on = |list: &[(&str, &str)]| {
                    list.iter().find(|(end, _)| callee.ends_with(end)).map(|(end, _)| (*end).into())
                };
                if let Some(end) = on(self.path.ends) {
                    self.report.cut.insert(end);
                    return (Summary::default(), None);
                }
                if let Some(end) = on(self.path.cuts) {
                    self.report.cut.insert(end);
                    return not_followed;
                }
                let is_cycle = self.active.contains(at);
                let summary = self.function(*at);
                (summary, self.returns.get(at).copied().or(is_cycle.then_some(0)))
            }
            Target::Outside(symbol) => {
                self.find(Finding::Outside(name.into(), symbol.clone()));
                not_followed
            }
            Target::Unknown => {
                self.find(Finding::Indirect(name.into(), from.next, from.text.clone()));
                not_followed
            }
        }
    }

    fn note(&mut self, instruction: &Instruction, name: &str) {
        if instruction.system_call {
            self.find(Finding::SystemCall(name.into()));
        }
        if instruction.atomic {
            self.find(Finding::Atomic(name.into(), instruction.next));
        }
    }

    fn unproved(&mut self, name: &str, why: &str) {
        self.find(Finding::Unproved(name.into(), why.into()));
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
            match self.path.switches.iter().find(|end| name.ends_with(**end)) {
                Some(end) => {
                    self.report.cut.insert((*end).into());
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

/// Merges the state of another path that leads to an address, with the larger of two
/// depths; `None` if that changes nothing.
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

/// Instructions from a function's first to its return if no conditional branch is taken,
/// with those of the functions it calls, but not of the one it calls through a pointer.
pub(crate) fn straight_line(image: &Image, root: &str) -> usize {
    let processor = processor(image);
    let mut at = image.named(root).unwrap_or_else(|| panic!("no function {root}")).start;
    let (mut count, mut returns) = (0, Vec::new());
    loop {
        let instruction = processor.decode(image, at).expect("an instruction");
        count += 1;
        at = match instruction.flow {
            Flow::Jump(Target::At(to)) => to,
            Flow::Call(Target::At(to)) => {
                returns.push(instruction.next);
                to
            }
            Flow::Return(_) => match returns.pop() {
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
