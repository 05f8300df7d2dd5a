//! The language: evaluating a value, and the built-in functions.

use std::ffi::{c_int, c_long};
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, Ordering::SeqCst};

use needm::Context;

use crate::heap::{self, Cell, Kind, ROOTS, Value};
use crate::read::{name, pair, show, symbol};

/// What an evaluation gives, or an error of the language.
pub(crate) type Answer = Result<Value, String>;

/// Stack that an evaluation keeps free for what it calls: with less it is too deep.
const ROOM: usize = 32 * 1024;

/// Special forms, in the order of their symbols.
const FORMS: [&str; 6] = ["quote", "if", "lambda", "define", "set!", "try"];

type BuiltIn = fn(&Run<'_, '_, '_>, &[Value]) -> Answer;

const BUILT_INS: [(&str, BuiltIn); 12] = [
    ("+", |_, args| numbers(args, |a, b| a + b)),
    ("-", |_, args| numbers(args, |a, b| a - b)),
    ("*", |_, args| numbers(args, |a, b| a * b)),
    ("mod", |_, args| match number(args, 1)? {
        0 => Err("division by zero".into()),
        by => Ok(Value::number(number(args, 0)?.rem_euclid(by))),
    }),
    ("<", |_, args| Ok(truth(number(args, 0)? < number(args, 1)?))),
    ("=", |_, args| Ok(truth(argument(args, 0)? == argument(args, 1)?))),
    ("null?", |_, args| Ok(truth(argument(args, 0)?.is_nil()))),
    ("cons", |_, args| pair(argument(args, 0)?, argument(args, 1)?)),
    ("car", |_, args| cell(argument(args, 0)?).map(Cell::first)),
    ("cdr", |_, args| cell(argument(args, 0)?).map(Cell::second)),
    ("print", |_, args| {
        println!("{}", args.iter().map(|value| show(*value)).collect::<Vec<_>>().join(" "));
        Ok(Value::NIL)
    }),
    ("threads", threads),
];

/// The most arguments of a built-in function. They are kept in an array on the stack, where a
/// collection finds them, and not in a `Vec`, where it would not.
const MOST: usize = 4;

/// Makes the symbols of the special forms, and the globals of the built-in functions.
pub(crate) fn prepare() -> Result<(), String> {
    for (index, form) in FORMS.iter().enumerate() {
        assert_eq!(symbol(form)?, index, "forms come first");
    }
    for (index, (name, _)) in BUILT_INS.iter().enumerate() {
        Value::built_in(index).store(&ROOTS[symbol(name)?]);
    }
    Ok(())
}

fn truth(value: bool) -> Value {
    if value { Value::number(1) } else { Value::NIL }
}

fn argument(args: &[Value], index: usize) -> Answer {
    args.get(index).copied().ok_or_else(|| "an argument is missing".into())
}

fn number(args: &[Value], index: usize) -> Result<isize, String> {
    match argument(args, index)?.kind() {
        Kind::Number(number) => Ok(number),
        _ => Err(format!("not a number: {}", show(args[index]))),
    }
}

fn numbers(args: &[Value], f: fn(isize, isize) -> isize) -> Answer {
    Ok(Value::number(f(number(args, 0)?, number(args, 1)?)))
}

fn cell(value: Value) -> Result<&'static Cell, String> {
    match value.kind() {
        Kind::Pair(cell) => Ok(cell),
        _ => Err(format!("not a pair: {}", show(value))),
    }
}

/// A callback in which the language runs.
pub(crate) struct Run<'a, 'scope, 'env> {
    cx: &'a Context<'scope, 'env>,
    /// An address of the stack; below it an evaluation is too deep.
    deepest: usize,
}

impl<'a, 'scope, 'env> Run<'a, 'scope, 'env> {
    pub(crate) fn new(cx: &'a Context<'scope, 'env>) -> Self {
        let lo = cx.m().map_or(0, |m| m.g_bounds().0);
        Self { cx, deepest: lo + ROOM }
    }

    /// The value of an expression.
    ///
    /// It has a safepoint each time round: a loop of the language stops there, and a call
    /// is one more round.
    pub(crate) fn eval(&self, mut expression: Value, mut scope: Value) -> Answer {
        loop {
            needm::safepoint();
            let here = 0_u8;
            if (&raw const here as usize) < self.deepest {
                return Err("the stack is too deep".into());
            }
            let form = match expression.kind() {
                Kind::Symbol(index) => return lookup(index, scope),
                Kind::Pair(form) => form,
                _ => return Ok(expression),
            };
            let rest = form.second();
            match form.first().kind() {
                Kind::Symbol(index) if index < FORMS.len() => {
                    let first = cell(rest)?.first();
                    let second = || Ok::<_, String>(cell(cell(rest)?.second())?.first());
                    match FORMS[index] {
                        "quote" => return Ok(first),
                        "if" => {
                            let branches = cell(cell(rest)?.second())?;
                            let condition = self.eval(first, scope)?;
                            let chosen = if condition.is_nil() {
                                cell(branches.second())?.first()
                            } else {
                                branches.first()
                            };
                            expression = chosen;
                        }
                        "lambda" => {
                            let code = pair(first, second()?)?;
                            let function = heap::pair(code, scope, true);
                            return function.ok_or_else(|| "out of memory".into());
                        }
                        "try" => match self.eval(first, scope) {
                            Ok(value) => return Ok(value),
                            Err(_) => expression = second()?,
                        },
                        _ => {
                            let Kind::Symbol(variable) = first.kind() else {
                                return Err(format!("not a name: {}", show(first)));
                            };
                            let value = self.eval(second()?, scope)?;
                            set(variable, value, scope);
                            return Ok(value);
                        }
                    }
                }
                _ => {
                    let function = self.eval(form.first(), scope)?;
                    let args = self.eval_list(rest, scope)?;
                    match function.kind() {
                        Kind::BuiltIn(index) => return self.call_built_in(index, args),
                        Kind::Function(code) => {
                            (expression, scope) = enter(code, args)?;
                        }
                        _ => return Err(format!("not a function: {}", show(function))),
                    }
                }
            }
        }
    }

    /// The values of a list of expressions, as a list.
    fn eval_list(&self, list: Value, scope: Value) -> Answer {
        if list.is_nil() {
            return Ok(list);
        }
        let first = self.eval(cell(list)?.first(), scope)?;
        let rest = self.eval_list(cell(list)?.second(), scope)?;
        pair(first, rest)
    }

    fn call_built_in(&self, index: usize, mut list: Value) -> Answer {
        let (mut args, mut count) = ([Value::NIL; MOST], 0);
        while let Kind::Pair(cell) = list.kind() {
            *args.get_mut(count).ok_or("too many arguments")? = cell.first();
            count += 1;
            list = cell.second();
        }
        BUILT_INS[index].1(self, &args[..count])
    }

    /// Calls a function with two numbers, as C does.
    fn call(&self, function: Value, numbers: [isize; 2]) -> Answer {
        let [first, second] = numbers.map(Value::number);
        let args = pair(first, pair(second, Value::NIL)?)?;
        match function.kind() {
            Kind::Function(code) => {
                let (expression, scope) = enter(code, args)?;
                self.eval(expression, scope)
            }
            Kind::BuiltIn(index) => self.call_built_in(index, args),
            _ => Err(format!("not a function: {}", show(function))),
        }
    }
}

/// The body of a function, and its environment with the parameters bound.
fn enter(function: &Cell, mut args: Value) -> Result<(Value, Value), String> {
    let code = cell(function.first())?;
    let (mut parameters, mut scope) = (code.first(), function.second());
    while let Kind::Pair(parameter) = parameters.kind() {
        let arg = cell(args).map_err(|_| "an argument is missing")?;
        scope = pair(pair(parameter.first(), arg.first())?, scope)?;
        (parameters, args) = (parameter.second(), arg.second());
    }
    Ok((code.second(), scope))
}

/// The pair of a name and its value in the innermost environment that has the name.
fn binding(index: usize, mut scope: Value) -> Option<&'static Cell> {
    while let Kind::Pair(entry) = scope.kind() {
        if let Kind::Pair(bound) = entry.first().kind()
            && bound.first() == Value::symbol(index)
        {
            return Some(bound);
        }
        scope = entry.second();
    }
    None
}

fn lookup(index: usize, scope: Value) -> Answer {
    let value = match binding(index, scope) {
        Some(bound) => bound.second(),
        None => Value::load(&ROOTS[index]),
    };
    if value.is_nil() && binding(index, scope).is_none() {
        return Err(format!("no value: {}", name(index)));
    }
    Ok(value)
}

fn set(index: usize, value: Value, scope: Value) {
    value.store(binding(index, scope).map_or(&ROOTS[index], |bound| &bound.second));
}

unsafe extern "C" {
    /// `examples/cthread/threads.c`.
    fn cthread_run(threads: c_long, calls: c_long, call: extern "C" fn(c_long, c_long)) -> c_int;
}

/// One run of threads at a time, and the first error of its calls.
static THREADS: Mutex<()> = Mutex::new(());
static SUM: AtomicIsize = AtomicIsize::new(0);
static ERROR: Mutex<Option<String>> = Mutex::new(None);

/// `(threads N CALLS F)`: has C make N threads, each of which calls F with its number and that of
/// the call, CALLS times. The sum of what F returned.
fn threads(run: &Run<'_, '_, '_>, args: &[Value]) -> Answer {
    let (count, calls, function) = (number(args, 0)?, number(args, 1)?, argument(args, 2)?);
    let count = c_long::try_from(count).ok().filter(|count| (1..=1000).contains(count));
    let calls = c_long::try_from(calls).ok().filter(|calls| *calls > 0);
    let (Some(count), Some(calls)) = (count, calls) else { return Err("not a count".into()) };
    let Ok(_only) = THREADS.try_lock() else { return Err("threads run already".into()) };
    // What C will call is in no callback's frame while C has it.
    let root = &ROOTS[ROOTS.len() - 1];
    function.store(root);
    SUM.store(0, SeqCst);
    // A collection does not wait for C, which waits for threads that may be in a collection.
    // SAFETY: `from_c` takes any two numbers, on any thread, and the threads are joined.
    let refused = run.cx.ccall(|| unsafe { cthread_run(count, calls, from_c) });
    Value::NIL.store(root);
    let error = ERROR.lock().expect("no thread panics with it").take();
    match (refused, error) {
        (Ok(0), None) => Ok(Value::number(SUM.load(SeqCst))),
        (_, Some(error)) => Err(error),
        _ => Err("not all threads could be made".into()),
    }
}

/// What C calls, on its thread: a function of the language.
extern "C" fn from_c(thread: c_long, call: c_long) {
    let answer = needm::callback(|cx| {
        let function = Value::load(&ROOTS[ROOTS.len() - 1]);
        let numbers = [thread, call].map(|number| isize::try_from(number).unwrap_or(0));
        // A pair must not leave the callback: only here is it kept by being on the stack.
        match Run::new(cx).call(function, numbers)?.kind() {
            Kind::Number(number) => Ok(number),
            _ => Err("the function gave no number".to_owned()),
        }
    });
    match answer {
        Ok(Ok(number)) => {
            SUM.fetch_add(number, SeqCst);
        }
        Ok(Err(error)) => note(error),
        Err(error) => note(error.to_string()),
    }
}

fn note(error: String) {
    ERROR.lock().expect("no thread panics with it").get_or_insert(error);
}
