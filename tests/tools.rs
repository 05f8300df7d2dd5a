//! What the guide's page on tools says of profilers and debuggers (sanitizers and valgrind's memcheck
//! are in `c_programs/sanitizers.rs`, backtraces in `c_programs/unwinding.rs`). A tool that is not
//! there is skipped.

mod common;

use common::arch::where_tools_run;

where_tools_run! {
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::fs;

    use common::{SUCCESS, compile, libraries, root, scratch};

    /// `tests/c/profiled.c` for a test.
    fn program(test: &str) -> PathBuf {
        let program = scratch(&format!("tools-{test}"));
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-g", "-fno-omit-frame-pointer", "-I"]).arg(root().join("include"));
        cc.arg(root().join("tests/c/profiled.c")).arg(libraries().join("libneedm.a"));
        compile(cc.args(["-pthread", "-o"]).arg(&program));
        program
    }

    fn has(tool: &str) -> bool {
        let has = Command::new(tool).arg("--version").output().is_ok_and(|out| out.status.success());
        if !has {
            println!("skipped: no {tool}");
        }
        has
    }

    /// What a command prints.
    fn output(command: &mut Command) -> String {
        let output = command.output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command:?}: {output:?}");
        text
    }

    /// The functions of each call chain that perf has sampled, from the inside out. `None` where it
    /// may not sample.
    fn chains(program: &Path, how: &str) -> Option<Vec<Vec<String>>> {
        let data = program.with_extension(format!("{how}.data"));
        let record = Command::new("perf")
            .args(["record", "-q", "-e", "cpu-clock", "--call-graph", how, "-o"])
            .args([data.as_os_str(), program.as_os_str()])
            .arg("3000")
            .output()
            .expect("it starts");
        if record.status.code() != Some(SUCCESS) {
            println!("skipped: perf may not sample here");
            return None;
        }
        let script = output(Command::new("perf").args(["script", "-F", "ip,sym", "-i"]).arg(&data));
        let name = |line: &str| line.split_whitespace().nth(1).unwrap_or("").to_owned();
        Some(script.split("\n\n").map(|chain| chain.lines().map(name).collect()).collect())
    }

    /// Whether a chain has these, one right above the other.
    fn holds(chain: &[String], names: &[&str]) -> bool {
        chain.windows(names.len()).any(|window| window == names)
    }

    #[test]
    fn perf_follows_frame_pointers_across_both_stacks() {
        if !has("perf") {
            return;
        }
        let Some(chains) = chains(&program("perf"), "fp") else { return };
        let names = ["busy_callback", "needm_entry", "calls_back", "foreign"];
        assert!(chains.iter().any(|chain| holds(chain, &names)), "{chains:?}");
        let in_c = chains.iter().filter(|chain| chain.iter().any(|name| name == "busy_in_c"));
        let (whole, all) = in_c.fold((0, 0), |(whole, all), chain| {
            (whole + usize::from(holds(chain, &["needm_entry", "calls_back"])), all + 1)
        });
        // A sample may come before a function has its frame.
        assert!(all > 0 && whole * 10 > all * 9, "{whole} of {all}");
    }

    /// The instructions of a function's own, by callgrind, if the callback is called so often.
    fn own_instructions(program: &Path, times: u64, function: &str) -> u64 {
        let out = program.with_extension(format!("{times}.callgrind"));
        let status = Command::new("valgrind")
            .args(["-q", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no"])
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg(program)
            .arg(times.to_string())
            .status()
            .expect("it starts");
        assert_eq!(status.code(), Some(SUCCESS));
        let text = fs::read_to_string(&out).expect("callgrind's file");
        let (mut inside, mut of_a_call, mut sum) = (false, false, 0);
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                inside = name == function;
            } else if line.starts_with("calls=") {
                of_a_call = true; // the next line is what the callee took
            } else if line.starts_with(|first: char| first.is_ascii_digit()) {
                let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok());
                if inside && !of_a_call {
                    sum += cost.unwrap_or(0);
                }
                of_a_call = false;
            }
        }
        sum
    }

    #[test]
    fn callgrind_counts_the_instructions_of_callbacks() {
        if !has("valgrind") {
            return;
        }
        let program = program("callgrind");
        for function in ["busy_callback", "busy_in_c"] {
            let one = own_instructions(&program, 1, function);
            assert!(one > 3000, "{function}: {one}");
            assert_eq!(own_instructions(&program, 37, function), 37 * one, "{function}");
        }
    }

    #[test]
    fn a_debugger_asks_a_stopped_thread() {
        if !has("gdb") {
            return;
        }
        let asked = Command::new("gdb")
            .args(["-batch", "-nx", "-ex", "break busy_in_c", "-ex", "run", "-ex", "backtrace"])
            .args(["-ex", "print ((unsigned (*)(void))needm_depth)()"])
            .args(["-ex", "print ((void *(*)(void))needm_self)() != 0"])
            .arg(program("gdb"))
            .output()
            .expect("it starts");
        let text = String::from_utf8_lossy(&asked.stdout);
        let named = |name: &str| text.find(&format!(" {name} (")).unwrap_or_else(|| panic!("{text}"));
        let order = ["busy_callback", "needm_entry", "calls_back", "foreign"].map(named);
        assert!(order.is_sorted(), "{text}");
        if String::from_utf8_lossy(&asked.stderr).contains("Couldn't write extended state") {
            println!("skipped: here gdb can call no function of a program");
            return;
        }
        assert!(text.contains("$1 = 1") && text.contains("$2 = 1"), "{text}");
    }

    /// The page's command for a sanitizer, with another program in the place of its `program.c`.
    #[test]
    fn the_pages_command_builds_for_a_sanitizer() {
        if !has("clang") {
            return;
        }
        let page = fs::read_to_string(root().join("src/guide/tools.md")).expect("a page");
        let (_, rest) = page.split_once("```sh\nfolder=").expect("its command");
        let (commands, _) = rest.split_once("\n```").expect("its end");
        let built = scratch("tools-sanitized");
        let commands = format!("set -e\nfolder={commands}")
            .replace("program.c", "tests/c/profiled.c")
            .replace("target/asan", &scratch("tools-asan").display().to_string())
            .replace("-pthread", &format!("-pthread -o {}", built.display()));
        let mut shell = Command::new("sh");
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PROFILE") || name.starts_with("CARGO_TARGET") {
                shell.env_remove(&*name);
            }
        }
        output(shell.args(["-c", &commands]).current_dir(root()));
        let ran = Command::new(&built).env("ASAN_OPTIONS", "detect_leaks=0").arg("10").status();
        assert_eq!(ran.expect("it starts").code(), Some(SUCCESS));
        let names = output(Command::new("nm").arg(&built));
        assert!(names.contains("__sanitizer_start_switch_fiber"), "it is not the library for it");
    }
}
