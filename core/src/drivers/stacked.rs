//! Upper interfaces that share a lower one: what `ipvlan`, `ipvtap` and `macvlan` have in common.
//!
//! A lower interface that has such uppers is a *port*: its receive slot is taken, so that another family cannot stack on
//! it, and the port holds a reference on it. The port counts the uppers that are not yet uninitialised; the last one
//! empties the slot and gives the reference up. This is what orders the end of a stack: an upper may be unregistered by
//! another thread, in another vnet, long after its lower has departed, and the lower is freed only then.
//!
//! # The departure of a lower
//!
//! The handler of the departure marks every upper as `dying` and queues it, under the port's lock; it unregisters those
//! of its own vnet after it has released the lock, because their uninitialisation takes that again (Linux a8455260b2e9).
//! A move is a departure as well: `IFF_DYING` tells them apart, and the uppers of a lower that moves stay.
//!
//! # Reserve, then commit
//!
//! A create takes everything that can fail before its interface is visible: id, adjacency, data, port.

use crate::Errno;
use crate::clone::{CloneFlags, CloneRequest, Cloner, StackFlags, StackMode};
use crate::epoch::Section;
use crate::event::{Event, Lists, PRI_ANY, register_for_ever};
use crate::hazard::Hazard;
use crate::ifnet::stack::{Admit, StackOps};
use crate::ifnet::{IfFlags, IfOps, IfType, Ifnet, IfnetOwner, Ifp, Ioctl, RxHandler, SockAddr};
use crate::lifecycle::alloc::set_names;
use crate::lifecycle::purge::lladdr_follow;
use crate::lifecycle::unregister::{UnregisterList, call, end_of_dellink, unregister_many, unregister_queue};
use crate::lifecycle::{
    adjacency, ether_ifattach, if_alloc_indexed, if_free, if_link_state_change, if_lladdr, if_upper_unlink,
};
use crate::mem::{Borrowed, Link, Linked, Shared};
use crate::platform::{Mutex, Platform};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::thread::Thread;
use crate::vnet::VnetRef;

mod by_inet;
mod by_lladdr;
mod packets;
mod port;

use packets::transmit;
use port::{ByPort, Port, port_get, port_of, port_put};

/// What of a frame decides which upper gets it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Demux {
    /// The network address that it is for.
    Inet,
    /// The link-level address that it is for.
    Lladdr,
}

/// What kinds that share a port have in common.
pub(super) struct Family {
    /// The kind that takes the receive slot.
    pub(super) name: &'static str,
    /// What the trace calls the end of an upper.
    pub(super) uninit: &'static str,
    /// The modes, the default one first.
    pub(super) modes: &'static [StackMode],
    pub(super) demux: Demux,
    /// Mode and flags are the port's: the last create wins.
    pub(super) port_mode: bool,
    /// Uppers have the link-level address of the lower, and follow it.
    pub(super) same_lladdr: bool,
    /// Uppers follow the MTU of the lower also when it grows.
    pub(super) mtu_grows: bool,
}

/// One kind.
pub(super) struct Kind {
    pub(super) family: &'static Family,
    /// Its packets go to a character device, so that nothing can stack on it.
    pub(super) tap: bool,
}

/// `struct ipvl_dev`: the private data of an upper.
struct Upper<P: Platform> {
    ifp: Ifp<P>,
    owner: P::Mutex<Option<IfnetOwner<P>>>,
    port: Shared<Port<P>, P>,
    kind: &'static Kind,
    id: u32,
    mode: StackMode,
    /// The lower is going: this upper is taken apart, though still attached.
    dying: AtomicBool,
    in_port: Link<Self, P>,
}

impl<P: Platform> Linked<P, ByPort> for Upper<P> {
    fn link(&self) -> &Link<Self, P> {
        &self.in_port
    }
}

/// A name for the constants that need the platform.
struct Stacked<P>(core::marker::PhantomData<P>);

impl<P: Platform> Stacked<P> {
    const OPS: &'static IfOps<P> =
        &IfOps { transmit, input: |_, _, packet| drop(packet), qflush: |_, _| {}, ioctl: Some(ioctl), reassign: None };

    const STACK: &'static StackOps<P> = &StackOps { uninit, address: Some(admit_address) };
}

/// Registers the handler through which uppers follow their lower.
///
/// # Errors
/// `ENOMEM`.
pub(super) fn init<P: Platform>(td: &Thread<'_, P>) -> Result<(), Errno> {
    register_for_ever(td, lower_event, PRI_ANY, Lists::DEPARTURE | Lists::LINK | Lists::LLADDR | Lists::MTU)
}

fn upper_of<P: Platform>(ifp: &Ifnet<P>) -> Option<Shared<Upper<P>, P>> {
    ifp.softc_as()
}

/// The mode of an `ipvlan`, `ipvtap` or `macvlan`, the flags of its port, and its id there; `None` for another kind.
pub fn stack_mode<P: Platform>(ifp: &Ifnet<P>) -> Option<(StackMode, StackFlags, u32)> {
    let upper = upper_of(ifp)?;
    let state = upper.port.state.lock();
    let mode = if upper.kind.family.port_mode { state.mode } else { upper.mode };
    Some((mode, state.flags, upper.id))
}

/// `ipvlan_link_new`: makes an upper of the interface that the request names. An upper of the same family is not stacked
/// upon, but stood beside.
pub(super) fn create<P: Platform>(
    td: &Thread<'_, P>,
    request: &CloneRequest<'_, P>,
    kind: &'static Kind,
) -> Result<Ifp<P>, Errno> {
    let params = request.params;
    let mode = params.mode.unwrap_or(kind.family.modes[0]);
    let flags = params.flags.unwrap_or_default();
    let excluded = StackFlags::PRIVATE | StackFlags::VEPA;
    if !kind.family.modes.contains(&mode) || flags.contains(excluded) || !excluded.contains(flags) {
        return Err(Errno::EINVAL);
    }
    let asked = params.lower.as_ref().ok_or(Errno::EINVAL)?;
    let beside = upper_of(asked).filter(|upper| upper.kind.family.name == kind.family.name);
    let lower = beside.map_or_else(|| Ifp::clone(asked), |upper| upper.port.lower.clone());
    if lower.is_dying() || lower.is_queued() {
        return Err(Errno::ENODEV);
    }
    let port = port_get(td, &lower, kind.family)?;
    create_on(td, request, kind, &port, mode).inspect_err(|_| port_put(td, &port))
}

fn create_on<P: Platform>(
    td: &Thread<'_, P>,
    request: &CloneRequest<'_, P>,
    kind: &'static Kind,
    port: &Shared<Port<P>, P>,
    mode: StackMode,
) -> Result<Ifp<P>, Errno> {
    let alone = mode == StackMode::Passthru || port.has_passthru(td);
    if alone && !port.uppers.is_empty() {
        return Err(Errno::EINVAL);
    }
    let id = port.alloc_id()?;
    let made = if_alloc_indexed(td, IfType::Ether, request.params.index).and_then(|owner| {
        let ifp = Ifp::clone(&owner);
        let upper = attach(td, request, &owner, || Upper {
            ifp: ifp.clone(),
            owner: P::Mutex::new(None),
            port: port.clone(),
            kind,
            id,
            mode,
            dying: AtomicBool::new(false),
            in_port: Link::new(td.domain()),
        });
        match upper {
            Ok(upper) => {
                *upper.owner.lock() = Some(owner);
                Ok(upper)
            }
            Err(errno) => {
                ifp.rx_handler_unregister();
                ifp.set_softc(None);
                if_free(td, owner);
                Err(errno)
            }
        }
    });
    let upper = made.inspect_err(|_| port.free_id(id))?;
    port.set_mode(td, mode, request.params.flags);
    {
        let _pnodes = port.pnodes.xlock(td);
        let listed = port.uppers.insert_tail(&upper);
        debug_assert!(listed, "a new upper is on no list");
    }
    if_link_state_change(td, &upper.ifp, port.lower.link_state());
    Ok(upper.ifp.clone())
}

/// Makes the private data and the adjacency, and attaches: what can fail of that before anything is visible.
fn attach<P: Platform>(
    td: &Thread<'_, P>,
    request: &CloneRequest<'_, P>,
    owner: &IfnetOwner<P>,
    upper: impl FnOnce() -> Upper<P>,
) -> Result<Shared<Upper<P>, P>, Errno> {
    let upper = Shared::try_new(td.domain(), upper())?;
    let (lower, family) = (&upper.port.lower, upper.kind.family);
    set_names(owner, request.name, request.cloner.name(), request.unit)?;
    owner.init_flags(IfFlags::BROADCAST | IfFlags::SIMPLEX | IfFlags::MULTICAST | IfFlags::RUNNING);
    owner.set_ops(Stacked::OPS);
    owner.set_stack_ops(Stacked::STACK)?;
    owner.set_softc(Some(upper.clone().erase()));
    if upper.kind.tap {
        let data = upper.clone().erase();
        owner.rx_handler_register(td, RxHandler { kind: "tap", data, input: |_, _, _, packet| drop(packet) })?;
    }
    let lladdr = match if_lladdr(td, lower) {
        Some(SockAddr::Link(lladdr)) if family.same_lladdr => lladdr,
        _ => own_lladdr(owner),
    };
    let link = adjacency::prepare(td, lower, owner, false)?;
    ether_ifattach(td, owner, lladdr)?;
    owner.set_mtu(request.params.mtu.unwrap_or_else(|| lower.mtu()));
    link.commit(td);
    Ok(upper)
}

/// A locally administered address, different for each index.
fn own_lladdr<P: Platform>(ifp: &Ifnet<P>) -> [u8; 6] {
    let [_, high, middle, low] = ifp.index().to_be_bytes();
    [0x02, high, middle, low, 0x02, 0x0a]
}

/// `ipvlan_link_delete`. An upper that is `dying` is taken apart already: success.
pub(super) fn dellink<P: Platform>(
    td: &Thread<'_, P>,
    _: &Shared<Cloner<P>, P>,
    ifp: &Ifp<P>,
    flags: CloneFlags,
) -> Result<(), Errno> {
    let Some(upper) = upper_of(ifp) else { return Ok(()) };
    let vnet = ifp.if_vnet(td);
    let list = UnregisterList::new(td);
    {
        let _pnodes = upper.port.pnodes.xlock(td);
        if !upper.dying.load(Ordering::Acquire) || td.hazard(Hazard::UpperDeletedTwice) {
            core_delete(td, &vnet, &upper, &list);
        }
    }
    end_of_dellink(td, &list, flags);
    Ok(())
}

/// `__ipvlan_link_delete`: takes an upper apart and gives it up. Under the port's lock.
fn core_delete<P: Platform>(
    td: &Thread<'_, P>,
    vnet: &VnetRef<P>,
    upper: &Shared<Upper<P>, P>,
    list: &UnregisterList<P>,
) {
    let port = &upper.port;
    if upper.kind.tap {
        upper.ifp.rx_handler_unregister();
    }
    port.free_id(upper.id);
    let listed = port.uppers.remove(upper);
    let owner = upper.owner.lock().take();
    let twice = td.hazard(Hazard::UpperDeletedTwice);
    debug_assert!(twice || (listed && owner.is_some()), "an upper is given up once");
    let owner = if twice { Some(IfnetOwner(upper.ifp.clone())) } else { owner };
    if let Some(owner) = owner {
        unregister_queue(td, vnet, owner, list);
    }
    if_upper_unlink(td, &port.lower, &upper.ifp);
}

/// `ipvlan_uninit`: the upper has departed. The last one lets the lower go.
fn uninit<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    let Some(upper) = upper_of(ifp) else { return };
    call(td, upper.kind.family.uninit, ifp);
    ifp.set_softc(None);
    port_put(td, &upper.port);
}

/// `ipvlan_device_event`: something happened to a lower interface.
fn lower_event<P: Platform>(td: &Thread<'_, P>, event: &Event<'_, P>, _: usize) {
    let ifp = match *event {
        Event::Departure(ifp) | Event::Link(ifp, _) | Event::Lladdr(ifp) | Event::Mtu(ifp) => ifp,
        _ => return,
    };
    if !ifp.has_uppers() {
        return;
    }
    let Some(port) = port_of(ifp) else { return };
    match *event {
        Event::Departure(_) => departed(td, &port),
        Event::Link(_, state) => port.for_each(td, |upper| if_link_state_change(td, &upper.ifp, state)),
        Event::Lladdr(_) if port.family.same_lladdr => port.for_each(td, |upper| follow_lladdr(td, upper)),
        Event::Mtu(_) => port.for_each(td, |upper| {
            let mtu = ifp.mtu();
            if port.family.mtu_grows || upper.ifp.mtu() > mtu {
                upper.ifp.set_mtu(mtu);
            }
        }),
        _ => {}
    }
}

/// Needs no memory: a lower's address changes while what is below it is torn down, too.
fn follow_lladdr<P: Platform>(td: &Thread<'_, P>, upper: &Upper<P>) {
    let lent = upper.port.lower.addrs.lock().lladdr.clone();
    if let Some(lent) = lent {
        lladdr_follow(td, &upper.ifp, &lent);
    }
}

/// The lower goes, for good or into another vnet.
fn departed<P: Platform>(td: &Thread<'_, P>, port: &Port<P>) {
    if !port.lower.is_dying() {
        return;
    }
    let vnet = td.curvnet();
    let list = UnregisterList::new(td);
    {
        let _pnodes = port.pnodes.xlock(td);
        port.for_each(td, |upper| {
            upper.dying.store(true, Ordering::Release);
            core_delete(td, &vnet, upper, &list);
        });
        if td.hazard(Hazard::UnregisterUnderPortLock) {
            unregister_many(td, &list);
        }
    }
    unregister_many(td, &list);
}

/// No two uppers of a port of `ipvlan` have the same address: checked and added under the port's lock.
fn admit_address<P: Platform>(
    td: &Thread<'_, P>,
    ifp: &Ifp<P>,
    addr: &SockAddr,
    admit: Admit<'_>,
) -> Result<(), Errno> {
    let Some(upper) = upper_of(ifp).filter(|upper| upper.kind.family.port_mode) else { return admit() };
    let _pnodes = upper.port.pnodes.xlock(td);
    let mut taken = false;
    upper.port.for_each(td, |other| {
        if !other.ifp.ptr_eq(ifp) {
            other.ifp.addresses(|it, _| taken = taken || it == *addr);
        }
    });
    if taken { Err(Errno::EADDRINUSE) } else { admit() }
}

fn ioctl<P: Platform>(_: &Thread<'_, P>, ifp: &Ifnet<P>, request: Ioctl) -> Result<(), Errno> {
    match request {
        // Larger frames than the lower's would not get through.
        Ioctl::SetMtu(mtu) if upper_of(ifp).is_some_and(|upper| mtu > upper.port.lower.mtu()) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

/// What is wrong between an upper and its lower, or a lower and its uppers.
pub(super) fn check<P: Platform>(ifp: &Ifp<P>, section: &Section<'_, P>) -> Result<(), &'static str> {
    if let Some(upper) = upper_of(ifp)
        && upper.owner.lock().is_some()
    {
        let below = ifp.lowers(section).next().and_then(|link| link.lower());
        if !below.is_some_and(|lower| lower.ptr_eq(&upper.port.lower)) {
            return Err("an upper does not stand on the lower of its port");
        }
        if !port_of(&upper.port.lower).is_some_and(|port| port.ptr_eq(&upper.port)) {
            return Err("the lower of an upper is not its port");
        }
    }
    let Some(port) = port_of(ifp) else { return Ok(()) };
    let stands = |upper: &Upper<P>| upper.ifp.lowers(section).next().and_then(|link| link.lower());
    let known = |upper: Borrowed<'_, Upper<P>, P>| stands(&upper).is_some_and(|lower| lower.ptr_eq(ifp));
    if port.uppers.iter(section).all(known) { Ok(()) } else { Err("a port has an upper that does not stand on it") }
}
