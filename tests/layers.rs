//! The layers of the source: a file imports only what lies below it.
//!
//! `src/lib.rs` lists its modules from the top down. A path that starts at `crate`, `super` or
//! `self`, in a `use` or anywhere else in the code, is an import. Between two modules of the
//! list it must go down; between the files of one module there must be no circle. Calls from
//! assembly go by symbol and are listed in `arch/README.md`.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module's path below `crate`, and the paths that its file imports, each from `crate` on.
type Module = Vec<String>;

/// Every file by its module, with its text.
#[derive(Clone)]
struct Sources {
    files: Vec<(PathBuf, Module, String)>,
    /// The modules of `src/lib.rs`, from the top down.
    order: Vec<String>,
}

impl Sources {
    fn of_this_crate() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        for (folder, prefix) in [("src", vec![]), ("arch", vec!["arch".to_owned()])] {
            collect(&root.join(folder), &prefix, &mut files);
        }
        let lib = std::fs::read_to_string(root.join("src/lib.rs")).expect("src/lib.rs is there");
        Self { files, order: declared_modules(&lib) }
    }

    fn with(mut self, file: &str, text: &str) -> Self {
        let (.., old) = self
            .files
            .iter_mut()
            .find(|(path, ..)| path.ends_with(file))
            .unwrap_or_else(|| panic!("no file {file}"));
        old.push_str(text);
        self
    }

    /// What is wrong, a sentence each.
    fn violations(&self) -> Vec<String> {
        let modules: BTreeSet<&Module> = self.files.iter().map(|(_, module, _)| module).collect();
        let rank = |name: &String| self.order.iter().position(|listed| listed == name);
        let mut found = Vec::new();
        let mut inside: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
        for (path, module, text) in &self.files {
            let Some(own) = module.first() else { continue };
            let Some(own_rank) = rank(own) else {
                found.push(format!("{}: src/lib.rs does not list `{own}`", path.display()));
                continue;
            };
            for import in imports(module, text) {
                let shown = import.join("::");
                // Rust puts an exported macro at the root, wherever it is written.
                if text.contains(&format!("macro_rules! {shown} ")) {
                    continue;
                }
                let Some(target) = import.first().and_then(rank) else {
                    found.push(format!("{}: `crate::{shown}` is the root's", path.display()));
                    continue;
                };
                if target < own_rank {
                    found.push(format!("{}: `crate::{shown}` runs up", path.display()));
                }
                if target == own_rank {
                    let mut prefixes = (1..=import.len()).rev().map(|len| import[..len].to_vec());
                    let target = prefixes.find_map(|prefix| modules.get(&prefix).copied());
                    inside.entry(module).or_default().extend(target.filter(|to| *to != module));
                }
            }
        }
        found.extend(circle(&inside).map(|circle| format!("a circle: {circle}")));
        found
    }
}

/// The Rust files under `folder`, whose module is `prefix`.
fn collect(folder: &Path, prefix: &[String], into: &mut Vec<(PathBuf, Module, String)>) {
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a plain name");
        let mut module = prefix.to_vec();
        if path.is_dir() {
            module.push(name.to_owned());
            collect(&path, &module, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            if name != "mod" && !(prefix.is_empty() && name == "lib") {
                module.push(name.to_owned());
            }
            let text = std::fs::read_to_string(&path).expect("the file can be read");
            into.push((path, module, text));
        }
    }
}

fn tokens_of(text: &str) -> Vec<TokenTree> {
    let stream: TokenStream = text.parse().expect("the file is Rust");
    stream.into_iter().collect()
}

fn is_ident(token: Option<&TokenTree>, name: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == name)
}

fn is_punct(token: Option<&TokenTree>, sign: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

/// The modules that a file declares without a body, in their order.
fn declared_modules(text: &str) -> Vec<String> {
    let tokens = tokens_of(text);
    let declared = tokens
        .windows(3)
        .filter(|three| is_ident(three.first(), "mod") && is_punct(three.last(), ';'));
    declared.map(|three| three[1].to_string()).collect()
}

/// Every path of `text` that starts at `crate`, `super` or `self`, from `crate` on.
fn imports(module: &Module, text: &str) -> Vec<Module> {
    let mut found = Vec::new();
    walk(&tokens_of(text), module, &mut found);
    found
}

fn walk(tokens: &[TokenTree], module: &Module, found: &mut Vec<Module>) {
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Ident(ident) if is_path_sign(tokens, at + 1) => {
                let start = match ident.to_string().as_str() {
                    "crate" => Some(Module::new()),
                    "self" => Some(module.clone()),
                    "super" => Some(parent(module)),
                    _ => None,
                };
                // `a::self::b` is no path; `a::super` neither: a keyword starts one.
                if let Some(start) = start.filter(|_| !follows_path_sign(tokens, at)) {
                    tails(&tokens[at + 3..], start, found);
                }
            }
            TokenTree::Group(group) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                // The body of a module inside this file: its `super` is the file's module.
                let is_module = group.delimiter() == Delimiter::Brace
                    && at >= 2
                    && is_ident(tokens.get(at - 2), "mod");
                let mut own = module.clone();
                if is_module {
                    own.push(tokens[at - 1].to_string());
                }
                walk(&inner, &own, found);
            }
            _ => {}
        }
        at += 1;
    }
}

fn parent(module: &Module) -> Module {
    module.split_last().map(|(_, rest)| rest.to_vec()).unwrap_or_default()
}

fn is_path_sign(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}

fn follows_path_sign(tokens: &[TokenTree], at: usize) -> bool {
    at >= 2 && is_path_sign(tokens, at - 2)
}

/// The paths that go on at `tokens` from `path`: one, or those of a group.
fn tails(tokens: &[TokenTree], mut path: Module, found: &mut Vec<Module>) {
    let mut at = 0;
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(ident)) if ident == "super" => path = parent(&path),
            Some(TokenTree::Ident(ident)) if ident == "self" => {}
            Some(TokenTree::Ident(ident)) => path.push(ident.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                for one in inner.split(|token| is_punct(Some(token), ',')) {
                    if !one.is_empty() {
                        tails(one, path.clone(), found);
                    }
                }
                return;
            }
            _ => break,
        }
        if !is_path_sign(tokens, at + 1) {
            break;
        }
        at += 3;
    }
    found.push(path);
}

/// The modules of a circle, if there is one.
fn circle(imports: &BTreeMap<&Module, BTreeSet<&Module>>) -> Option<String> {
    let mut done = BTreeSet::new();
    imports.keys().find_map(|start| visit(start, imports, &mut Vec::new(), &mut done))
}

fn visit<'a>(
    at: &'a Module,
    imports: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
    way: &mut Vec<&'a Module>,
    done: &mut BTreeSet<&'a Module>,
) -> Option<String> {
    if let Some(from) = way.iter().position(|seen| *seen == at) {
        let names = way[from..].iter().map(|module| module.join("::"));
        return Some(names.chain([at.join("::")]).collect::<Vec<_>>().join(" -> "));
    }
    if !done.insert(at) {
        return None;
    }
    way.push(at);
    let next = imports.get(at).into_iter().flatten();
    let found = next.into_iter().find_map(|next| visit(next, imports, way, done));
    way.pop();
    found
}

#[test]
fn no_file_imports_what_lies_above_it_and_there_is_no_circle() {
    let sources = Sources::of_this_crate();
    assert!(sources.files.len() > 40 && sources.order.len() > 20, "the sources were not found");
    let violations = sources.violations();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// Each planted import must be found, and nothing else.
fn is_caught(file: &str, text: &str, said: &str) {
    let violations = Sources::of_this_crate().with(file, text).violations();
    assert!(violations.iter().any(|one| one.contains(said)), "not found: {said}: {violations:?}");
}

#[test]
fn a_use_that_runs_up_is_caught() {
    is_caught("src/gate.rs", "use crate::world::stop;", "`crate::world::stop` runs up");
}

#[test]
fn a_path_without_use_that_runs_up_is_caught() {
    is_caught("src/sync.rs", "fn f() { crate::m::MS.len(); }", "`crate::m::MS` runs up");
}

#[test]
fn a_path_in_a_group_or_a_macro_that_runs_up_is_caught() {
    is_caught("src/table.rs", "use crate::{os, tls::{self, Tls}};", "`crate::tls::Tls` runs up");
    is_caught("src/table.rs", "print!(\"{}\", crate::api::x());", "`crate::api::x` runs up");
}

#[test]
fn a_path_through_super_that_runs_up_is_caught() {
    is_caught("src/sync.rs", "use super::pool::EXTRA;", "`crate::pool::EXTRA` runs up");
    is_caught("src/sync.rs", "mod a { use super::super::m; }", "`crate::m` runs up");
    is_caught("arch/mod.rs", "use super::os;", "`crate::os` runs up");
}

#[test]
fn an_import_from_the_root_is_caught() {
    is_caught("src/world.rs", "use crate::Error as E;", "`crate::Error` is the root's");
}

#[test]
fn a_circle_inside_a_module_is_caught() {
    is_caught("src/callback/defer.rs", "use super::exit::exit;", "a circle: callback::");
}

#[test]
fn comments_and_texts_are_no_imports() {
    let text = "/// crate::world::stop\nfn f() { \"crate::world::stop\"; } // crate::world";
    let sources = Sources::of_this_crate().with("src/sync.rs", text);
    assert_eq!(sources.violations(), Vec::<String>::new());
}
