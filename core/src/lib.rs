//! The interface life cycle of FreeBSD, out of the kernel.
//!
//! `ifnet` is the part of FreeBSD's network stack that makes, moves and destroys interfaces: the list of interfaces of
//! each vnet, the index table, vnet ownership, attach, detach and the moves between vnets, the detach lock, and the panic
//! when an unlink fails. Its order of steps, errors, events and panic texts are those of FreeBSD 15.1.
//!
//! It is `no_std`, needs no global allocator and no thread-locals, and runs on whatever implements [`Platform`]: a
//! kernel, a process, or a model checker that chooses the schedule.
//!
//! # The rooms, lowest first
//!
//! | room | holds |
//! |---|---|
//! | [`platform`] | the one trait a host implements; the ready-made spin host |
//! | [`sync`] | atomics, `sx(9)`, the lock-order witness |
//! | [`epoch`] | `epoch(9)`: sections, grace periods, callbacks |
//! | [`mem`] | containers that report a lack of memory, counted handles, lists for lock-free readers, the fixed pool |
//! | [`ifnet`](mod@ifnet) | the interface itself |
//! | [`vnet`] | the list, the names, the index table, groups; vnets from birth to death |
//! | [`lifecycle`] | one verb a file: attach, detach, move, rename, up and down |
//! | [`bpf`], [`event`] | taps; event handlers |
//! | [`clone`](mod@clone), [`drivers`] | cloners with their units; lo, disc, epair, gif, tun, tap, vmnet; vlan, bridge, lagg; veth, ipvlan, ipvtap, macvlan, vlan8021q |
//! | [`hazard`], [`trace`], [`invariants`] | historical bugs as switches; what happened; what must always hold |
//!
//! With the feature `capi` there is one more room, `capi`: the functions above, exported by name for C.
//!
//! # Features
//!
//! | feature | default | for |
//! |---|---|---|
//! | `hashbrown` | on | hash tables of the crate of that name, which links `alloc`, and so wants a global allocator in the program |
//! | `drivers` | on | the built-in drivers; without it a kernel is booted [bare](Kernel::boot_bare) |
//! | `bpf` | on | taps: without it interfaces have none |
//! | `groups` | on | interface groups: without it there are none, not even `all` |
//! | `capi` | off | the C interface, `capi`: functions with FreeBSD's names that a driver in C is linked with |
//! | `holders` | off | which line of the source holds each reference of an interface, in reports of those that are left |
//! | `witness` | off | the lock-order witness |
//! | `hazards` | off | historical bugs that can be opened by name, for explorers and fuzzers |
//!
//! A kernel without a global allocator takes `default-features = false`, and of `drivers`, `bpf` and `groups` what it wants. How to link the core into
//! a kernel, and which call is allowed where, is the chapter [`porting`].
#![no_std]
#![cfg_attr(
    not(feature = "drivers"),
    expect(dead_code, unused_imports, reason = "what only the built-in drivers call")
)]

#[cfg(test)]
extern crate std;

#[cfg(feature = "bpf")]
pub mod bpf;
#[cfg(not(feature = "bpf"))]
#[path = "no_bpf.rs"]
mod bpf;
#[cfg(all(feature = "capi", not(ifnet_loom)))]
pub mod capi;
pub mod clone;
#[cfg(feature = "drivers")]
pub mod drivers;
pub mod epoch;
pub mod errno;
pub mod event;
pub mod hazard;
pub mod ifnet;
pub mod invariants;
mod kernel;
pub mod lifecycle;
pub mod mem;
pub mod platform;
/// The chapter for whoever links the core into a kernel.
#[doc = include_str!("../PORTING.md")]
#[doc = "\n```"]
#[doc = include_str!("../examples/port.rs")]
#[doc = "```"]
pub mod porting {}
pub mod sync;
pub mod taskq;
#[cfg(all(test, not(ifnet_loom)))]
mod testing;
mod thread;
pub mod trace;
pub mod vnet;

#[cfg(feature = "bpf")]
pub use bpf::{BpfListener, bpf_open, bpfattach, bpfdetach};
pub use clone::{CloneParams, Peer, if_clone_create, if_clone_create_kind, if_clone_create2, if_clone_destroy};
#[cfg(feature = "drivers")]
pub use drivers::tun::{TunHandle, tun_open};
pub use errno::Errno;
pub use ifnet::{
    IfCaps, IfCounter, IfFlags, IfName, IfOps, IfPtr, IfType, Ifnet, IfnetOwner, IfnetRef, Ifp, Ioctl, LinkState,
    RxHandler, SockAddr, if_holders, if_ref, if_try_ref,
};
pub use kernel::{Config, Kernel};
pub use lifecycle::{
    UnregisterList, VnetGuard, ether_ifattach, ether_ifdetach, for_each_lower, for_each_upper, if_addaddr,
    if_addaltname, if_addmulti, if_allmulti, if_alloc, if_alloc_indexed, if_altnames, if_attach, if_deladdr,
    if_delaltname, if_delmulti, if_detach, if_down, if_free, if_initname, if_input, if_link_state_change, if_lladdr,
    if_master, if_rename, if_setdescription, if_setflags, if_setlladdr, if_setmtu, if_transmit, if_unregister,
    if_unregister_group, if_up, if_upper_link, if_upper_unlink, if_vmove_loan, if_vmove_loan_as, if_vmove_reclaim,
    if_vmove_to, ifpromisc, ip6_input, unregister_many, unregister_queue, vnet_lock,
};
pub use platform::Platform;
pub use taskq::TaskMode;
pub use thread::{CurvnetGuard, NetEpoch, Thread};
pub use vnet::{
    Vnet, VnetRef, if_foreach, ifnet_byindex, ifnet_byindex_ref, ifnet_byindexgen, ifunit, ifunit_ref, vnet_alloc,
    vnet_destroy, vnet_destroy_deferred,
};
#[cfg(feature = "groups")]
pub use vnet::{if_addgroup, if_delgroup, if_getgroup, if_getgroupmembers};
