//! Compiles the C side: the threads, and what faults.

fn main() {
    cc::Build::new()
        .files(["worker.c", "faults.c"])
        .include("../include")
        .flag("-pthread")
        .flag("-fno-omit-frame-pointer")
        .opt_level(2)
        .compile("fuzz_worker");
    for path in ["worker.c", "worker.h", "faults.c", "../include/needm.h", "../tests/arch"] {
        println!("cargo:rerun-if-changed={path}");
    }
}
