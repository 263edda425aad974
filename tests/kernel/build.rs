//! Tells the linker where the kernel is loaded.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    println!("cargo:rerun-if-changed={arch}.ld");
    println!("cargo:rustc-link-arg-bins=-T{folder}/{arch}.ld");
    // Loaded where it is linked to run: nothing is there that could relocate it.
    println!("cargo:rustc-link-arg-bins=--no-pie");
}
