//! Compiles `src/loops.c`: the loops that are measured, and what they are compared with.

fn main() {
    cc::Build::new()
        .file("src/loops.c")
        .flag("-pthread")
        .flag("-falign-functions=64")
        .flag("-falign-loops=64")
        .opt_level(2)
        .compile("loops");
    for path in ["src/loops.c", "../tests/arch"] {
        println!("cargo:rerun-if-changed={path}");
    }
}
