//! Links the programs without a C library, by the linker script of their architecture.
//! The package is qemu/hosts, so paths start there.

use std::{env, path::Path};

#[path = "../arch/table.rs"]
mod arch;

fn main() {
    println!("cargo:rerun-if-changed=../../tests/hosts/foreign.S");
    println!("cargo:rerun-if-changed=../../tests/arch");
    println!("cargo:rerun-if-changed=../../linker");
    if env::var_os("CARGO_FEATURE_FREESTANDING").is_none() {
        return;
    }
    let var = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let arch = arch::named(&var("CARGO_CFG_TARGET_ARCH"));
    let (page, arch) = (arch.max_page(), arch.name);
    let linker = Path::new(&var("CARGO_MANIFEST_DIR")).join("../../linker");
    let script = linker.join(format!("{arch}.ld"));
    let (linker, script) = (linker.display(), script.display());
    for argument in [
        "-nostdlib".to_owned(),
        "-nostartfiles".to_owned(),
        "-static".to_owned(),
        "-no-pie".to_owned(),
        format!("-Wl,-z,max-page-size={page},--build-id=none"),
        format!("-L{linker}"),
        format!("-T{script}"),
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    cc::Build::new().file("../../tests/hosts/foreign.S").compile("foreign");
}
