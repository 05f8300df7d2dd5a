//! Conservative collectors of others, on Gs: each program of `tests/collectors`, where its library is
//! installed.

mod common;

use common::arch::where_tools_run;

where_tools_run! {
    use std::path::Path;
    use std::process::Command;

    use common::{c_compiler, command, compile, libraries, manner, root, run_to_success, scratch};

    /// The words for the compiler that pkg-config has for a library, or `None` without it.
    fn flags(library: &str) -> Option<Vec<String>> {
        let found = Command::new("pkg-config").args(["--cflags", "--libs", library]).output();
        let found = found.ok().filter(|found| found.status.success())?;
        let words = String::from_utf8(found.stdout).expect("flags are text");
        Some(words.split_whitespace().map(str::to_owned).collect())
    }

    fn runs(name: &str, library: &str, package: &str) {
        let Some(flags) = flags(library) else {
            println!("skipped: no {library} (Debian: {package} and pkg-config)");
            return;
        };
        let program = scratch(&format!("collectors-{name}-{}", manner()));
        let mut cc = Command::new(c_compiler());
        cc.args(["-O2", "-g", "-Wall", "-Wextra", "-I"]).arg(root().join("include"));
        cc.arg(root().join(format!("tests/collectors/{name}.c"))).arg(libraries().join("libneedm.a"));
        compile(cc.arg("-pthread").args(&flags).arg("-o").arg(&program));
        run_to_success(&mut command(Path::new(&program)), &program.with_extension("log"));
    }

    #[test]
    fn boehms_collector_finds_what_is_on_gs() {
        runs("boehm", "bdw-gc", "libgc-dev");
    }

    #[test]
    fn guile_runs_on_gs() {
        runs("guile", "guile-3.0", "guile-3.0-dev");
    }
}
