//! The kernel's functions as a driver and a jail manager call them, on one thread: what they refuse, with which errno,
//! and that a refusal leaves everything as it was.

mod bed;
mod bpf;
mod epoch;
mod events;
mod flags;
mod index;
mod mixed;
mod names;
mod oom;
mod opaque;
mod packets;
mod stacks;
mod stacks_oom;
mod sysinit;
mod teardown;
mod told;
mod tun;
mod vlan8021q;
mod vnets;
