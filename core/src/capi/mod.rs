//! The C interface: what a driver or a kernel in C is linked with.
//!
//! The functions have FreeBSD's names, and what FreeBSD finds in `curthread` they take as their first argument: the thread
//! of the caller. The header is `include/ifnet.h`, generated from this module. There are two ways to use it.
//!
//! **A kernel in C** links the static library of the package `ifnet-capi` in `core/capi`. It fills in a `struct ifnet_host`
//! (three functions are required: who calls, what a panic does, how a packet is freed), and boots:
//!
//! ```c
//! ifnet_kernel_t kernel;
//! ifnet_thread_t td;
//! ifnet_boot(&host, memory, sizeof memory, NULL, &kernel);
//! ifnet_thread_enter(kernel, &td);
//! if_t ifp = if_alloc(td, IFNET_IFT_ETHER);
//! if_initname(td, ifp, "em", 0);
//! if_settransmitfn(td, ifp, em_transmit);
//! ether_ifattach(td, ifp, lladdr);
//! ```
//!
//! ```text
//! cargo build --release --manifest-path core/capi/Cargo.toml [--target riscv64gc-unknown-none-elf]
//! cc -Icore/include driver.c host.c core/capi/target/release/libifnet_capi.a
//! ```
//!
//! **A kernel in Rust** has a [`Platform`](crate::Platform) and a [`Kernel`](crate::Kernel) of its own, and drivers in C
//! beside those in Rust. It implements [`CPlatform`], exports the functions with [`capi_export`](crate::capi_export), and
//! lets C in with [`serve`]. A function of a driver in C may then be called by any thread of the kernel, or by a handler: the
//! thread is lent to it for the call, and has a handle meanwhile.
//!
//! `tests/capi/driver.c` is an example: a driver that is attached, moved between vnets, sends, receives, is detached and
//! freed. It needs the header and nothing else. `tests/capi/host.c` is a process as its host, with what a host may leave out
//! in `hooks.c`; `tests/kernel` is a kernel in Rust with the same driver.
//!
//! # Threads and contexts
//!
//! A thread of the host enters a kernel before its first call and leaves it after its last; in between the handle that it
//! got is good in that thread and in no other. It may be in several kernels. Vnets and interfaces may be used by all.
//!
//! | where | what may be called |
//! |---|---|
//! | a function of the host (`alloc`, `trace`, …) | nothing |
//! | inside an epoch section, and in a driver's `transmit` and `input` | `if_transmit`, `if_input`, `if_ref`, `if_rele`, `ifunit_ref`, `ifnet_byindex_ref`, `if_link_state_change`, what gets or sets a field, `curvnet_set`, `net_epoch_enter`, `net_epoch_exit` |
//! | an interrupt handler, which has entered as a thread of its own | the same, if the host has locks that mask interrupts (`mtx_lock`) and says where it is (`in_interrupt`); otherwise nothing |
//! | elsewhere, and in a driver's `ioctl`, `qflush` and `reassign` | everything; `reassign` and, at a detach, `qflush` run under the detach lock |
//!
//! After `if_detach` none of the driver's functions is called any more. Before it returns, `if_free` waits for those that
//! send and receive; then the driver's data may go, unless another thread is in a request to its `ioctl`.
//!
//! # Misuse
//!
//! Handles are numbers; nothing follows them, and none is given twice. So whatever a C program does with a handle, the
//! outcome is one of these:
//!
//! | what | outcome |
//! |---|---|
//! | a null handle, a null pointer | `EINVAL` |
//! | a handle after its object has gone or the last reference was released, twice given to `if_free`, made up, of another kind, of another kernel | `EBADF` |
//! | a thread's handle in another thread; `if_detach` or `if_free` of an interface that C did not allocate | `EPERM` |
//! | `if_free` or `if_initname` of what is attached; two verbs of one driver at once; leaving from inside a call | `EBUSY` |
//! | one `if_rele` too many, `net_epoch_exit` without a section | `EINVAL` |
//! | `if_detach` of what is not attached | the panic `<if>: interface is not on the active list` |
//! | sleeping inside an epoch section or in an interrupt handler | the panic of the core; with debug assertions it names the place in this module, because C tells none |
//! | `ifnet_shutdown` while something is left | `EBUSY` |
//! | the end of [`serve`] while something is left | the panic `serve: C has not let go of the kernel` |
//! | a host without a function that it must have | `EINVAL` of `ifnet_boot` |
//!
//! What a library cannot check is promised by the caller: pointers to texts, places and memory point to what the header
//! says, functions are functions of their type, and `curthread` tells threads apart.
//!
//! # Panics
//!
//! A panic of the emulated kernel goes to the host's `panic`, which must not return, and nothing unwinds into C. The
//! locks that the panicking thread held stay held: the kernel is lost, as a real one is.
//!
//! # Inside
//!
//! | file | holds | `unsafe` |
//! |---|---|---|
//! | `abi` | types and constants of the header | no |
//! | `export` | the functions of the header, exported by name for a platform | their names; promises of C |
//! | `kernel`, `interface` | what these functions do, for any platform | calls of `raw` |
//! | `handle` | handles, put together and taken apart | no |
//! | `objects` | the share that C has in vnets and interfaces | no |
//! | `driver` | a driver's functions behind [`IfOps`](crate::IfOps) | no |
//! | `registry`, `session` | kernels and threads by handle | how long they live |
//! | `serve` | a kernel in Rust is shown to C | the same |
//! | `host`, `lock`, `boot` | the platform made of C functions; its locks; boot and shutdown | memory, packets, locks, the sleeper's cookie |
//! | `raw` | texts and places for results | pointers from C |

pub mod abi;
mod boot;
mod driver;
mod export;
mod handle;
mod host;
#[doc(hidden)]
pub mod interface;
#[doc(hidden)]
pub mod kernel;
mod lock;
mod objects;
mod raw;
mod registry;
mod serve;
mod session;
#[cfg(test)]
mod tests;

/// What `capi_export` refers to.
#[doc(hidden)]
pub mod calls {
    pub use super::interface::*;
    pub use super::kernel::*;
}

pub use boot::{ifnet_boot, ifnet_memory_in_use, ifnet_shutdown};
#[doc(hidden)]
pub use host::CHost;
pub use host::rust_panic;
pub use registry::{CPlatform, Kernels};
pub use serve::serve;
