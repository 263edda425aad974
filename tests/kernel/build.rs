//! Compiles the example driver in C, and tells the linker where the kernel is loaded.

use std::process::Command;

fn main() {
    let folder = variable("CARGO_MANIFEST_DIR");
    let arch = variable("CARGO_CFG_TARGET_ARCH");
    println!("cargo:rerun-if-changed={arch}.ld");
    println!("cargo:rustc-link-arg-bins=-T{folder}/{arch}.ld");
    // Loaded where it is linked to run: nothing is there that could relocate it.
    println!("cargo:rustc-link-arg-bins=--no-pie");
    println!("cargo:rustc-link-arg-bins={}", driver(&arch));
}

fn variable(name: &str) -> String {
    std::env::var(name).expect("cargo sets it")
}

/// `tests/capi/driver.c`, the same file that a process is linked with. Clang compiles for both machines as it is, for the
/// same instructions and the same calls as the Rust code: no floating point where the kernel does not save its registers.
fn driver(arch: &str) -> String {
    let machine: &[&str] = match arch {
        "riscv64" => &["--target=riscv64-unknown-elf", "-march=rv64gc", "-mabi=lp64d", "-mcmodel=medany"],
        "x86_64" => &["--target=x86_64-unknown-elf", "-mno-red-zone", "-mgeneral-regs-only", "-fno-pic"],
        _ => panic!("no kernel for {arch}"),
    };
    let object = format!("{}/driver.o", variable("OUT_DIR"));
    let (driver, header) = ("../capi/driver.c", "../../core/include");
    for source in [driver, "../capi/driver.h", "../../core/include/ifnet.h"] {
        println!("cargo:rerun-if-changed={source}");
    }
    println!("cargo:rerun-if-env-changed=CLANG");
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".into());
    let status = Command::new(&clang)
        .args(machine)
        .args(["-std=c99", "-O2", "-ffreestanding", "-fno-stack-protector", "-fno-asynchronous-unwind-tables"])
        .args(["-Wall", "-Wextra", "-pedantic", "-Werror", "-I", header, "-I", "../capi", "-c", driver, "-o", &object])
        .status()
        .unwrap_or_else(|error| panic!("{clang} compiles the driver in C, and cannot be run: {error}"));
    assert!(status.success(), "{clang} has refused {driver}");
    object
}
