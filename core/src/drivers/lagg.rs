//! `lagg(4)`: several Ethernet interfaces, its ports, used as one.
//!
//! The aggregate is the master of its ports, and has a list of them, with what it must give back to each; a port has a
//! hook that names the aggregate. All change together, under the detach lock; the list has a short lock too, for packets
//! and link state.
//!
//! The first port is the primary one: the aggregate takes its link-level address, and so do the other ports. A port that
//! leaves gets its own back, and when the primary leaves, the next one lends its own to all. Every address is the same
//! object wherever it is shown, so that a teardown needs no memory. Nothing keeps anybody from giving a port another one;
//! as in FreeBSD, the aggregate is not told, and its ports take its address again when that changes and when it comes up
//! (`lagg_init`).
//!
//! A port leaves when it is deleted, when it departs (then its driver is not called), and when the aggregate is destroyed
//! or moved. Of the protocols there is `failover`, the default: the first port that is up sends and receives.

use crate::Errno;
use crate::clone::{CloneFlags, CloneRequest, CloneType, Cloner};
use crate::epoch::Section;
use crate::event::Event;
use crate::ifnet::hook::{Hook, HookKind, HookOps};
use crate::ifnet::{ETHERMTU, IfAddr, IfFlags, IfOps, IfType, Ifnet, IfnetOwner, Ifp, Ioctl, LinkState, if_try_ref};
use crate::lifecycle::link::link_state_changed;
use crate::lifecycle::purge::{lladdr_follow, lladdr_lend, lladdr_restore};
use crate::lifecycle::{adjacency, enter_vnet, if_input, if_master, if_setflags, if_transmit, if_upper_unlink};
use crate::mem::{AnyShared, Shared, TryVec};
use crate::platform::{Mutex, Platform};
use crate::sync::SxAssert;
use crate::thread::Thread;

use super::simple;
use super::stack::attached_here;

/// `LAGG_MAX_PORTS`.
const MAX_PORTS: usize = 32;

/// `struct lagg_softc`.
struct Lagg<P: Platform> {
    owner: P::Mutex<Option<IfnetOwner<P>>>,
    /// Its own link-level address, while it shows its primary port's.
    lladdr: P::Mutex<Option<Shared<IfAddr<P>, P>>>,
    /// `sc_ports`: the first is the primary.
    ports: P::Mutex<TryVec<Port<P>, P::Allocator>>,
}

/// `struct lagg_port`.
struct Port<P: Platform> {
    /// Kept by the adjacency.
    ifp: Ifp<P>,
    /// `lp_lladdr`: its own link-level address.
    lladdr: Shared<IfAddr<P>, P>,
}

/// A name for the constants that need the platform.
struct Consts<P>(core::marker::PhantomData<P>);

impl<P: Platform> Consts<P> {
    const KIND: simple::Kind<P> = simple::Kind {
        if_type: IfType::Ether,
        flags: IfFlags::BROADCAST.union(IfFlags::SIMPLEX).union(IfFlags::MULTICAST).union(IfFlags::RUNNING),
        mtu: ETHERMTU,
        ops: &IfOps {
            transmit,
            input: |_, _, packet| drop(packet),
            qflush: |_, _| {},
            ioctl: Some(ioctl),
            // `lagg_reassign`: the ports stay behind, and are free.
            reassign: Some(|td, ifp, _| {
                if let Some(softc) = lagg_of(ifp) {
                    release_all(td, &softc);
                }
            }),
        },
    };

    const HOOK: &'static HookOps<P> = &HookOps { input, event };

    const CLONER: &'static CloneType<P> = &CloneType::auto("lagg", create, destroy);
}

/// The cloner of the kind.
pub(super) fn cloner<P: Platform>() -> &'static CloneType<P> {
    Consts::CLONER
}

fn lagg_of<P: Platform>(ifp: &Ifnet<P>) -> Option<Shared<Lagg<P>, P>> {
    ifp.softc_as()
}

/// `if_lagg`.
fn lagg_of_port<P: Platform>(port: &Ifnet<P>) -> Option<Shared<Lagg<P>, P>> {
    port.hook(HookKind::Lagg)?.softc.to_shared()
}

impl<P: Platform> Lagg<P> {
    fn ifp(&self) -> Option<Ifp<P>> {
        self.owner.lock().as_deref().cloned()
    }

    /// The port number `at`, as a bare pointer.
    fn port(&self, at: usize) -> Option<Ifp<P>> {
        self.ports.lock().get(at).map(|port| port.ifp.clone())
    }

    /// `lagg_link_active`: the port that sends and receives.
    fn active(&self) -> Option<Ifp<P>> {
        let ports = self.ports.lock();
        let active =
            |port: &&Port<P>| port.ifp.raw_flags().contains(IfFlags::UP) && port.ifp.link_state() != LinkState::Down;
        ports.iter().find(active).map(|port| port.ifp.clone())
    }
}

/// `lagg_clone_create`.
fn create<P: Platform>(td: &Thread<'_, P>, request: &CloneRequest<'_, P>) -> Result<Ifp<P>, Errno> {
    let ports = P::Mutex::new(TryVec::new(td.allocator()));
    let lagg = Lagg { owner: P::Mutex::new(None), lladdr: P::Mutex::new(None), ports };
    let softc: Shared<Lagg<P>, P> = Shared::try_new(td.domain(), lagg)?;
    simple::ether(td, request, &Consts::KIND, [0; 6], &softc, |lagg| &lagg.owner)
}

/// `lagg_clone_destroy`: an aggregate can be destroyed with ports, which are free afterwards.
fn destroy<P: Platform>(
    td: &Thread<'_, P>,
    _: &Shared<Cloner<P>, P>,
    ifp: &Ifp<P>,
    _: CloneFlags,
) -> Result<(), Errno> {
    let Some(softc) = lagg_of(ifp) else { return Ok(()) };
    release_all(td, &softc);
    simple::ether_gone(td, &softc.owner);
    Ok(())
}

/// `SIOCSLAGGPORT`: makes `port` a port of `lagg`; both are in the same vnet. The first port gives the aggregate its MTU
/// and its link-level address; the others must have that MTU and take that address. A port comes up with its aggregate.
///
/// # Locks
/// Holds the detach lock.
///
/// # Events
/// `iflladdr_event` of the aggregate or of the port; those of the port going up.
///
/// # Errors
/// `EINVAL` if `lagg` is no aggregate, if `port` is one, and for another MTU than the aggregate's; `ENXIO` if either is
/// not attached, or not to the same vnet; `EEXIST` if it is a port of this aggregate; `EBUSY` if it is one of another, or
/// a member of a bridge, if its packets go to an `rx_handler`, and if it stands on the aggregate; `EPROTONOSUPPORT` if it
/// is no Ethernet interface; `ENOSPC` beyond 32 ports; `EMLINK` if more than 8 interfaces would stand on each other;
/// `ENOMEM`. Then nothing has changed.
#[track_caller]
pub fn lagg_addport<P: Platform>(td: &Thread<'_, P>, lagg: &Ifp<P>, port: &Ifp<P>) -> Result<(), Errno> {
    td.assert_can_sleep("lagg_addport");
    let _stable = td.kernel().detach_sx.xlock(td);
    let softc = lagg_of(lagg).ok_or(Errno::EINVAL)?;
    let _cur = td.curvnet_set(Some(lagg.if_vnet(td)));
    if !attached_here(td, lagg) || !attached_here(td, port) {
        return Err(Errno::ENXIO);
    }
    if lagg_of(port).is_some() {
        return Err(Errno::EINVAL);
    }
    if let Some(master) = if_master(td, port) {
        return Err(if master.ptr_eq(lagg) { Errno::EEXIST } else { Errno::EBUSY });
    }
    if port.if_type() != IfType::Ether {
        return Err(Errno::EPROTONOSUPPORT);
    }
    let count = softc.ports.lock().len();
    if count >= MAX_PORTS {
        return Err(Errno::ENOSPC);
    }
    if count > 0 && port.mtu() != lagg.mtu() {
        return Err(Errno::EINVAL);
    }
    let joined = adjacency::prepare(td, port, lagg, true)?;
    softc.ports.lock().try_reserve(1)?;
    let shown = if count == 0 { port } else { lagg };
    let shown = shown.addrs.lock().lladdr.clone().ok_or(Errno::ENXIO)?;
    let own = lladdr_lend(td, port, &shown).ok_or(Errno::ENXIO)?;

    joined.commit(td);
    let pushed = softc.ports.lock().try_push(Port { ifp: port.clone(), lladdr: own });
    debug_assert!(pushed.is_ok(), "room was reserved under the detach lock");
    port.set_hook(HookKind::Lagg, Some(Hook { softc: softc.clone().erase(), ops: Consts::HOOK }));
    if count == 0 {
        lagg.set_mtu(port.mtu());
        let none = core::mem::replace(&mut *softc.lladdr.lock(), lladdr_lend(td, lagg, &shown));
        drop(none);
    }
    link_state(td, &softc);
    follow(td, lagg, port);
    Ok(())
}

/// `SIOCSLAGGDELPORT`: takes a port away from an aggregate.
///
/// # Locks
/// Holds the detach lock.
///
/// # Events
/// `iflladdr_event` of whoever shows another address afterwards.
///
/// # Errors
/// `EINVAL` if `lagg` is no aggregate, `ENOENT` if `port` is none of its ports.
#[track_caller]
pub fn lagg_delport<P: Platform>(td: &Thread<'_, P>, lagg: &Ifp<P>, port: &Ifp<P>) -> Result<(), Errno> {
    td.assert_can_sleep("lagg_delport");
    let _stable = td.kernel().detach_sx.xlock(td);
    let softc = lagg_of(lagg).ok_or(Errno::EINVAL)?;
    if release(td, lagg, &softc, port) { Ok(()) } else { Err(Errno::ENOENT) }
}

/// `lagg_port_destroy`: both sides forget each other; whether they knew. The driver of the port is not called. Under the
/// detach lock; needs no memory.
fn release<P: Platform>(td: &Thread<'_, P>, lagg: &Ifp<P>, softc: &Lagg<P>, ifp: &Ifp<P>) -> bool {
    let (Port { lladdr, .. }, next) = {
        let mut ports = softc.ports.lock();
        let Some(at) = ports.iter().position(|port| port.ifp.ptr_eq(ifp)) else { return false };
        (ports.remove(at), (at == 0).then(|| ports.first().map(|port| port.lladdr.clone())))
    };
    td.preempt();
    ifp.set_hook(HookKind::Lagg, None);
    match next {
        // The primary has left: all show the address of the next one. The ports hear of it as of any change.
        Some(Some(next)) => lladdr_follow(td, lagg, &next),
        Some(None) => {
            if let Some(own) = { softc.lladdr.lock().take() } {
                lladdr_restore(td, lagg, own);
            }
        }
        None => {}
    }
    lladdr_restore(td, ifp, lladdr);
    link_state(td, softc);
    if_upper_unlink(td, ifp, lagg)
}

fn release_all<P: Platform>(td: &Thread<'_, P>, softc: &Lagg<P>) {
    let Some(lagg) = softc.ifp() else { return };
    while let Some(port) = softc.port(0) {
        release(td, &lagg, softc, &port);
    }
}

/// `lagg_port_ifdetach` and `lagg_linkstate`.
fn event<P: Platform>(td: &Thread<'_, P>, port: &Ifp<P>, softc: &AnyShared<P>, event: &Event<'_, P>) {
    let Some(softc) = softc.downcast::<Lagg<P>>() else { return };
    match event {
        Event::Departure(_) => {
            if let Some(lagg) = if_master(td, port) {
                release(td, &lagg, softc, port);
            }
        }
        Event::Link(..) => link_state(td, softc),
        _ => {}
    }
}

/// `lagg_linkstate`: the link is up while that of any port is; nobody knows without ports. Runs in the task as well,
/// without the detach lock, and so decides and sets under the lock of the list.
fn link_state<P: Platform>(td: &Thread<'_, P>, softc: &Lagg<P>) {
    // While the driver has its interface, a reference can be taken; it keeps the aggregate over the rest.
    let Some(lagg) = ({ softc.owner.lock().as_deref().and_then(if_try_ref) }) else { return };
    let changed = {
        let ports = softc.ports.lock();
        let state = [LinkState::Up, LinkState::Unknown, LinkState::Down]
            .into_iter()
            .find(|state| ports.iter().any(|port| port.ifp.link_state() == *state))
            .unwrap_or(LinkState::Unknown);
        lagg.swap_link_state(state) != state
    };
    if changed {
        link_state_changed(td, &lagg);
    }
}

/// The link-level address of an interface changed; if it is an aggregate, its ports show the new one. So they do when it
/// comes up, whatever they have been given meanwhile.
pub(super) fn lladdr_changed<P: Platform>(td: &Thread<'_, P>, ifp: &Ifnet<P>) {
    let Some(softc) = lagg_of(ifp) else { return };
    let _stable = td.kernel().detach_sx.xlock(td);
    let Some(shown) = ({ ifp.addrs.lock().lladdr.clone() }) else { return };
    let mut at = 0;
    while let Some(port) = softc.port(at) {
        let same = port.addrs.lock().lladdr.as_ref().is_some_and(|lladdr| lladdr.ptr_eq(&shown));
        if !same {
            lladdr_follow(td, &port, &shown);
        }
        at += 1;
    }
}

/// `lagg_transmit`.
fn transmit<P: Platform>(td: &Thread<'_, P>, ifp: &Ifnet<P>, packet: P::Buffer) -> Result<(), Errno> {
    let section = td.net_epoch_enter();
    let _cur = enter_vnet(td, ifp, &section).ok_or(Errno::ENXIO)?;
    let active = lagg_of(ifp).ok_or(Errno::ENXIO)?.active().ok_or(Errno::ENETDOWN)?;
    td.preempt();
    // A port that is leaving takes no packet along into another vnet.
    if !td.look_at_curvnet(|vnet| vnet.ifnets.contains(&active)) {
        return Err(Errno::ENETDOWN);
    }
    if_transmit(td, &active, packet, &section)
}

/// `lagg_input`: a packet came in through a port. It is the aggregate's, if the port is the active one, and dropped
/// otherwise.
fn input<P: Platform>(
    td: &Thread<'_, P>,
    port: &Ifnet<P>,
    softc: &AnyShared<P>,
    packet: P::Buffer,
) -> Option<P::Buffer> {
    let softc = softc.downcast::<Lagg<P>>()?;
    let section = td.net_epoch_enter();
    let lagg = softc.ifp().filter(|lagg| lagg.raw_flags().contains(IfFlags::UP))?;
    let _cur = enter_vnet(td, &lagg, &section)?;
    // An aggregate that moves loses its ports before it arrives: if this is still one, both are in one vnet.
    softc.active().filter(|active| core::ptr::eq(&raw const **active, port))?;
    if_input(td, &lagg, packet, &section);
    None
}

/// `lagg_ioctl`: the ports go up and down with the aggregate; its MTU is that of the ports.
fn ioctl<P: Platform>(td: &Thread<'_, P>, ifp: &Ifnet<P>, request: Ioctl) -> Result<(), Errno> {
    match request {
        // Only `if_setflags` takes an interface up or down, under the detach lock; the counted flags change without it.
        Ioctl::SetFlags(changed) if changed.contains(IfFlags::UP) => {
            let softc = lagg_of(ifp).ok_or(Errno::ENXIO)?;
            td.kernel().detach_sx.assert_held(td, SxAssert::XLOCKED);
            if ifp.raw_flags().contains(IfFlags::UP) {
                lladdr_changed(td, ifp);
            }
            let mut at = 0;
            while let Some(port) = softc.port(at) {
                follow(td, ifp, &port);
                at += 1;
            }
            Ok(())
        }
        Ioctl::SetMtu(_) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

/// A port goes up or down with its aggregate. Under the detach lock.
fn follow<P: Platform>(td: &Thread<'_, P>, lagg: &Ifnet<P>, port: &Ifp<P>) {
    let mut flags = port.raw_flags();
    let up = lagg.raw_flags() & IfFlags::UP;
    if flags & IfFlags::UP != up {
        flags.set(IfFlags::UP, !up.is_empty());
        // A port that is dying just now leaves.
        let _ = if_setflags(td, port, flags);
    }
}

/// What is wrong between an interface and its ports or its aggregate.
pub(super) fn check<P: Platform>(ifp: &Ifp<P>, section: &Section<'_, P>) -> Result<(), &'static str> {
    if let Some(softc) = lagg_of_port(ifp) {
        let times = softc.ports.lock().iter().filter(|port| port.ifp.ptr_eq(ifp)).count();
        if times != 1 {
            return Err("a port is not once on the list of its aggregate");
        }
    }
    let Some(softc) = lagg_of(ifp) else { return Ok(()) };
    let mut below = ifp.lowers(section).filter(|link| link.master);
    let mut at = 0;
    while let Some(port) = softc.port(at) {
        if !lagg_of_port(&port).is_some_and(|of| of.ptr_eq(&softc)) {
            return Err("an aggregate has a port that does not know it");
        }
        if !below.next().and_then(|link| link.lower()).is_some_and(|lower| lower.ptr_eq(&port)) {
            return Err("the ports of an aggregate are not what stands below it");
        }
        if port.is_dying() {
            return Err("an aggregate has a port that is gone");
        }
        at += 1;
    }
    if below.next().is_some() { Err("an aggregate stands on what is none of its ports") } else { Ok(()) }
}
