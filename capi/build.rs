//! Names the shared library: without a SONAME, a program remembers the path that it was
//! linked with.

use std::env;

fn main() {
    println!("cargo:rerun-if-env-changed=NEEDM_SONAME");
    println!("cargo:rerun-if-env-changed=CARGO_C_CARGO");
    // cargo-c gives a name of its own, before this one; the linker takes the last.
    if env::var_os("CARGO_C_CARGO").is_some() {
        return;
    }
    // `packaging/install` gives the one with a version.
    let name = env::var("NEEDM_SONAME").unwrap_or_else(|_| "libneedm.so".into());
    let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_FAMILY", "unix") && !is("CARGO_CFG_TARGET_VENDOR", "apple") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,{name}");
    }
}
