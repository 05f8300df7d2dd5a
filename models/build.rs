//! Writes what the tests include: the shipped sources, and the model's own, as modules; and
//! copies of them all for each planted bug, one place of one source replaced.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// A bug: its name, the source it is planted in, and what becomes what there.
struct Bug {
    name: &'static str,
    source: &'static str,
    from: &'static str,
    to: &'static str,
}

include!("bugs.rs");

/// The shipped sources, as modules of a variant.
const SHIPPED: [(&str, &str); 5] = [
    ("error", "error.rs"),
    ("extra", "extra/mod.rs"),
    ("layout", "layout.rs"),
    ("list", "list.rs"),
    ("world", "world.rs"),
];

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("the output can be written");
}

/// The model's own modules.
const OWN: [&str; 3] = ["sync.rs", "rest.rs", "checks.rs"];

/// A copy of all sources with the bug planted, for a module of the bug's name.
fn plant(bug: &Bug, sources: &Path, own: &Path, to: &Path) {
    let shipped = SHIPPED.iter().map(|(_, file)| *file).chain(["extra/make.rs"]);
    let files = shipped.map(|file| (sources, file)).chain(OWN.map(|file| (own, file)));
    for (from, file) in files {
        let mut text = fs::read_to_string(from.join(file)).expect("a source");
        if file == bug.source {
            let found = text.matches(bug.from).count();
            assert_eq!(found, 1, "{}: {:?} is {found} times in {file}", bug.name, bug.from);
            text = text.replace(bug.from, bug.to);
        }
        write(&to.join(file), &text.replace("crate::", &format!("crate::{}::", bug.name)));
    }
}

/// The modules of a kernel.
fn modules(sources: &Path, own: &Path) -> String {
    let own = OWN.map(|file| (file.trim_end_matches(".rs"), own.join(file)));
    let shipped = SHIPPED.map(|(module, file)| (module, sources.join(file)));
    let mut text = String::new();
    for (module, path) in shipped.into_iter().chain(own) {
        writeln!(text, "#[path = {path:?}]\npub(crate) mod {module};").expect("text");
    }
    text + "use rest::*;\n"
}

fn main() {
    let models = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let sources = models.parent().expect("the repository").join("src");
    let own = models.join("model");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for path in ["build.rs", "bugs.rs", "model", "../src"] {
        println!("cargo:rerun-if-changed={path}");
    }
    write(&out.join("shipped.rs"), &modules(&sources, &own));
    let mut planted = String::new();
    for bug in BUGS {
        let copy = out.join("planted").join(bug.name);
        plant(bug, &sources, &own, &copy);
        writeln!(planted, "mod {} {{\n{}}}", bug.name, modules(&copy, &copy)).expect("text");
    }
    write(&out.join("planted.rs"), &planted);
}
