//! needm as others build and install it: by `packaging/install` with pkg-config and CMake,
//! as a subproject of Meson, and as a dependency of a crate. The headers, as compilers of
//! C and C++ in their strict modes read them.
//!
//! All of it is the host's own: where `NEEDM_RUNNER` is set, or the library is one for
//! another architecture, there is nothing to install. A test that lacks its tool says
//! "skipped" and why.

#[path = "common/user.rs"]
mod user;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use user::{is_native, root, run};

/// What the program below prints.
const SAID: &str = "a fault ended the callback, 1 before it";

const PROGRAM: &str = r#"
#include <needm.h>
#include <stdio.h>

static void add(void *frame) { ++*(int *)frame; }
static void fail(void *frame) { *(volatile int *)frame = 1; }

int main(void) {
    int sum = 0;
    needm_panic_info info = NEEDM_PANIC_INFO_INIT;
    if (needm_start(NULL) != 0 || needm_callback(add, &sum, sizeof sum, &info) != 0) return 1;
    printf("%s, %d before it\n", needm_strerror(needm_callback(fail, NULL, 0, &info)), sum);
    return needm_stop() == 0 ? 0 : 1;
}
"#;

/// Whether the machine has a tool.
fn has(tool: &str) -> bool {
    let has = Command::new(tool).arg("--version").output().is_ok();
    if !has {
        eprintln!("skipped: no {tool} (Debian: cmake, meson and ninja-build, pkg-config, g++)");
    }
    has
}

/// A user's command, which builds in that folder.
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = user::command(program);
    command.env("CARGO_TARGET_DIR", target());
    command
}

/// One folder for all that is built here, beside this test's own.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in one").join("packaging")
}

/// An empty folder.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Where needm is installed: done once.
fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let prefix = folder("prefix");
        let option = format!("--prefix={}", prefix.display());
        run(command(root().join("packaging/install")).arg(option));
        prefix
    })
}

#[test]
fn pkg_config_finds_an_installed_needm() {
    if !is_native() || !has("pkg-config") {
        return;
    }
    let flags = run(command("pkg-config")
        .args(["--cflags", "--libs", "needm >= 0.1"])
        .env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig")));
    assert!(flags.contains("-pthread"), "{flags}");
    let folder = folder("pkg-config");
    fs::write(folder.join("program.c"), PROGRAM).expect("a file");
    run(command("cc")
        .current_dir(&folder)
        .args(["-Wall", "-Werror", "program.c", "-o", "program"])
        .args(flags.split_whitespace()));
    // Of the library's names, the one with a version is what the program asks for.
    let needed = folder.join("libneedm.so.0.1");
    fs::copy(prefix().join("lib/libneedm.so.0.1"), &needed).expect("it is installed");
    let said = run(command(folder.join("program")).env("LD_LIBRARY_PATH", &folder));
    assert_eq!(said.trim_end(), SAID);
    fs::remove_file(&needed).expect("it was there");
    let found = command(folder.join("program")).env("LD_LIBRARY_PATH", &folder).output();
    assert!(!found.expect("it starts").status.success(), "it found another library");
}

#[test]
fn cmake_finds_an_installed_needm() {
    if !is_native() || !has("cmake") {
        return;
    }
    let folder = folder("cmake");
    // The package finds the rest from where it is.
    let moved = folder.join("moved");
    run(command("cp").arg("-a").arg(prefix()).arg(&moved));
    fs::write(folder.join("program.c"), PROGRAM).expect("a file");
    let list = "cmake_minimum_required(VERSION 3.10)
        project(program C)
        find_package(needm 0.1 REQUIRED)
        foreach(kind shared static needm)
            add_executable(program-${kind} program.c)
            target_link_libraries(program-${kind} needm::${kind})
        endforeach()
        find_package(needm 0.2 QUIET)
        if(needm_FOUND)
            message(FATAL_ERROR \"0.1 is taken for 0.2\")
        endif()\n";
    fs::write(folder.join("CMakeLists.txt"), list).expect("a file");
    let build = folder.join("build");
    let prefix = format!("-DCMAKE_PREFIX_PATH={}", moved.display());
    run(command("cmake").arg(prefix).arg("-S").arg(&folder).arg("-B").arg(&build));
    run(command("cmake").arg("--build").arg(&build));
    for kind in ["shared", "static", "needm"] {
        let said = run(&mut command(build.join(format!("program-{kind}"))));
        assert_eq!(said.trim_end(), SAID, "{kind}");
    }
}

#[test]
fn cmake_builds_the_cpp_example_with_an_installed_needm() {
    if !is_native() || !has("cmake") || !has("c++") {
        return;
    }
    let build = folder("cmake-cpp");
    let prefix = format!("-DCMAKE_PREFIX_PATH={}", prefix().display());
    run(command("cmake")
        .arg(prefix)
        .arg("-S")
        .arg(root().join("examples/cpp"))
        .arg("-B")
        .arg(&build));
    run(command("cmake").arg("--build").arg(&build));
    let said = run(&mut command(build.join("pool")));
    assert_eq!(said.trim_end(), "sum 100, thrown 100, crashed 100, panicked 100");
}

#[test]
fn meson_builds_needm_as_a_subproject() {
    if !is_native() || !has("meson") || !has("ninja") {
        return;
    }
    let folder = folder("meson");
    fs::create_dir(folder.join("subprojects")).expect("a folder");
    std::os::unix::fs::symlink(root(), folder.join("subprojects/needm")).expect("a link");
    fs::write(folder.join("program.c"), PROGRAM).expect("a file");
    let project = "project('program', 'c')
executable('program', 'program.c', dependencies: dependency('needm', fallback: 'needm'))\n";
    fs::write(folder.join("meson.build"), project).expect("a file");
    let build = folder.join("build");
    run(command("meson").arg("setup").arg(&build).arg(&folder));
    for link in ["static", "shared"] {
        let option = format!("-Dneedm:default_library={link}");
        run(command("meson").arg("configure").arg(option).arg(&build));
        run(command("meson").arg("compile").arg("-C").arg(&build));
        let said = run(&mut command(build.join("program")));
        assert_eq!(said.trim_end(), SAID, "{link}");
        let needed = run(command("readelf").arg("-d").arg(build.join("program")));
        assert_eq!(needed.contains("[libneedm.so]"), link == "shared", "{needed}");
    }
}

#[test]
fn a_dependent_compiles_none_of_the_examples() {
    if !is_native() {
        return;
    }
    // Not in needm's own folder, whose configuration is for the examples.
    let folder = env::temp_dir().join(format!("needm-dependent-{}", std::process::id()));
    fs::create_dir_all(folder.join("src")).expect("a folder");
    let manifest = format!(
        "[package]\nname = \"dependent\"\nedition = \"2024\"\n\n[dependencies]\nneedm = {{ path = {:?} }}\n",
        root()
    );
    fs::write(folder.join("Cargo.toml"), manifest).expect("a file");
    fs::write(folder.join("src/main.rs"), "fn main() { assert!(needm::stop().is_err()) }\n")
        .expect("a file");
    let built = folder.join("target");
    run(command(env!("CARGO"))
        .args(["run", "--offline", "--quiet"])
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", &built));
    let mut archives = Vec::new();
    for entry in fs::read_dir(built.join("debug/build")).expect("cargo keeps it there").flatten() {
        if let Ok(out) = fs::read_dir(entry.path().join("out")) {
            archives.extend(out.flatten().map(|file| file.file_name()));
        }
    }
    fs::remove_dir_all(&folder).expect("it was made above");
    assert!(archives.iter().any(|name| name == "libneedm_arch.a"), "{archives:?}");
    assert!(!archives.iter().any(|name| name == "libexamples.a"), "{archives:?}");
}

#[test]
fn a_build_with_std_puts_none_of_it_into_the_libraries() {
    if !is_native() || !has("nm") {
        return;
    }
    let built = target().join("release");
    // The README's command builds the Rust crate too, for which `std` is a default feature. A
    // user may also leave `capi` out.
    for features in ["std,capi", ""] {
        run(command(env!("CARGO"))
            .args(["build", "--release", "--features", features])
            .current_dir(root()));
        for library in ["libneedm.a", "libneedm.so"] {
            let names = run(command("nm").arg("-C").arg(built.join(library)));
            assert!(names.contains(" T needm_callback\n"), "{library} lacks its functions");
            for of_std in ["std::", "__rust_alloc", "__rust_start_panic", "rust_eh_personality"] {
                assert!(!names.contains(of_std), "{library} has {of_std}");
            }
        }
    }
    // Without a name of its own, a program would ask for the path that it was linked with.
    let dynamic = run(command("readelf").arg("-d").arg(built.join("libneedm.so")));
    assert!(dynamic.contains("soname: [libneedm.so]"), "{dynamic}");
}

#[test]
fn strict_compilers_accept_the_headers() {
    let cc = env::var("NEEDM_CC").unwrap_or_else(|_| "cc".into());
    let folder = folder("headers");
    // The initialisers too: each names every field.
    let source = "#include <needm_host.h>
        needm_config config = NEEDM_CONFIG_INIT;
        needm_hooks hooks = NEEDM_HOOKS_INIT;
        needm_panic_info info = NEEDM_PANIC_INFO_INIT;
        needm_stats stats = NEEDM_STATS_INIT;
        int same(void);
        int same(void) { return config.size == sizeof config && stats.size == sizeof stats; }\n";
    let mut compilers =
        vec![(cc, "c", vec!["c99", "c11", "gnu17"], vec!["-Wc++-compat", "-Wstrict-prototypes"])];
    // A cross compiler for C++ is not asked for.
    if is_native() && has("c++") {
        compilers.push(("c++".into(), "cc", vec!["c++11", "c++17", "c++20"], vec![]));
    }
    for (compiler, kind, standards, more) in compilers {
        let file = folder.join("header").with_extension(kind);
        fs::write(&file, source).expect("a file");
        for standard in standards {
            run(Command::new(&compiler)
                .arg(format!("-std={standard}"))
                .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"])
                .args(&more)
                .arg("-I")
                .arg(root().join("include"))
                .arg(&file));
        }
    }
}

#[test]
fn strict_compilers_accept_the_cpp_header() {
    let folder = folder("cpp-header");
    let file = folder.join("header.cc");
    let source = "#include <needm.hpp>
        int main() {
            needm::runtime runtime;
            needm::callback([] { needm::defer nothing([] {}); });
            return needm::callback([] { return 0; });
        }\n";
    fs::write(&file, source).expect("a file");
    for compiler in ["g++", "clang++"] {
        if !is_native() || !has(compiler) {
            continue;
        }
        for standard in ["c++17", "c++20"] {
            run(Command::new(compiler)
                .arg(format!("-std={standard}"))
                .args(["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-fsyntax-only"])
                .arg("-I")
                .arg(root().join("include"))
                .arg(&file));
        }
    }
}

#[test]
fn every_file_names_the_same_version() {
    let version = env!("CARGO_PKG_VERSION");
    let (series, _) = version.rsplit_once('.').expect("three numbers");
    let mut numbers = version.split('.');
    let mut number = || numbers.next().expect("three numbers").to_owned();
    for (file, line) in [
        ("meson.build", format!("version: '{version}'")),
        ("packaging/needm.wrap", format!("revision = v{version}")),
        ("packaging/needm-threads.pc", format!("Version: {version}")),
        ("packaging/cmake/needm-config-version.cmake", format!("PACKAGE_VERSION {version})")),
        ("packaging/cmake/needm-config-version.cmake", format!("VERSION_EQUAL \"{series}\"")),
        ("include/needm.h", format!("NEEDM_VERSION_MAJOR {}", number())),
        ("include/needm.h", format!("NEEDM_VERSION_MINOR {}", number())),
        ("include/needm.h", format!("NEEDM_VERSION_PATCH {}", number())),
    ] {
        let text = fs::read_to_string(root().join(file)).expect("a file");
        assert!(text.contains(&line), "{file} does not say {line:?}");
    }
}

#[test]
fn installed_files_name_their_licence() {
    for header in ["include/needm.h", "include/needm.hpp", "include/needm_host.h"] {
        let text = fs::read_to_string(root().join(header)).expect("a file");
        let first = text.lines().next().expect("a line");
        assert_eq!(first, "/* SPDX-License-Identifier: MIT OR Apache-2.0 */", "{header}");
    }
}
