//! The life of an interface, one verb a file, each in the order of FreeBSD 15.1's steps.
//!
//! | verb | lock | what it may not do |
//! |---|---|---|
//! | [`if_alloc`], [`if_free`] | `ifnet_sx` for the index | – |
//! | [`if_attach`] | `ifnet_sx` for linking | – |
//! | [`if_detach`] | the detach lock, over everything | fail: not being on the list is a panic |
//! | [`if_vmove_loan`], [`if_vmove_reclaim`] | the detach lock, over everything | fail once something is visible |
//! | [`if_unregister`], [`unregister_many`] | the detach lock, a vnet's | touch another vnet's interfaces |
//! | [`if_rename`] | the detach lock | change vnets half-way, or take a name that is in use |
//!
//! # The detach lock
//!
//! `ifnet_detach_sxlock` is one for the whole kernel, recursive, and only ever taken exclusively. It serialises every
//! detach, every move, clone create and destroy, and every vnet's life. This is the contract of review D56374 (PR
//! 292993): the vnet pointer of an interface cannot change, and the interface cannot leave its list, while somebody who
//! holds the lock looks at it.

pub(crate) mod adjacency;
pub(crate) mod alloc;
mod altname;
mod attach;
mod detach;
mod ether;
pub(crate) mod flags;
pub(crate) mod link;
pub(crate) mod multi;
pub(crate) mod purge;
mod rename;
mod transmit;
pub(crate) mod unregister;
pub(crate) mod until_freed;
pub(crate) mod vmove;

pub use adjacency::{MAX_NEST_DEV, for_each_lower, for_each_upper, if_master, if_upper_link, if_upper_unlink};
pub use alloc::{if_alloc, if_alloc_indexed, if_free, if_initname};
pub use altname::{if_addaltname, if_altnames, if_delaltname};
pub use attach::if_attach;
pub use detach::if_detach;
pub use ether::{ether_ifattach, ether_ifdetach};
pub use flags::{if_allmulti, if_down, if_setflags, if_setmtu, if_up, ifpromisc};
pub use link::if_link_state_change;
pub use multi::{if_addmulti, if_delmulti};
pub(crate) use purge::if_purgeaddrs;
pub use purge::{if_addaddr, if_deladdr, if_lladdr, if_setlladdr};
pub use rename::{if_rename, if_setdescription};
pub(crate) use transmit::{enter_vnet, if_deliver, if_forward, is_listening};
pub use transmit::{if_input, if_transmit, ip6_input};
pub use unregister::{
    UnregisterList, VnetGuard, if_unregister, if_unregister_group, unregister_many, unregister_queue, vnet_lock,
};
pub use vmove::{if_vmove_loan, if_vmove_loan_as, if_vmove_reclaim, if_vmove_to};
