//! What only a kernel in C needs. A kernel in Rust boots itself, and serves its own to C.

use core::ffi::{c_int, c_void};

use ifnet::capi::abi::{ifnet_config, ifnet_host, ifnet_kernel_t};

/// Boots a kernel: the default vnet with its `lo0`. Only of libifnet_capi.a.
///
/// `host` is copied. `memory` holds everything if the host has no `alloc`; otherwise it may be null. It is the kernel's
/// until `ifnet_shutdown`. `config` may be null.
///
/// Errors: `EINVAL` for null, for a host that lacks what it must have, and for one whose locks are not those of a kernel
/// that is up; `EAGAIN` if four kernels are running; `ENOMEM`.
// SAFETY: the name begins with the library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn ifnet_boot(
    host: *const ifnet_host,
    memory: *mut c_void,
    len: usize,
    config: *const ifnet_config,
    kernel: *mut ifnet_kernel_t,
) -> c_int {
    // SAFETY: C promises that pointers which are not null point to what the header says, and that the memory is nobody's.
    unsafe { ifnet::capi::ifnet_boot(host, memory, len, config, kernel) }
}

/// Takes a kernel down. All its memory is given back. Only of libifnet_capi.a.
///
/// Errors: `EINVAL`, `EBADF`; `EBUSY` if a thread is in it, a vnet besides the default one exists, or C has not freed an
/// interface or released a reference.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn ifnet_shutdown(kernel: ifnet_kernel_t) -> c_int {
    ifnet::capi::ifnet_shutdown(kernel)
}

/// How many bytes of the memory of `ifnet_boot` are in use; 0 with a host that has `alloc`, and for a bad handle. Only of
/// libifnet_capi.a.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn ifnet_memory_in_use(kernel: ifnet_kernel_t) -> usize {
    ifnet::capi::ifnet_memory_in_use(kernel)
}
