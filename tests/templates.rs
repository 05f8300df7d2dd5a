//! The templates of the guide's page `no_std`, copied as a user would, built and run.

#[path = "common/user.rs"]
mod user;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use user::{is_native, root, run};

/// A folder with the files of the page whose paths begin with `name`, and with this needm for the
/// published one.
fn template(name: &str) -> PathBuf {
    let page = fs::read_to_string(root().join("src/guide/no_std.md")).expect("a page");
    // Not below the checkout, whose Cargo.toml it must not see.
    let folder = env::temp_dir().join(format!("needm-{name}-{}", std::process::id()));
    // Each is announced by a line with its path, and follows in a block.
    for part in page.split(&format!("\n`{name}/")).skip(1) {
        let (path, rest) = part.split_once("`:\n\n```").expect("a path and a block");
        let (_, rest) = rest.split_once('\n').expect("the block's first line");
        let (text, _) = rest.split_once("\n```").expect("its end");
        let own = format!("needm = {{ path = \"{}\"", root().display());
        let text = text.replace("needm = { version = \"0.1\"", &own);
        let file = folder.join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, text + "\n").expect("a file");
    }
    folder
}

/// A user's command, in a folder. Here cargo must not ask the network.
fn command(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = user::command(program);
    command.env("CARGO_NET_OFFLINE", "true").current_dir(folder);
    command
}

#[test]
fn a_no_std_crate_is_linked_into_a_c_program() {
    if !is_native() {
        return;
    }
    let folder = template("runtime");
    run(command(env!("CARGO"), &folder).args(["build", "--release"]));
    run(command("cc", &folder).args([
        "main.c",
        "target/release/libruntime.a",
        "-pthread",
        "-o",
        "main",
    ]));
    assert_eq!(run(&mut command(folder.join("main"), &folder)), "sum 55\n");
    fs::remove_dir_all(&folder).expect("it was made above");
}

#[test]
fn a_program_without_a_c_library_is_built_from_its_template() {
    // Only `qemu/test` has set up the sources of core.
    if env::var_os("NEEDM_ARCH").is_none() {
        eprintln!("skipped: needs a core built from source, which qemu/test sets up");
        return;
    }
    if !is_native() {
        return;
    }
    let folder = template("program");
    run(Command::new("cp").arg("-r").arg(root().join("linker")).arg(&folder));
    // The page's command, with the compiler that has sources of core.
    let build = format!(
        ". {0:?}/qemu/targets && target {1} && cargo_without_std && cd {2:?} && \
         export RUSTFLAGS='-C relocation-model=static -C target-feature=+crt-static' && \
         cargo build --release \"${{cargo_target[@]}}\" && ./target/$triple/release/program",
        root(),
        env::consts::ARCH,
        folder,
    );
    run(command("bash", &folder).args(["-c", &build]));
    fs::remove_dir_all(&folder).expect("it was made above");
}
