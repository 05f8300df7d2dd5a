//! Reads from the built library what is promised of a callback's path: how much of the
//! caller's stack it uses, and that nothing on it allocates, panics, recurses, or calls
//! anything outside needm, except where `nosplit/lists.rs` gives a reason. On the fast
//! paths there is no system call, and no atomic read-modify-write but the one that rebinds
//! an M.
//!
//! The library is the one that `qemu/build` makes, for any architecture: `tests/common/mod.rs` finds it.

#[path = "../common/mod.rs"]
mod common;

mod aarch64;
mod arm;
mod code;
mod decoders;
mod image;
mod lists;
mod riscv;
mod walk;
mod x86;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use common::{arch, c_compiler, libraries, manner, root, scratch};
use image::Image;
use lists::Promise;
use walk::{Finding, FirstBranch, Report};

fn library() -> Image {
    let path = libraries().join("libneedm.so");
    let image = Image::read(&fs::read(&path).expect("the library can be read"));
    assert!(image.named("needm_entry").is_some(), "{} has lost its symbols", path.display());
    image
}

fn is_panic(name: &str) -> bool {
    [
        "core::panicking",
        "core::slice::index::slice",
        "core::option::unwrap_failed",
        "core::result::unwrap_failed",
        "core::option::expect_failed",
        "rust_begin_unwind",
    ]
    .iter()
    .any(|part| name.contains(part))
}

fn is_allocator(name: &str) -> bool {
    [
        "__rust_alloc",
        "__rust_realloc",
        "__rust_dealloc",
        "alloc::",
        "malloc",
        "calloc",
        "realloc",
        "free",
        "mmap",
    ]
    .iter()
    .any(|part| name == *part || name.contains("::") && name.contains(part))
}

/// The place of a function in the list of calls through pointers.
fn indirect(function: &str) -> Option<usize> {
    lists::INDIRECT.iter().position(|(suffix, ..)| function.ends_with(suffix))
}

/// How a report breaks a promise.
fn broken(promise: &Promise, report: &Report) -> Vec<String> {
    let mut broken = Vec::new();
    if report.depth > promise.limit {
        let chain = report.chain.join(" -> ");
        broken.push(format!(
            "uses {} bytes of stack, {} allowed: {chain}",
            report.depth, promise.limit
        ));
    }
    let mut atomics = 0;
    let mut calls = BTreeMap::new();
    for finding in &report.findings {
        match finding {
            Finding::SystemCall { .. } if promise.system_calls => {}
            Finding::Atomic { .. } => atomics += 1,
            Finding::Outside { symbol, .. } if lists::COMPILERS_OWN.contains(&symbol.as_str()) => {}
            Finding::Indirect { function, .. } if indirect(function).is_some() => {
                *calls.entry(indirect(function)).or_insert(0) += 1;
            }
            other => broken.push(format!("{other:?}")),
        }
    }
    if atomics > promise.atomics {
        broken.push(format!("{atomics} atomic read-modify-writes, {} allowed", promise.atomics));
    }
    for (entry, calls) in calls.into_iter().filter_map(|(entry, calls)| Some((entry?, calls))) {
        let (suffix, most, _) = lists::INDIRECT[entry];
        if calls > most {
            broken.push(format!("{suffix}: {calls} calls through pointers, {most} allowed"));
        }
    }
    for (name, from) in &report.reached {
        if is_panic(name) {
            broken.push(format!("panics: {from} -> {name}"));
        }
        if is_allocator(name) {
            broken.push(format!("allocates: {from} -> {name}"));
        }
    }
    broken
}

#[test]
fn callbacks_use_little_stack_and_call_only_what_is_listed() {
    let image = library();
    let (mut all, mut used) = (Vec::new(), BTreeSet::new());
    println!("{:<28} {:>6} {:>9}  deepest", "path", "bytes", "functions");
    for promise in lists::promises() {
        let report = walk::walk(&image, &promise.path);
        let chain = report.chain.join(" -> ");
        println!("{:<28} {:>6} {:>9}  {chain}", promise.name, report.depth, report.reached.len());
        all.extend(broken(&promise, &report).into_iter().map(|b| format!("{}: {b}", promise.name)));
        used.extend(report.exceptions_used.iter().cloned());
        used.extend(report.findings.iter().filter_map(|finding| match finding {
            Finding::Indirect { function, .. } => {
                indirect(function).map(|entry| lists::INDIRECT[entry].0.into())
            }
            _ => None,
        }));
    }
    // A name that is no longer met could hide another function some day.
    for name in lists::all_names() {
        if !used.contains(name) {
            all.push(format!("{name} is on a list, and is not called"));
        }
    }
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

/// Builds a library from a file that breaks a rule on purpose; what the check finds.
fn found_in(violation: &str) -> Vec<String> {
    let source = root().join(format!("tests/nosplit/violations/{violation}.c"));
    let library = scratch(&format!("violation-{violation}-{}.so", manner()));
    let mut cc = Command::new(c_compiler());
    cc.args(["-O1", "-fPIC", "-shared"]).args(arch::tested().c_flags);
    common::compile(cc.arg(&source).arg("-o").arg(&library));
    let image = Image::read(&fs::read(&library).expect("a library"));
    let path = walk::Path {
        root: "root",
        first_branch: FirstBranch::Either,
        cuts: &[],
        noreturn: &[],
        switches: &[],
    };
    let promise = Promise {
        name: "violation",
        path,
        limit: lists::FAST_LIMIT,
        system_calls: false,
        atomics: 0,
    };
    broken(&promise, &walk::walk(&image, &promise.path))
}

macro_rules! violations {
    ($($test:ident = $file:literal $said:literal;)*) => {$(
        #[test]
        fn $test() {
            let found = found_in($file);
            assert!(found.len() == 1 && found[0].contains($said), "{found:?}");
        }
    )*};
}

violations! {
    deep_stacks_are_found = "deep" "bytes of stack, 512 allowed: root -> inner";
    stack_pointers_that_move_by_unknown_amounts_are_found = "moves" "moves the stack pointer by an unknown amount";
    recursion_is_found = "recursion" "Recursion { circle: \"even -> odd\" }";
    calls_of_other_libraries_are_found = "outside" "Outside { function: \"root\", symbol: \"malloc\" }";
    calls_through_pointers_are_found = "indirect" "Indirect { function: \"root\"";
    atomics_are_found_and_counted = "atomic" "2 atomic read-modify-writes, 0 allowed";
    jumps_to_one_of_many_places_are_found = "jumps" "Computed { function: \"root\"";
    system_calls_are_found = "system_call" "SystemCall { function: \"getpid_\" }";
    panics_are_found = "panics" "panics: root -> core::panicking::panic_bounds_check";
}

#[test]
fn nothing_is_found_where_no_rule_is_broken() {
    assert_eq!(found_in("keeps"), Vec::<String>::new());
}

/// What assembly defines: its own routines, and the jumps to Rust and from C (`upcalls!`,
/// `c_entry!` of `arch/elf.rs`), which may be reached by pointers, linkage tables and veneers.
const ROUTINES: &[&str] = &[
    "needm_entry",
    "needm_on_g0",
    "needm_sp",
    "needm_call_on",
    "needm_tls_block",
    "needm_handler",
    "needm_handler_2",
    "needm_sigjump",
    "needm_clone",
    "needm_unmap_and_exit",
    "needm_callback",
    "needm_enter",
    "needm_handle",
    "needm_sigpanic",
];

#[test]
fn routines_of_assembly_begin_with_a_landing_pad_where_the_architecture_has_one() {
    let Some(pad) = arch::tested().landing_pad else { return };
    let image = library();
    for name in ROUTINES {
        let routine = image.named(name).unwrap_or_else(|| panic!("no {name}"));
        let bytes = image.bytes(routine.start).expect("code");
        assert_eq!(bytes[..4], pad.to_le_bytes(), "{name}");
    }
}

#[test]
fn the_fast_path_has_at_most_the_instructions_of_its_architecture() {
    let (image, own) = (library(), arch::tested());
    for (skips, most, with) in [
        (false, own.fast_instructions, "with floating-point control"),
        (true, own.fast_instructions_without_fp_control, "without"),
    ] {
        let count = walk::straight_line(&image, "needm_callback", skips);
        println!("the fast path, {with}: {count} instructions");
        assert!(count <= most as usize, "{with}: {count}, want at most {most}");
    }
}
