//! The interface itself: `struct ifnet`.
//!
//! An [`Ifnet`] is born by [`if_alloc`](crate::lifecycle::if_alloc) and is from then on reachable by index. It is on a
//! vnet's list between attach and detach, and it is freed a grace period after its last reference is gone. Who may hold
//! it how:
//!
//! | handle | is | keeps |
//! |---|---|---|
//! | [`IfnetOwner`] | the driver's: the index reference; given up to `if_free` | the interface |
//! | [`IfnetRef`] | a counted reference: `if_ref` … `if_rele` | the interface |
//! | [`Ifp`] | `struct ifnet *`, a bare pointer | only the memory: the interface may be detached or freed |
//! | [`IfPtr`] | the same, borrowed for an epoch section | only the memory, for the section |
//!
//! Only the owner can attach, detach and free, so that a double free does not compile.

use crate::clone::Cloner;
use crate::epoch::DomainRef;
use crate::hazard::{Hazard, HazardSet};
use crate::mem::{AnyShared, Borrowed, Link, Linked, Once, Published, Shared, TryVec};
use crate::platform::{Mutex, Platform};
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, Ordering};
use crate::thread::Thread;
use crate::vnet::{Vnet, VnetRef};

pub(crate) mod addr;
pub(crate) mod afdata;
mod counters;
mod flags;
#[cfg(feature = "groups")]
pub(crate) mod group;
#[cfg(not(feature = "groups"))]
#[path = "no_groups.rs"]
pub(crate) mod group;
pub(crate) mod holders;
pub(crate) mod hook;
pub(crate) mod life;
pub(crate) mod name;
pub(crate) mod ops;
mod reference;
pub(crate) mod stack;

pub use addr::{IfAddr, IfaRef, SockAddr, parse_lladdr};
pub use counters::IfCounter;
pub use flags::{ETHERMTU, GIF_MTU, IF_MAXMTU, IF_MINMTU, IfCaps, IfFlags, IfType, LOMTU, LinkState};
#[cfg(feature = "groups")]
pub use group::Group;
pub use holders::{HeldBy, if_holders};
pub use name::{IFNAMSIZ, IfName, NameError};
pub use ops::{IfOps, Ioctl};
pub(crate) use reference::if_found_ref;
pub(crate) use reference::if_rele;
pub use reference::{IfnetOwner, IfnetRef, if_ref, if_try_ref};
pub use stack::{RxHandler, RxInput};

use addr::Addresses;
use afdata::AfData;
use counters::Counters;
use group::IfGroups;
use holders::Holders;
use life::Life;
use stack::Stack;

/// The list of a vnet's interfaces: `V_ifnet`.
pub(crate) enum ByVnet {}
/// The list of a cloner's interfaces: `ifc_iflist`.
pub(crate) enum ByCloner {}
/// The queue of interfaces with pending tasks.
pub(crate) enum ByTaskq {}
/// A vnet's queue of interfaces to unregister, or a caller's list of them.
pub(crate) enum ByUnreg {}
/// The list of interfaces that are unregistered and not yet freed.
pub(crate) enum ByTodo {}
/// The list of interfaces that were given to `if_free` and are kept by references.
#[cfg(feature = "holders")]
pub(crate) enum ByLingering {}

/// A bare pointer to an interface: `struct ifnet *`. It keeps the memory, not the interface; see the [module](self).
pub type Ifp<P> = Shared<Ifnet<P>, P>;
/// A bare pointer that was found inside an epoch section and is good until its end.
pub type IfPtr<'g, P> = Borrowed<'g, Ifnet<P>, P>;

/// Names of an interface, under one short lock.
pub(crate) struct Names<P: Platform> {
    /// `if_xname`.
    pub(crate) xname: IfName,
    /// `if_dname`.
    pub(crate) dname: IfName,
    /// `if_dunit`; `None` is `IF_DUNIT_NONE`.
    pub(crate) dunit: Option<u32>,
    /// `if_description`.
    pub(crate) description: TryVec<u8, P::Allocator>,
}

/// Longest description, in bytes: `ifdescr_maxlen` with its terminating NUL taken off.
pub const IFDESCRSIZE: usize = 63;

/// `struct ifnet`.
///
/// # Invariants
/// 1. `index` and `idxgen` do not change between `if_alloc` and `if_free`.
/// 2. It is on at most one `V_ifnet`, and then `vnet` names that one.
/// 3. `IFF_DYING` is set before the object is freed, and is never cleared.
/// 4. `home` is set once, by the first attach.
pub struct Ifnet<P: Platform> {
    pub(crate) domain: DomainRef<P>,
    pub(crate) life: Life,
    pub(crate) holders: Holders,
    #[cfg(feature = "hazards")]
    hazards: HazardSet,
    if_type: IfType,
    index: AtomicU32,
    /// What `index` was first: for the check of invariant 1.
    first_index: AtomicU32,
    pub(crate) idxgen: AtomicU16,
    flags: AtomicU32,
    pub(crate) names: P::Mutex<Names<P>>,
    /// Further names, in the order of adding; written under the detach lock. None while it is on no list and stays so.
    pub(crate) altnames: P::Mutex<TryVec<IfName, P::Allocator>>,
    /// `IFLA_GROUP`.
    link_group: AtomicU32,
    pub(crate) vnet: Published<Vnet<P>, P>,
    pub(crate) home: Published<Vnet<P>, P>,
    driver: P::Mutex<Driver<P>>,
    pub(crate) addrs: P::Mutex<Addresses<P>>,
    pub(crate) afdata: Published<AfData<P>, P>,
    #[cfg_attr(not(feature = "groups"), expect(dead_code, reason = "there is nothing in it"))]
    pub(crate) groups: IfGroups<P>,
    pub(crate) counts: P::Mutex<FlagCounts>,
    link_state: AtomicU8,
    mtu: AtomicU32,
    capenable: AtomicU32,
    pub(crate) counters: Counters,
    #[cfg(feature = "bpf")]
    pub(crate) bpf: crate::bpf::BpfSlot<P>,
    pub(crate) cloner: P::Mutex<Option<Shared<Cloner<P>, P>>>,
    pub(crate) tasks: AtomicU8,
    /// Whether the last announcement was an arrival (I13).
    announced: AtomicBool,
    in_vnet: Link<Self, P>,
    in_cloner: Link<Self, P>,
    in_taskq: Link<Self, P>,
    /// See [`stack`](Self::stack()).
    stack: Once<Stack<P>, P>,
    /// The note of a walk through the stack, under the detach lock; 0 outside of one.
    pub(crate) tower: AtomicU32,
    /// The thread that waits for the end of this unregistered interface; 0 if none does.
    pub(crate) awaited_by: AtomicU32,
    in_unreg: Link<Self, P>,
    in_todo: Link<Self, P>,
    #[cfg(feature = "holders")]
    in_lingering: Link<Self, P>,
}

/// What the driver has given to its interface.
struct Driver<P: Platform> {
    ops: &'static IfOps<P>,
    /// `if_softc`.
    softc: Option<AnyShared<P>>,
}

/// `if_pcount` and `if_amcount`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FlagCounts {
    pub(crate) promisc: u32,
    pub(crate) allmulti: u32,
}

impl<P: Platform> Linked<P, ByVnet> for Ifnet<P> {
    fn link(&self) -> &Link<Self, P> {
        &self.in_vnet
    }
}

impl<P: Platform> Linked<P, ByCloner> for Ifnet<P> {
    fn link(&self) -> &Link<Self, P> {
        &self.in_cloner
    }
}

impl<P: Platform> Linked<P, ByTaskq> for Ifnet<P> {
    fn link(&self) -> &Link<Self, P> {
        &self.in_taskq
    }
}

impl<P: Platform> Linked<P, ByUnreg> for Ifnet<P> {
    fn link(&self) -> &Link<Self, P> {
        &self.in_unreg
    }
}

impl<P: Platform> Linked<P, ByTodo> for Ifnet<P> {
    fn link(&self) -> &Link<Self, P> {
        &self.in_todo
    }
}

#[cfg(feature = "holders")]
impl<P: Platform> Linked<P, ByLingering> for Ifnet<P> {
    fn link(&self) -> &Link<Self, P> {
        &self.in_lingering
    }
}

impl<P: Platform> Ifnet<P> {
    /// A fresh object of `if_alloc`: one reference, no index yet, in the vnet of the caller.
    #[cfg_attr(feature = "holders", track_caller)]
    pub(crate) fn new(td: &Thread<'_, P>, if_type: IfType, groups: IfGroups<P>) -> Self {
        let domain = td.domain();
        let vnet = Published::new(domain);
        vnet.swap(Some(td.curvnet()));
        Self {
            life: Life::new(),
            holders: Holders::new(core::panic::Location::caller()),
            #[cfg(feature = "hazards")]
            hazards: td.hazards(),
            if_type,
            index: AtomicU32::new(0),
            first_index: AtomicU32::new(0),
            idxgen: AtomicU16::new(0),
            flags: AtomicU32::new(0),
            names: P::Mutex::new(Names {
                xname: IfName::default(),
                dname: IfName::default(),
                dunit: None,
                description: TryVec::new(td.allocator()),
            }),
            altnames: P::Mutex::new(TryVec::new(td.allocator())),
            link_group: AtomicU32::new(0),
            vnet,
            home: Published::new(domain),
            driver: P::Mutex::new(Driver { ops: IfOps::DEFAULT, softc: None }),
            addrs: P::Mutex::new(Addresses::new(td.allocator())),
            afdata: Published::new(domain),
            groups,
            counts: P::Mutex::new(FlagCounts::default()),
            link_state: AtomicU8::new(LinkState::Unknown as u8),
            mtu: AtomicU32::new(ETHERMTU),
            capenable: AtomicU32::new(0),
            counters: Counters::new(),
            #[cfg(feature = "bpf")]
            bpf: crate::bpf::BpfSlot::new(),
            cloner: P::Mutex::new(None),
            tasks: AtomicU8::new(0),
            announced: AtomicBool::new(false),
            in_vnet: Link::new(domain),
            in_cloner: Link::new(domain),
            in_taskq: Link::new(domain),
            stack: Once::new(),
            tower: AtomicU32::new(0),
            awaited_by: AtomicU32::new(0),
            in_unreg: Link::new(domain),
            in_todo: Link::new(domain),
            #[cfg(feature = "holders")]
            in_lingering: Link::new(domain),
            domain: domain.clone(),
        }
    }

    /// A step on the interface; see [`Life::touch`].
    #[inline]
    pub(crate) fn touch(&self) {
        self.life.touch(
            self.domain.platform(),
            &format_args!("interface with index {} touched after if_free", self.index()),
        );
    }

    /// `if_index`: constant from `if_alloc` to `if_free`, over every move.
    pub fn index(&self) -> u32 {
        self.index.load(Ordering::Relaxed)
    }

    /// Stores the index that the table gave.
    pub(crate) fn set_index(&self, index: u32) {
        self.index.store(index, Ordering::Relaxed);
        if self.first_index.load(Ordering::Relaxed) == 0 {
            self.first_index.store(index, Ordering::Relaxed);
        }
    }

    /// Whether the index is still the first one.
    pub(crate) fn index_is_first(&self) -> bool {
        self.index() == self.first_index.load(Ordering::Relaxed)
    }

    /// `if_idxgen`: the generation of the index slot at `if_alloc`.
    pub fn idxgen(&self) -> u16 {
        self.idxgen.load(Ordering::Relaxed)
    }

    /// `if_type`.
    pub fn if_type(&self) -> IfType {
        self.if_type
    }

    /// `if_xname`.
    pub fn name(&self) -> IfName {
        self.touch();
        self.names.lock().xname.clone()
    }

    /// `if_dname`: the name of the driver, through which the cloner is found.
    pub fn dname(&self) -> IfName {
        self.names.lock().dname.clone()
    }

    /// `if_dunit`; `None` is `IF_DUNIT_NONE`.
    pub fn dunit(&self) -> Option<u32> {
        self.names.lock().dunit
    }

    /// `if_flags | if_drv_flags`.
    pub fn flags(&self) -> IfFlags {
        self.touch();
        self.raw_flags()
    }

    /// The flags, without the shadow check: for the code that frees, and for reports.
    pub(crate) fn raw_flags(&self) -> IfFlags {
        IfFlags::from_bits_retain(self.flags.load(Ordering::Acquire))
    }

    pub(crate) fn set_flags(&self, set: IfFlags) {
        self.flags.fetch_or(set.bits(), Ordering::AcqRel);
    }

    pub(crate) fn clear_flags(&self, clear: IfFlags) {
        debug_assert!(!clear.contains(IfFlags::DYING), "IFF_DYING is never cleared");
        self.flags.fetch_and(!clear.bits(), Ordering::AcqRel);
    }

    /// `if_setflags` of a driver before attach: which flags the interface has from the start.
    pub fn init_flags(&self, flags: IfFlags) {
        self.set_flags(flags.difference(IfFlags::DYING | IfFlags::RENAMING));
    }

    /// Whether `IFF_DYING` is set: detached or freed.
    pub fn is_dying(&self) -> bool {
        self.raw_flags().contains(IfFlags::DYING)
    }

    /// `if_vnet`: where it lives now. Stable only while the detach lock is held, or inside an epoch section of an
    /// interface that was found on a list.
    pub fn if_vnet(&self, td: &Thread<'_, P>) -> VnetRef<P> {
        self.touch();
        td.read(&self.vnet).unwrap_or_else(|| td.curvnet())
    }

    /// `if_home_vnet`: the vnet of the first attach, where it returns to; `None` before.
    pub fn if_home_vnet(&self, td: &Thread<'_, P>) -> Option<VnetRef<P>> {
        td.read(&self.home)
    }

    /// The driver's table of functions.
    pub fn ops(&self) -> &'static IfOps<P> {
        self.touch();
        self.driver.lock().ops
    }

    /// Gives the interface its driver's functions. Before attach, or by the driver itself.
    pub fn set_ops(&self, ops: &'static IfOps<P>) {
        self.driver.lock().ops = ops;
    }

    /// `if_softc`: the driver's private data.
    pub fn softc(&self) -> Option<AnyShared<P>> {
        self.touch();
        self.driver.lock().softc.clone()
    }

    /// The same, as what the driver knows it to be; `None` also if it is something else, and so another driver's.
    pub fn softc_as<T: Send + Sync + 'static>(&self) -> Option<Shared<T, P>> {
        self.touch();
        self.driver.lock().softc.as_ref()?.to_shared()
    }

    /// Sets or clears `if_softc`.
    pub fn set_softc(&self, softc: Option<AnyShared<P>>) {
        let old = core::mem::replace(&mut self.driver.lock().softc, softc);
        drop(old);
    }

    /// `SIOCGIFADDR` for all families: calls `each` with every network address and its prefix length, in the order in
    /// which they were added.
    ///
    /// # Locks
    /// Holds the short lock of the list: `each` may not call back into the interface.
    pub fn addresses(&self, mut each: impl FnMut(SockAddr, u8)) {
        self.touch();
        self.addrs.lock().network.iter().for_each(|ifa| each(ifa.sockaddr(), ifa.prefix()));
    }

    /// `if_mtu`, in bytes.
    pub fn mtu(&self) -> u32 {
        self.mtu.load(Ordering::Relaxed)
    }

    /// Sets `if_mtu`, in bytes, as a driver does; no check.
    pub fn set_mtu(&self, mtu: u32) {
        self.mtu.store(mtu, Ordering::Relaxed);
    }

    /// `if_capenable`.
    pub fn capenable(&self) -> IfCaps {
        IfCaps::from_bits_retain(self.capenable.load(Ordering::Relaxed))
    }

    /// Sets `if_capenable`.
    pub fn set_capenable(&self, caps: IfCaps) {
        self.capenable.store(caps.bits(), Ordering::Relaxed);
    }

    /// `if_link_state`.
    pub fn link_state(&self) -> LinkState {
        LinkState::from_raw(self.link_state.load(Ordering::Relaxed))
    }

    /// Stores the link state; the old one.
    pub(crate) fn swap_link_state(&self, state: LinkState) -> LinkState {
        LinkState::from_raw(self.link_state.swap(state as u8, Ordering::Relaxed))
    }

    /// `if_get_counter`.
    pub fn counter(&self, counter: IfCounter) -> usize {
        self.counters.get(counter)
    }

    /// `if_inc_counter`.
    pub fn count(&self, counter: IfCounter, by: usize) {
        self.counters.add(counter, by);
    }

    /// `if_pcount`: how many want the interface promiscuous.
    pub fn pcount(&self) -> u32 {
        self.counts.lock().promisc
    }

    /// `if_amcount`: how many want all multicast packets.
    pub fn amcount(&self) -> u32 {
        self.counts.lock().allmulti
    }

    /// `if_refcount`: references held, the index's included.
    pub fn refcount(&self) -> u32 {
        self.life.refs()
    }

    /// `IFLA_GROUP`: the number by which Linux deletes interfaces together. 0, which an interface has at first, is none.
    pub fn link_group(&self) -> u32 {
        self.link_group.load(Ordering::Relaxed)
    }

    /// Sets [`link_group`](Self::link_group). It stays over moves and renames.
    pub fn set_link_group(&self, group: u32) {
        self.link_group.store(group, Ordering::Relaxed);
    }

    /// Whether this is its name, or one of its further ones.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        *self.name() == *name || self.altnames.lock().iter().any(|altname| **altname == *name)
    }

    /// How many names it has: each needs a place in every table in which the interface has one.
    pub(crate) fn name_count(&self) -> usize {
        1 + self.altnames.lock().len()
    }

    /// Whether it was made by a cloner, and not by a driver for its hardware.
    pub fn is_cloned(&self) -> bool {
        self.cloner.lock().is_some()
    }

    /// Whether somebody has queued it for unregistration.
    pub(crate) fn is_queued(&self) -> bool {
        self.in_unreg.is_listed()
    }

    /// Notes an arrival or a departure; whether they alternate.
    pub(crate) fn announce(&self, arrives: bool) -> bool {
        self.announced.swap(arrives, Ordering::AcqRel) != arrives
    }

    pub(crate) fn hazard(&self, hazard: Hazard) -> bool {
        #[cfg(feature = "hazards")]
        let open = self.hazards;
        #[cfg(not(feature = "hazards"))]
        let open = HazardSet::empty();
        open.contains(hazard.set())
    }
}
