//! The C programs of the README and the guide are compiled and run as they stand there.
//! (The Rust ones are documentation tests of the crate; the one without a C library is run
//! by `hosts.rs`, the templates of `no_std` by `templates.rs`.)

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{c_compiler, command, compile, libraries, root, scratch};

fn block<'a>(text: &'a str, language: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("\n```{language}\n")).expect("the page has one");
    rest.split_once("\n```").expect("it ends").0
}

/// The text of a page, and what its C program prints.
fn run_page(page: &str, name: &str) -> (String, String) {
    let text = fs::read_to_string(root().join(page)).expect("a page");
    let source = scratch(name).with_extension("c");
    fs::write(&source, block(&text, "c")).expect("a source file");
    let program = source.with_extension("out");
    let mut cc = Command::new(c_compiler());
    // An unwinder that is linked is found where a cross compiler has one.
    cc.args(["-funwind-tables", "-Wl,--no-as-needed", "-lgcc_s"]);
    cc.arg("-I").arg(root().join("include")).arg(&source);
    cc.arg(libraries().join("libneedm.a")).args(["-pthread", "-o"]).arg(&program);
    compile(&mut cc);
    let ran = command(Path::new(&program)).output().expect("it starts");
    assert!(ran.status.success(), "{ran:?}");
    (text, String::from_utf8_lossy(&ran.stdout).into_owned())
}

#[test]
fn the_c_program_of_the_readme_runs() {
    let (text, printed) = run_page("README.md", "readme");
    assert!(printed.contains("signal 11 at address 0"), "{printed}");
    assert!(text.contains(printed.trim()), "the page does not say: {printed}");
}

/// Each is measured or tested where it belongs; here, that the page says the same.
#[test]
fn the_numbers_of_the_readme_are_those_of_the_crate() {
    let text = fs::read_to_string(root().join("README.md")).expect("a page");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let says = |words: &str| assert!(text.contains(words), "the README does not say: {words}");
    // `nosplit/` counts them in the built library.
    says(&format!("is {} instructions", common::arch::named("x86_64").fast_instructions));
    let kib = |bytes: usize| format!("{} KiB", bytes / 1024);
    if usize::BITS == 64 {
        says(&format!("More than {} deferred functions pending at once", needm::MAX_DEFERRED));
        says(&format!("{} MiB, on 32 bits 64 KiB", needm::DEFAULT_GUARD_SIZE / (1024 * 1024)));
    } else {
        says(&format!("pending at once (on 32 bits {})", needm::MAX_DEFERRED));
        says(&format!("1 MiB, on 32 bits {}", kib(needm::DEFAULT_GUARD_SIZE)));
        says(&format!(
            "needs more than {}, the default on 32 bits",
            kib(needm::DEFAULT_STACK_SIZE)
        ));
    }
}

/// Runs the program of a page of the guide, which shows what it prints.
fn prints_what_its_page_says(name: &str) {
    let (text, printed) = run_page(&format!("src/guide/{name}.md"), name);
    assert_eq!(printed.trim_end(), block(&text, "text"));
}

macro_rules! pages {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            prints_what_its_page_says(stringify!($name));
        }
    )*};
}

pages! { c_host plugin_host collector runtimes sizing }

/// Its callbacks are interrupted, so their threads return from handlers.
#[test]
fn watchdog() {
    if common::is_emulated() && common::arch::own().qemu_mixes_up_threads {
        eprintln!("skipped: an interrupted thread gets another one's thread pointer");
        return;
    }
    prints_what_its_page_says("watchdog");
}

/// Programs that show what an emulator lacks: filters of system calls, and which thread has a page fault.
mod natively {
    use crate::common::is_emulated;

    macro_rules! pages {
        ($($name:ident)*) => {$(
            #[test]
            fn $name() {
                if is_emulated() {
                    eprintln!("skipped: runs natively");
                    return;
                }
                crate::prints_what_its_page_says(stringify!($name));
            }
        )*};
    }

    pages! { real_time sandboxes }
}

#[test]
fn the_page_names_the_rust_version_and_the_licence_of_the_manifest() {
    let page = fs::read_to_string(root().join("README.md")).expect("a page");
    let version = env!("CARGO_PKG_RUST_VERSION");
    assert!(page.contains(&format!("/badge/rust-{version}%2B-")), "{version}");
    assert!(page.contains(&format!("Rust {version} or later")), "{version}");
    assert_eq!(env!("CARGO_PKG_LICENSE"), "MIT OR Apache-2.0");
    assert!(page.contains("/badge/licence-MIT%20or%20Apache--2.0-"));
}
