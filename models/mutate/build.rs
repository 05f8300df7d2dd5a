fn main() {
    println!("cargo:rustc-cfg=needm_loom");
}
