//! From text to values, and back.

use std::fmt::Write as _;
use std::sync::Mutex;

use crate::heap::{self, Kind, ROOTS, Value};

/// Names of symbols. A symbol's number is also that of the root with its global value.
static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The symbol with a name.
pub(crate) fn symbol(name: &str) -> Result<usize, String> {
    let mut names = NAMES.lock().expect("no thread panics with it");
    if let Some(index) = names.iter().position(|known| known == name) {
        return Ok(index);
    }
    // The last root is for functions that are passed to C.
    if names.len() == ROOTS.len() - 1 {
        return Err("too many names".into());
    }
    names.push(name.into());
    Ok(names.len() - 1)
}

pub(crate) fn name(index: usize) -> String {
    NAMES.lock().expect("no thread panics with it")[index].clone()
}

pub(crate) fn pair(first: Value, second: Value) -> Result<Value, String> {
    heap::pair(first, second, false).ok_or_else(|| "out of memory".into())
}

/// What remains of a text.
pub(crate) struct Reader<'a>(pub(crate) &'a str);

impl<'a> Reader<'a> {
    /// The next value; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Value>, String> {
        let Some(token) = self.token() else { return Ok(None) };
        self.value(token).map(Some)
    }

    fn token(&mut self) -> Option<&'a str> {
        loop {
            self.0 = self.0.trim_start();
            let Some(comment) = self.0.strip_prefix(';') else { break };
            self.0 = comment.split_once('\n').map_or("", |(_, rest)| rest);
        }
        let text = self.0;
        let ends = |c: char| c.is_whitespace() || "();'".contains(c);
        let length = match text.chars().next()? {
            '(' | ')' | '\'' => 1,
            _ => text.find(ends).unwrap_or(text.len()),
        };
        let (token, rest) = text.split_at(length);
        self.0 = rest;
        Some(token)
    }

    fn value(&mut self, token: &str) -> Result<Value, String> {
        match token {
            "(" => self.list(),
            ")" => Err("a ) without its (".into()),
            "'" => {
                let quoted = self.next()?.ok_or("nothing after '")?;
                let quote = Value::symbol(symbol("quote")?);
                pair(quote, pair(quoted, Value::NIL)?)
            }
            _ => match token.parse() {
                Ok(number) => Ok(Value::number(number)),
                Err(_) => symbol(token).map(Value::symbol),
            },
        }
    }

    fn list(&mut self) -> Result<Value, String> {
        let token = self.token().ok_or("a ( without its )")?;
        if token == ")" {
            return Ok(Value::NIL);
        }
        let first = self.value(token)?;
        let rest = self.list()?;
        pair(first, rest)
    }
}

/// As text.
pub(crate) fn show(value: Value) -> String {
    match value.kind() {
        Kind::Number(number) => number.to_string(),
        Kind::Symbol(index) => name(index),
        Kind::BuiltIn(_) | Kind::Function(_) => "a function".into(),
        Kind::Nil => "()".into(),
        Kind::Pair(_) => {
            let (mut text, mut at) = (String::from("("), value);
            while let Kind::Pair(cell) = at.kind() {
                let space = if at == value { "" } else { " " };
                let _ = write!(text, "{space}{}", show(cell.first()));
                at = cell.second();
            }
            let end = if at.is_nil() { String::new() } else { format!(" . {}", show(at)) };
            text + &end + ")"
        }
    }
}
