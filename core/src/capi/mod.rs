//! The C interface: what a driver or a kernel in C is linked with.
//!
//! The functions have FreeBSD's names, and what FreeBSD finds in `curthread` they take as their first argument: the thread
//! of the caller. The header is `include/ifnet.h`, generated from this module; the static library is made by the package
//! `ifnet-capi` in `core/capi`, which adds nothing but the panic handler that a program without `std` must have. It is a
//! package of its own because a library may not bring one: a program with `std`, and every test, has its own.
//!
//! ```c
//! struct ifnet_kernel *kernel;
//! struct thread *td;
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
//! `tests/capi/driver.c` is an example: a driver that is attached, moved between vnets, sends, receives, is detached and
//! freed. It needs the header and nothing else. `tests/capi/host.c` is a process as its host.
//!
//! # Threads and contexts
//!
//! A thread of the host enters a kernel before its first call and leaves it after its last; in between the handle that it
//! got is good in that thread and in no other. It may be in several kernels. Vnets and interfaces may be used by all.
//!
//! | where | what may be called |
//! |---|---|
//! | an interrupt handler | nothing: the locks spin and do not mask interrupts |
//! | a function of the host (`alloc`, `trace`, …) | nothing |
//! | inside an epoch section, and in a driver's `transmit` and `input` | `if_transmit`, `if_input`, `if_ref`, `if_rele`, `ifunit_ref`, `ifnet_byindex_ref`, what gets or sets a field, `curvnet_set`, `net_epoch_enter`, `net_epoch_exit` |
//! | elsewhere, and in a driver's `ioctl`, `qflush` and `reassign` | everything; `reassign` and, at a detach, `qflush` run under the detach lock |
//!
//! After `if_detach` none of the driver's functions is called any more. Before it returns, `if_free` waits for those that
//! send and receive; then the driver's data may go, unless another thread is in a request to its `ioctl`.
//!
//! # Misuse
//!
//! Handles are numbers with the type of a pointer; nothing follows them. So whatever a C program does with a handle, the
//! outcome is one of these:
//!
//! | what | outcome |
//! |---|---|
//! | a null handle, a null pointer | `EINVAL` |
//! | a handle after its object has gone, twice given to `if_free`, made up, of another kind, of another kernel | `EBADF` |
//! | a thread's handle in another thread; `if_detach` or `if_free` of an interface that C did not allocate | `EPERM` |
//! | `if_free` or `if_initname` of what is attached; two verbs of one driver at once; leaving from inside a call | `EBUSY` |
//! | one `if_rele` too many, `net_epoch_exit` without a section | `EINVAL` |
//! | `if_detach` of what is not attached | the panic `<if>: interface is not on the active list` |
//! | sleeping inside an epoch section | the panic of the core |
//! | `ifnet_shutdown` while something is left | `EBUSY` |
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
//! | `handle` | handles, put together and taken apart | no |
//! | `objects` | the share that C has in vnets and interfaces | no |
//! | `driver` | a driver's functions behind [`IfOps`](crate::IfOps) | no |
//! | `host` | the [`Platform`](crate::Platform) made of C functions | memory, packets, the sleeper's cookie |
//! | `registry` | kernels and threads by handle; boot and shutdown | how long they live |
//! | `raw` | texts and places for results | pointers from C |
//! | `kernel`, `interface` | the exported functions | their names; calls of `raw` |

pub mod abi;
mod driver;
mod handle;
mod host;
mod interface;
mod kernel;
mod objects;
mod raw;
mod registry;
#[cfg(test)]
mod tests;

pub use host::rust_panic;
pub use interface::*;
pub use kernel::*;
