//! Programs in C++: exceptions that cross callbacks, `needm.hpp`, and the example that uses it. They
//! are compiled by the C compiler of the architecture, which also knows C++ where that is
//! installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{self, c_compiler, command, libraries, root, run, run_to_success};
use crate::{Link, program_of};

/// Whether the compiler has C++: it prints the path of its part for that, else the bare name.
fn has_cpp() -> bool {
    let answer = Command::new(c_compiler()).arg("-print-prog-name=cc1plus").output();
    let path = answer.map(|answer| String::from_utf8_lossy(&answer.stdout).into_owned());
    let has = path.is_ok_and(|path| path.trim().starts_with('/'));
    if !has {
        println!("skipped: no C++ compiler (Debian: g++, or g++-<architecture>)");
    }
    has
}

/// The program of a source, compiled for `test` by `compiler`; `words` come first.
fn compile(
    compiler: &mut Command,
    test: &str,
    source: &Path,
    link: Link,
    words: &[&str],
) -> PathBuf {
    let program = program_of(test);
    let folder = libraries();
    compiler.args(words).args(["-O2", "-g", "-Wall", "-Wno-infinite-recursion", "-I"]);
    compiler.arg(root().join("include")).args(["-x", "c++"]).arg(source).args(["-x", "none"]);
    match link {
        Link::Shared => {
            let folder = folder.display();
            compiler.arg(format!("-L{folder}")).arg(format!("-Wl,-rpath,{folder}")).arg("-lneedm")
        }
        _ => compiler.arg(folder.join("libneedm.a")),
    };
    // By name, or the loader looks for what libstdc++ needs where only this machine's is.
    compiler.args(["-Wl,--no-as-needed", "-lstdc++", "-lm", "-lgcc_s", "-pthread", "-o"]);
    common::compile(compiler.arg(&program));
    program
}

fn runs(test: &str, name: &str, link: Link, arguments: &[&str]) {
    if has_cpp() {
        let source = root().join(format!("tests/cpp/{name}.cpp"));
        let compiler = &mut Command::new(c_compiler());
        let program = compile(compiler, test, &source, link, &["-std=c++20"]);
        run_to_success(command(&program).args(arguments), &program.with_extension("log"));
    }
}

macro_rules! programs {
    ($($test:ident = $name:literal $link:ident [$($argument:literal),*];)*) => {$(
        #[test]
        fn $test() {
            runs(stringify!($test), $name, Link::$link, &[$($argument),*]);
        }
    )*};
}

programs! {
    exceptions_and_thread_exits_end_callbacks = "exceptions" Archive [];
    exceptions_and_thread_exits_end_callbacks_per_call = "exceptions" Shared ["call"];
    the_cpp_header_keeps_its_promises = "header" Shared [];
}

/// With all warnings, by both compilers; the header may not need more than C++17.
#[test]
fn the_cpp_example_runs() {
    if !has_cpp() {
        return;
    }
    let source = root().join("examples/cpp/main.cpp");
    let strict = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];
    let mut compilers = vec![("gcc", Command::new(c_compiler()))];
    let clang = Command::new("clang++").arg("--version").output().is_ok();
    let own = std::env::var_os("NEEDM_ARCH").is_none_or(|arch| arch == std::env::consts::ARCH);
    if clang && own && !common::is_emulated() {
        compilers.push(("clang", Command::new("clang++")));
    } else {
        println!("skipped: no clang++ for this architecture");
    }
    for (name, mut compiler) in compilers {
        let test = format!("the_cpp_example_runs_{name}");
        let program = compile(&mut compiler, &test, &source, Link::Archive, &strict);
        let (status, text) = run(&mut command(&program), &program.with_extension("log"));
        assert!(status.success(), "{name}: {status}\n{text}");
    }
}

/// The first program of the guide's page.
#[test]
fn the_guides_cpp_program_runs() {
    if !has_cpp() {
        return;
    }
    let page = std::fs::read_to_string(root().join("src/guide/cpp_host.md")).expect("a page");
    let (_, rest) = page.split_once("```cpp\n").expect("a program");
    let (program, _) = rest.split_once("```").expect("its end");
    let source = common::scratch("the_guides_cpp_program.cpp");
    std::fs::write(&source, program).expect("a file");
    let strict = ["-std=c++17", "-Wextra", "-Werror"];
    let compiler = &mut Command::new(c_compiler());
    let program = compile(compiler, "the_guides_cpp_program_runs", &source, Link::Archive, &strict);
    let output = command(&program).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines, ["closed", "thrown on a G", "a fault ended the callback"]);
}
