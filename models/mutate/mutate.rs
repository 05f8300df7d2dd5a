//! Plants bugs in a source file: finds the marked statements, and has each do the wrong thing
//! while `planted(NUMBER)` says so. All else stays as it is, to the letter.

use crate::bugs::Bug;
use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Block, Expr, Pat, Stmt};

/// What becomes of a statement.
#[derive(Clone, Copy)]
pub enum Change {
    /// It is left out.
    Delete,
    /// Its atomic accesses order nothing.
    Weaker,
    /// What it adds with `wrapping_add` is 0.
    CountStands,
    /// The condition of this `if` always holds.
    Always,
    /// It never does.
    Never,
    /// What its closure answers is true.
    AtOnce,
    /// Its compare-and-swap is a load and a store.
    Torn,
    /// It comes after what the next one, a `let`, computes.
    Swapped,
    /// The variable of this `let` is computed again after the next statement.
    Again,
    /// It is done where `// model: NAME here` stands, above another statement.
    Here,
    /// In its place the statement is done that `// model: NAME that` marks.
    That,
    /// In place of this call of a function with a closure, the closure is called; if that does
    /// nothing but make such a call, the inner closure.
    JustCall,
    /// This `wait(word, value, ..)` or `sleep` waits for the word's value of just now.
    WaitForNow,
    /// Of two values that it compares by `!=`, the first has to be the second's successor.
    NextValue,
}

/// A part of the file, and what is in its place.
struct Edit {
    range: Range<usize>,
    parts: Vec<Part>,
}

enum Part {
    Text(String),
    Source(Range<usize>),
}

/// A marker: the bug's name, what else it says, and the line of the statement.
struct Marker {
    name: String,
    role: String,
    line: usize,
}

/// The text of a file with all bugs planted whose markers are in it.
pub fn plant(path: &Path, text: &str, bugs: &[Bug], marked: &mut BTreeSet<String>) -> String {
    let markers = markers(text);
    if markers.is_empty() {
        return text.to_owned();
    }
    let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut found = Statements(Vec::new());
    found.visit_file(&file);
    let find = |marker: &Marker| {
        let begins = |pair: &&(Stmt, Option<Stmt>)| pair.0.span().start().line == marker.line;
        let place = format!("{}:{}", path.display(), marker.line);
        let pair = found.0.iter().find(begins);
        pair.unwrap_or_else(|| panic!("{place}: no statement for `{}`", marker.name))
    };
    let mut edits = Vec::new();
    for marker in markers.iter().filter(|marker| marker.role.is_empty()) {
        let number = bugs.iter().position(|bug| bug.name == marker.name);
        let number = number.unwrap_or_else(|| panic!("no bug is called `{}`", marker.name));
        assert!(marked.insert(marker.name.clone()), "`{}` is marked twice", marker.name);
        let (statement, next) = find(marker);
        let role = match bugs[number].change {
            Change::Here => "here",
            Change::That => "that",
            _ => "",
        };
        let other = markers.iter().find(|other| other.name == marker.name && other.role == role);
        let other =
            other.unwrap_or_else(|| panic!("`{}`: nothing is marked `{role}`", marker.name));
        let change = Planting {
            number,
            statement,
            next: next.as_ref(),
            other: &find(other).0,
            text,
            name: &marker.name,
        };
        edits.extend(change.edits(bugs[number].change));
    }
    for marker in &markers {
        let known = ["", "here", "that"].contains(&marker.role.as_str());
        assert!(known && marked.contains(&marker.name), "`{}` marks nothing", marker.name);
    }
    edits.sort_by_key(|edit| (edit.range.start, usize::MAX - edit.range.end));
    render(text, 0..text.len(), &edits)
}

/// The markers of a file.
fn markers(text: &str) -> Vec<Marker> {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let marks = lines.iter().enumerate().filter_map(|(at, line)| {
        let mut words = line.strip_prefix("// model: ")?.split(' ');
        let below = lines[at..].iter().position(|line| !line.starts_with("//"));
        Some(Marker {
            name: words.next().unwrap_or_default().to_owned(),
            role: words.collect::<Vec<_>>().join(" "),
            line: at + 1 + below.expect("a statement below its marker"),
        })
    });
    marks.collect()
}

/// All statements of a file, from the outermost in, each with the next one of its block.
struct Statements(Vec<(Stmt, Option<Stmt>)>);

impl<'a> Visit<'a> for Statements {
    fn visit_block(&mut self, block: &'a Block) {
        for (at, statement) in block.stmts.iter().enumerate() {
            self.0.push((statement.clone(), block.stmts.get(at + 1).cloned()));
        }
        visit::visit_block(self, block);
    }
}

/// The part of the text, with the edits inside it made.
fn render(text: &str, range: Range<usize>, edits: &[Edit]) -> String {
    let mut result = String::new();
    let mut at = range.start;
    for (index, edit) in edits.iter().enumerate() {
        if edit.range.start < at || edit.range.end > range.end {
            continue;
        }
        result += &text[at..edit.range.start];
        for part in &edit.parts {
            match part {
                Part::Text(text) => result += text,
                Part::Source(inner) => result += &render(text, inner.clone(), &edits[index + 1..]),
            }
        }
        at = edit.range.end;
    }
    result + &text[at..range.end]
}

fn bytes(of: &impl Spanned) -> Range<usize> {
    of.span().byte_range()
}

fn text(text: impl Into<String>) -> Part {
    Part::Text(text.into())
}

/// The closure that a call ends with.
fn closure_of(call: &Expr) -> Option<&syn::ExprClosure> {
    match call {
        Expr::Call(call) => match call.args.last()? {
            Expr::Closure(closure) => Some(closure),
            _ => None,
        },
        _ => None,
    }
}

/// All that a closure does, if that is one expression.
fn only_expression(closure: &syn::ExprClosure) -> Option<&Expr> {
    match &*closure.body {
        Expr::Block(body) => match &body.block.stmts[..] {
            [Stmt::Expr(expression, _)] => Some(expression),
            _ => None,
        },
        other => Some(other),
    }
}

/// A bug about to be planted.
struct Planting<'a> {
    number: usize,
    statement: &'a Stmt,
    next: Option<&'a Stmt>,
    /// The other statement that is marked for it, if it takes one.
    other: &'a Stmt,
    text: &'a str,
    name: &'a str,
}

impl Planting<'_> {
    fn planted(&self) -> String {
        format!("crate::sync::planted({})", self.number)
    }

    fn no(&self, what: &str) -> ! {
        panic!("`{}`: the marked statement has no {what}", self.name)
    }

    fn source(&self, of: &impl Spanned) -> &str {
        &self.text[bytes(of)]
    }

    /// `before`, the source, `after`.
    fn around(of: &impl Spanned, before: String, after: &str) -> Edit {
        let range = bytes(of);
        Edit { range: range.clone(), parts: vec![text(before), Part::Source(range), text(after)] }
    }

    /// `planted`, or what is there.
    fn or(&self, of: &impl Spanned, planted: &str) -> Edit {
        let before = format!("(if {} {{ {planted} }} else {{ ", self.planted());
        Self::around(of, before, " })")
    }

    fn expression(&self) -> &Expr {
        match self.statement {
            Stmt::Expr(expression, _) => expression,
            _ => self.no("expression of its own"),
        }
    }

    /// The first expression in the statement of which `find` makes something.
    fn first<T>(&self, what: &str, find: impl FnMut(&Expr) -> Option<T>) -> T {
        let mut first = First { find, found: None };
        first.visit_stmt(self.statement);
        first.found.unwrap_or_else(|| self.no(what))
    }

    fn condition(&self) -> &Expr {
        match self.expression() {
            Expr::If(branch) if !matches!(*branch.cond, Expr::Let(_)) => &branch.cond,
            _ => self.no("condition"),
        }
    }

    fn edits(&self, change: Change) -> Vec<Edit> {
        let planted = self.planted();
        match change {
            Change::Delete => {
                self.expression();
                vec![Self::around(self.statement, format!("if !{planted} {{ "), " }")]
            }
            Change::Weaker => self.weaker(),
            Change::CountStands => {
                let added = self.first("`wrapping_add`", |expression| match expression {
                    Expr::MethodCall(call) if call.method == "wrapping_add" => {
                        call.args.first().cloned()
                    }
                    _ => None,
                });
                vec![self.or(&added, "0")]
            }
            Change::Always => {
                vec![Self::around(self.condition(), format!("({planted} || ("), "))")]
            }
            Change::Never => {
                vec![Self::around(self.condition(), format!("(!{planted} && ("), "))")]
            }
            Change::AtOnce => {
                let body = self.first("closure", |expression| match expression {
                    Expr::Closure(closure) => Some((*closure.body).clone()),
                    _ => None,
                });
                vec![Self::around(&body, format!("({planted} || ("), "))")]
            }
            Change::Torn => {
                let call = self.first("`compare_exchange`", |expression| match expression {
                    Expr::MethodCall(call) if call.method == "compare_exchange" => {
                        Some(call.clone())
                    }
                    _ => None,
                });
                let from = call.args.first().unwrap_or_else(|| self.no("value to be replaced"));
                vec![
                    Self::around(&call.method, String::new(), "_or_torn"),
                    Self::around(from, format!("{planted}, "), ""),
                ]
            }
            Change::Swapped => self.swapped(),
            Change::Again => self.again(),
            Change::Here => {
                let there = bytes(self.other).start;
                let moved = format!("if {planted} {{ {} }} ", self.source(self.statement));
                vec![
                    Self::around(self.statement, format!("if !{planted} {{ "), " }"),
                    Edit { range: there..there, parts: vec![text(moved)] },
                ]
            }
            Change::That => {
                let that = self.source(self.other);
                let before = format!("if {planted} {{ {that} }} else {{ ");
                vec![Self::around(self.statement, before, " }")]
            }
            Change::JustCall => {
                let mut closure = closure_of(self.expression());
                while let Some(inner) = closure.and_then(only_expression).and_then(closure_of) {
                    closure = Some(inner);
                }
                let closure = closure.unwrap_or_else(|| self.no("closure"));
                let range = bytes(self.statement);
                let parts = vec![
                    text(format!("if {planted} {{ (")),
                    Part::Source(bytes(closure)),
                    text(")(); } else { "),
                    Part::Source(range.clone()),
                    text(" }"),
                ];
                vec![Edit { range, parts }]
            }
            Change::WaitForNow => {
                let args = match self.expression() {
                    Expr::Call(call) => &call.args,
                    Expr::MethodCall(call) => &call.args,
                    _ => self.no("call"),
                };
                let (Some(word), Some(value)) = (args.get(0), args.get(1)) else {
                    self.no("word and value")
                };
                let now = format!("({}).load(crate::sync::SeqCst)", self.source(word));
                vec![self.or(value, &now)]
            }
            Change::NextValue => {
                let compared = self.first("`!=`", |expression| match expression {
                    Expr::Binary(binary) if matches!(binary.op, BinOp::Ne(_)) => {
                        Some(binary.clone())
                    }
                    _ => None,
                });
                let (left, right) = (self.source(&compared.left), self.source(&compared.right));
                vec![self.or(&compared, &format!("({left}) == ({right}) + 1"))]
            }
        }
    }

    fn weaker(&self) -> Vec<Edit> {
        const ORDERINGS: [&str; 4] = ["AcqRel", "Acquire", "Release", "SeqCst"];
        fn orderings(tokens: TokenStream, into: &mut Vec<proc_macro2::Ident>) {
            for token in tokens {
                match token {
                    TokenTree::Group(group) => orderings(group.stream(), into),
                    TokenTree::Ident(ident) if ORDERINGS.iter().any(|name| ident == name) => {
                        into.push(ident);
                    }
                    _ => {}
                }
            }
        }
        let mut found = Vec::new();
        orderings(quote::ToTokens::to_token_stream(self.statement), &mut found);
        if found.is_empty() {
            self.no("ordering");
        }
        let before = format!("crate::sync::unless_planted({}, ", self.number);
        found.iter().map(|ordering| Self::around(ordering, before.clone(), ")")).collect()
    }

    /// The next statement, a `let`: what is assigned to, and the value.
    fn let_of<'b>(&self, statement: &'b Stmt) -> (&'b Pat, &'b Expr) {
        match statement {
            Stmt::Local(local) => match &local.init {
                Some(init) if init.diverge.is_none() => (&local.pat, &init.expr),
                _ => self.no("`let` with a value"),
            },
            _ => self.no("`let`"),
        }
    }

    fn swapped(&self) -> Vec<Edit> {
        self.expression();
        let next = self.next.unwrap_or_else(|| self.no("next one"));
        let (pattern, value) = self.let_of(next);
        let (pattern, first) = (self.source(pattern), bytes(self.statement));
        let parts = vec![
            text(format!("let {pattern} = if {} {{ let early = ", self.planted())),
            Part::Source(bytes(value)),
            text("; "),
            Part::Source(first.clone()),
            text(" early } else { "),
            Part::Source(first.clone()),
            text(" "),
            Part::Source(bytes(value)),
            text(" };"),
        ];
        vec![Edit { range: first.start..bytes(next).end, parts }]
    }

    fn again(&self) -> Vec<Edit> {
        let (pattern, value) = self.let_of(self.statement);
        let next = self.next.unwrap_or_else(|| self.no("next one"));
        let at = bytes(next).end;
        let (pattern, value) = (self.source(pattern), self.source(value));
        let again =
            format!(" let {pattern} = if {} {{ {value} }} else {{ {pattern} }};", self.planted());
        vec![Edit { range: at..at, parts: vec![text(again)] }]
    }
}

struct First<T, F> {
    find: F,
    found: Option<T>,
}

impl<'a, T, F: FnMut(&Expr) -> Option<T>> Visit<'a> for First<T, F> {
    fn visit_expr(&mut self, expression: &'a Expr) {
        if self.found.is_none() {
            self.found = (self.find)(expression);
            visit::visit_expr(self, expression);
        }
    }
}
