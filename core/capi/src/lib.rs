//! The static library of the C interface: `libifnet_capi.a`, for the header `core/include/ifnet.h`.
//!
//! All functions are in the core's module `capi`, behind the feature of that name; here they get their names. What is here
//! besides is what a program without `std` needs once and a library may not bring: the panic handler. It is a package, and a
//! workspace, of its own, because its panics abort, and because a second panic handler would meet that of `std` in every
//! other program of the workspace.
//!
//! A kernel in Rust that wants the C functions does not link this library: it takes the core with the feature `capi`, and
//! exports them for its own platform with `ifnet::capi_export`, as `tests/kernel` does.
#![no_std]

mod boot;

use core::panic::PanicInfo;

use ifnet::capi::{CHost, rust_panic};

ifnet::capi_export!(CHost);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    rust_panic(format_args!("{info}"))
}

/// The compiled `core` of a hosted target names it in its tables for unwinding; a panic does not unwind here, so it is
/// never called.
// SAFETY: the only symbol of this name in the program, unless the program has Rust of its own.
#[cfg(not(target_os = "none"))]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
