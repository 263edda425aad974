//! A vnet: one instance of the network stack, and what it owns.
//!
//! Each vnet has its list of interfaces with their names, its groups, its cloners and its taps. The index table is one
//! for all vnets (`index.rs`), so that an index stays the same over a move.

use crate::clone::Cloner;
use crate::epoch::DomainRef;
use crate::ifnet::group::VnetGroups;
use crate::ifnet::{self, Ifnet};
use crate::mem::{Link, Shared, TailQ};
use crate::platform::{Mutex, Platform};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use crate::sync::{LockClass, Sx};
use crate::thread::Thread;

pub(crate) mod destroy;
#[cfg(feature = "groups")]
pub(crate) mod group_verbs;
#[cfg(not(feature = "groups"))]
#[path = "no_groups.rs"]
pub(crate) mod group_verbs;
pub(crate) mod index;
pub(crate) mod list;
mod names;
pub(crate) mod removal;
pub(crate) mod sysinit;

pub use destroy::{vnet_alloc, vnet_destroy};
#[cfg(feature = "groups")]
pub use group_verbs::{if_addgroup, if_delgroup, if_getgroup, if_getgroupmembers};
pub use index::{IF_INDEX_MAX, ifnet_byindex, ifnet_byindex_ref, ifnet_byindexgen};
pub use list::{if_foreach, ifunit, ifunit_ref};
pub use removal::vnet_destroy_deferred;
pub use sysinit::{Subsystem, SysInit, VnetInit, VnetUninit, vnet_deregister_sysuninit, vnet_register_sysinit};

use names::NameTable;

/// A vnet, kept in memory by this handle; it may have been destroyed.
pub type VnetRef<P> = Shared<Vnet<P>, P>;

/// `struct vnet`.
///
/// # Invariants
/// 1. `ifcnt` is the length of `ifnets` (I2).
/// 2. `names` has exactly one live entry for each interface on `ifnets`, and room for each that is lent out.
/// 3. Nothing is linked once `destroyed` is set (I11).
pub struct Vnet<P: Platform> {
    id: u32,
    /// `V_ifnet`, written under `ifnet_sx`.
    pub(crate) ifnets: TailQ<Ifnet<P>, P, ifnet::ByVnet>,
    /// Interfaces that the teardown has taken off the list together. Under the detach lock.
    pub(crate) leaving: TailQ<Ifnet<P>, P, ifnet::ByVnet>,
    /// `vnet_ifcnt`.
    pub(crate) ifcnt: AtomicUsize,
    pub(crate) names: P::Mutex<NameTable<P>>,
    pub(crate) groups: VnetGroups<P>,
    /// `V_if_cloners`.
    pub(crate) cloners: TailQ<Cloner<P>, P, crate::clone::ByVnet>,
    /// `V_bpf_iflist`, written under `bpf_sx`.
    #[cfg(feature = "bpf")]
    pub(crate) taps: crate::bpf::Taps<P>,
    /// The vnet's own lock; see `lifecycle/unregister.rs`.
    pub(crate) sx: Sx<P>,
    /// Interfaces here that are to be unregistered, written under the detach lock.
    pub(crate) unreg: TailQ<Ifnet<P>, P, ifnet::ByUnreg>,
    /// `vnet_shutdown`.
    shutdown: AtomicBool,
    /// `vnet_state`: the subsystem whose constructor or destructor ran last.
    state: AtomicU32,
    /// `vnet_magic_n` is `0xdeadbeef`.
    destroyed: AtomicBool,
    /// How often a linking that promised a unique name made a second one of it (see `names`).
    pub(crate) name_clashes: AtomicUsize,
    /// On the queue of vnets to be removed.
    pub(crate) removal: Link<Self, P>,
}

impl<P: Platform> Vnet<P> {
    pub(crate) fn new(domain: &DomainRef<P>, id: u32) -> Self {
        Self {
            id,
            ifnets: TailQ::new(domain),
            leaving: TailQ::new(domain),
            ifcnt: AtomicUsize::new(0),
            names: P::Mutex::new(NameTable::new(domain.platform().allocator())),
            groups: VnetGroups::new(domain),
            cloners: TailQ::new(domain),
            #[cfg(feature = "bpf")]
            taps: TailQ::new(domain),
            sx: Sx::new("vnet", LockClass::VNET, true),
            unreg: TailQ::new(domain),
            shutdown: AtomicBool::new(false),
            state: AtomicU32::new(0),
            destroyed: AtomicBool::new(false),
            name_clashes: AtomicUsize::new(0),
            removal: Link::new(domain),
        }
    }

    /// The number in `v0`, `v1`, …: the lowest that was free when the vnet was made.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// `vnet_ifcnt`: how many interfaces are on the list.
    pub fn ifcnt(&self) -> usize {
        self.ifcnt.load(Ordering::Acquire)
    }

    /// Whether `vnet_destroy` has begun.
    pub fn is_shutdown(&self) -> bool {
        self.shutdown.load(Ordering::Acquire)
    }

    /// Whether `vnet_destroy` has ended. A handle to such a vnet is good for nothing.
    pub fn is_destroyed(&self) -> bool {
        self.destroyed.load(Ordering::Acquire)
    }

    /// `VNET_IS_SHUTTING_DOWN`: destruction has begun and has passed the first destructor, which returns borrowed
    /// interfaces; detach is abbreviated from then on.
    pub fn is_shutting_down(&self) -> bool {
        self.is_shutdown() && self.state.load(Ordering::Acquire) < Subsystem::VNET_DONE.0
    }

    /// Every change of what a vnet has passes here, and is one that stays: a linking, a queueing, a cloner. The general
    /// check, with the feature `hazards` and in debug builds, that nobody works in a vnet that is gone: not on it, and not
    /// under its lock, which keeps nobody out any more. A vnet that is locked and found dead is harmless until then.
    ///
    /// # Panics
    /// `<what>: v<N> is destroyed`; `<what>: v<N> is changed under the lock of v<M>, which is destroyed`.
    #[inline]
    pub(crate) fn changes(&self, td: &Thread<'_, P>, what: &str) {
        if !cfg!(any(feature = "hazards", debug_assertions)) {
            return;
        }
        if self.is_destroyed() {
            td.platform().panic(format_args!("{what}: v{} is destroyed", self.id));
        }
        if let Some(dead) = td.dead_work() {
            let id = self.id;
            td.platform().panic(format_args!("{what}: v{id} is changed under the lock of v{dead}, which is destroyed"));
        }
    }

    pub(crate) fn begin_shutdown(&self) -> bool {
        !self.shutdown.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn set_state(&self, subsystem: Subsystem) {
        self.state.store(subsystem.0, Ordering::Release);
    }

    pub(crate) fn set_destroyed(&self) {
        self.destroyed.store(true, Ordering::Release);
    }
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests;
