//! Writes what the tests include: the shipped sources, and the models' own, as modules; and
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
include!("bugs_at_ends.rs");

/// What a kernel of the models consists of.
struct Kernel {
    /// The shipped sources that are modules of it, and those inside of these.
    shipped: &'static [(&'static str, &'static str)],
    inner: &'static [&'static str],
    /// The models' own modules.
    own: &'static [&'static str],
    /// What of `own` stands for parts of the kernel.
    uses: &'static str,
}

/// Threads do not end.
const LASTING: Kernel = Kernel {
    shipped: &[
        ("error", "error.rs"),
        ("extra", "extra/mod.rs"),
        ("layout", "layout.rs"),
        ("list", "list.rs"),
        ("world", "world.rs"),
    ],
    inner: &["extra/make.rs"],
    own: &["sync.rs", "rest.rs", "lasting.rs", "checks.rs"],
    uses: "use lasting::*;\nuse rest::*;\n",
};

/// They do.
const ENDING: Kernel = Kernel {
    shipped: &[
        ("error", "error.rs"),
        ("extra", "extra/mod.rs"),
        ("layout", "layout.rs"),
        ("list", "list.rs"),
        ("needm", "needm.rs"),
        ("thread", "thread/mod.rs"),
        ("tls", "tls.rs"),
        ("world", "world.rs"),
    ],
    inner: &["extra/make.rs", "thread/record.rs", "thread/robust.rs"],
    own: &["sync.rs", "rest.rs", "system.rs", "ending.rs", "ends.rs"],
    uses: "use ending::{arch, os, runtime, settle, signal, table, trim};\nuse rest::*;\n",
};

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("the output can be written");
}

impl Kernel {
    /// A copy of all sources with the bug planted, for a module of the bug's name.
    fn plant(&self, bug: &Bug, sources: &Path, own: &Path, to: &Path) {
        let shipped = self.shipped.iter().map(|(_, file)| *file).chain(self.inner.iter().copied());
        let files = shipped.map(|file| (sources, file));
        let mut planted = false;
        for (from, file) in files.chain(self.own.iter().map(|file| (own, *file))) {
            let mut text = fs::read_to_string(from.join(file)).expect("a source");
            if file == bug.source {
                let found = text.matches(bug.from).count();
                assert_eq!(found, 1, "{}: {:?} is {found} times in {file}", bug.name, bug.from);
                text = text.replace(bug.from, bug.to);
                planted = true;
            }
            write(&to.join(file), &text.replace("crate::", &format!("crate::{}::", bug.name)));
        }
        assert!(planted, "{}: there is no {}", bug.name, bug.source);
    }

    /// Its modules.
    fn modules(&self, sources: &Path, own: &Path) -> String {
        let own = self.own.iter().map(|file| (file.trim_end_matches(".rs"), own.join(file)));
        let shipped = self.shipped.iter().map(|(module, file)| (*module, sources.join(file)));
        let mut text = String::new();
        for (module, path) in shipped.chain(own) {
            writeln!(text, "#[path = {path:?}]\npub(crate) mod {module};").expect("text");
        }
        text + self.uses
    }
}

fn main() {
    let models = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let sources = models.parent().expect("the repository").join("src");
    let own = models.join("model");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for path in ["build.rs", "bugs.rs", "bugs_at_ends.rs", "model", "../src"] {
        println!("cargo:rerun-if-changed={path}");
    }
    let mut planted = String::new();
    for (name, kernel, bugs) in [("shipped", LASTING, BUGS), ("ends", ENDING, BUGS_AT_ENDS)] {
        write(&out.join(name).with_extension("rs"), &kernel.modules(&sources, &own));
        for bug in bugs {
            let copy = out.join("planted").join(bug.name);
            kernel.plant(bug, &sources, &own, &copy);
            let modules = kernel.modules(&copy, &copy);
            writeln!(planted, "mod {} {{\n{modules}}}", bug.name).expect("text");
        }
    }
    write(&out.join("planted.rs"), &planted);
}
