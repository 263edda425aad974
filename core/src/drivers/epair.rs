//! `epair(4)`: two Ethernet interfaces back to back. Each can live in a vnet of its own; destroying one destroys both.

use crate::Errno;
use crate::clone::parse_unit;
use crate::clone::{CloneFlags, CloneRequest, CloneType, Cloner, IF_MAXUNIT, destroy_with_flags, if_clone_addif};
use crate::hazard::Hazard;
use crate::ifnet::group::Spare;
use crate::ifnet::{IfFlags, IfName, IfOps, IfType, Ifnet, IfnetOwner, Ifp, LinkState};
use crate::lifecycle::alloc::set_names;
use crate::lifecycle::{ether_ifattach, ether_ifdetach, if_alloc, if_deliver, if_free, if_link_state_change};
use crate::mem::Shared;
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;

/// `struct epair_softc`: one end. It owns its interface and knows the other end's.
struct End<P: Platform> {
    owner: P::Mutex<Option<IfnetOwner<P>>>,
    peer: P::Mutex<Option<Ifp<P>>>,
}

/// The ends of a pair, as the names have them.
const SIDES: [&str; 2] = ["a", "b"];

/// A name for the constants that need the platform.
struct Epair<P>(core::marker::PhantomData<P>);

impl<P: Platform> Epair<P> {
    const OPS: &'static IfOps<P> =
        &IfOps { transmit, input: |_, _, packet| drop(packet), qflush, ioctl: Some(|_, _, _| Ok(())), reassign: None };

    const CLONER: &'static CloneType<P> = &CloneType {
        name: "epair",
        // Both ends share a unit, which the driver gives out and takes back itself.
        flags: CloneFlags::empty(),
        maxunit: IF_MAXUNIT,
        minifs: 0,
        matches: None,
        create,
        destroy,
    };
}

/// The cloner of the kind.
pub(super) fn cloner<P: Platform>() -> &'static CloneType<P> {
    Epair::CLONER
}

/// `epair_clone_create`: end `a` is what the framework gets; end `b` is made the cloner's here.
fn create<P: Platform>(td: &Thread<'_, P>, request: &CloneRequest<'_, P>) -> Result<Ifp<P>, Errno> {
    let cloner = request.cloner;
    let unit = cloner.alloc_unit(parse_unit(&request.name[cloner.name().len()..])?)?;
    create_pair(td, cloner, unit).inspect_err(|_| cloner.free_unit(unit))
}

fn create_pair<P: Platform>(td: &Thread<'_, P>, cloner: &Shared<Cloner<P>, P>, unit: u32) -> Result<Ifp<P>, Errno> {
    let name = |side| IfName::numbered(cloner.name(), unit, side).map_err(|_| Errno::ENOSPC);
    let names = [name(SIDES[0])?, name(SIDES[1])?];
    let spare = Spare::try_new(td.domain())?;
    reserve(td, &names)?;
    let made = attach_pair(td, cloner, unit, &names);
    let vnet = td.curvnet();
    for name in &names {
        vnet.names.lock().unreserve(name, td.id());
    }
    let [a, b] = made?;
    if_clone_addif(td, cloner, &b, spare);
    for end in [&a, &b] {
        if_link_state_change(td, end, LinkState::Up);
    }
    Ok(a)
}

/// Takes both names, or neither.
fn reserve<P: Platform>(td: &Thread<'_, P>, names: &[IfName; 2]) -> Result<(), Errno> {
    let vnet = td.curvnet();
    let mut table = vnet.names.lock();
    if !table.reserve(&names[0], td.id())? {
        return Err(Errno::EEXIST);
    }
    match table.reserve(&names[1], td.id()) {
        Ok(true) => Ok(()),
        refused => {
            table.unreserve(&names[0], td.id());
            Err(refused.map_or_else(Errno::from, |_| Errno::EEXIST))
        }
    }
}

/// Makes, ties and attaches both ends, or neither.
fn attach_pair<P: Platform>(
    td: &Thread<'_, P>,
    cloner: &Shared<Cloner<P>, P>,
    unit: u32,
    names: &[IfName; 2],
) -> Result<[Ifp<P>; 2], Errno> {
    let softcs = [end(td)?, end(td)?];
    let a = alloc_end(td, cloner, unit, &names[0])?;
    let b = match alloc_end(td, cloner, unit, &names[1]) {
        Ok(b) => b,
        Err(errno) => {
            if_free(td, a);
            return Err(errno);
        }
    };
    let ifps: [Ifp<P>; 2] = [a.clone(), b.clone()];
    for (side, softc) in softcs.iter().enumerate() {
        *softc.peer.lock() = Some(ifps[1 - side].clone());
        ifps[side].set_softc(Some(softc.clone().erase()));
    }
    let attached = ether_ifattach(td, &a, lladdr(&a, 0))
        .and_then(|()| ether_ifattach(td, &b, lladdr(&a, 1)).inspect_err(|_| ether_ifdetach(td, &a)));
    if let Err(errno) = attached {
        for (ifp, owner) in ifps.iter().zip([a, b]) {
            untie(ifp);
            if_free(td, owner);
        }
        return Err(errno);
    }
    for (softc, owner) in softcs.iter().zip([a, b]) {
        *softc.owner.lock() = Some(owner);
    }
    Ok(ifps)
}

fn end<P: Platform>(td: &Thread<'_, P>) -> Result<Shared<End<P>, P>, Errno> {
    Ok(Shared::try_new(td.domain(), End { owner: P::Mutex::new(None), peer: P::Mutex::new(None) })?)
}

fn alloc_end<P: Platform>(
    td: &Thread<'_, P>,
    cloner: &Shared<Cloner<P>, P>,
    unit: u32,
    name: &IfName,
) -> Result<IfnetOwner<P>, Errno> {
    let owner = if_alloc(td, IfType::Ether)?;
    if let Err(errno) = set_names(&owner, name, cloner.name(), Some(unit)) {
        if_free(td, owner);
        return Err(errno);
    }
    owner.init_flags(IfFlags::BROADCAST | IfFlags::SIMPLEX | IfFlags::MULTICAST | IfFlags::RUNNING);
    owner.set_ops(Epair::OPS);
    Ok(owner)
}

/// A locally administered address, different for each index and side.
fn lladdr<P: Platform>(a: &Ifp<P>, side: u8) -> [u8; 6] {
    let [_, high, middle, low] = a.index().to_be_bytes();
    [0x02, high, middle, low, 0x00, 0x0a + side]
}

/// `epair_clone_destroy`: takes both ends down, whichever was asked for and wherever they are.
fn destroy<P: Platform>(
    td: &Thread<'_, P>,
    cloner: &Shared<Cloner<P>, P>,
    ifp: &Ifp<P>,
    flags: CloneFlags,
) -> Result<(), Errno> {
    let Some(softc) = end_of(ifp) else {
        // The other end, from within the destruction of the first.
        return Ok(());
    };
    let peer = softc.peer.lock().clone().ok_or(Errno::ENXIO)?;
    let peer_softc = end_of(&peer).ok_or(Errno::ENXIO)?;
    let owners = ({ softc.owner.lock().take() }, { peer_softc.owner.lock().take() });
    let (Some(owner), Some(peer_owner)) = owners else { return Err(Errno::ENXIO) };
    for end in [ifp, &peer] {
        if_link_state_change(td, end, LinkState::Down);
    }
    ether_ifdetach(td, &owner);
    ether_ifdetach(td, &peer_owner);

    untie(&peer);
    td.preempt();
    if let Err(errno) = destroy_with_flags(td, cloner, &peer, flags) {
        td.platform().panic(format_args!(
            "epair_clone_destroy: if_clone_destroyif() for our 2nd iface failed: {}",
            errno.value()
        ));
    }
    if_free(td, peer_owner);
    untie(ifp);
    let unit = ifp.dunit();
    if_free(td, owner);
    if let Some(unit) = unit {
        cloner.free_unit(unit);
    }
    Ok(())
}

/// Takes the softc from an end, and what it knows of the other.
fn untie<P: Platform>(ifp: &Ifp<P>) {
    if let Some(softc) = end_of(ifp) {
        let peer = softc.peer.lock().take();
        drop(peer);
    }
    ifp.set_softc(None);
}

fn end_of<P: Platform>(ifp: &Ifnet<P>) -> Option<Shared<End<P>, P>> {
    ifp.softc_as()
}

/// `epair_transmit`: what goes out of one end comes in at the other, in that end's vnet.
fn transmit<P: Platform>(td: &Thread<'_, P>, ifp: &Ifnet<P>, packet: P::Buffer) -> Result<(), Errno> {
    let peer = end_of(ifp).and_then(|softc| softc.peer.lock().clone()).ok_or(Errno::ENXIO)?;
    if !ifp.flags().contains(IfFlags::UP) || !peer.flags().contains(IfFlags::UP) {
        drop(packet);
        return Err(Errno::ENETDOWN);
    }
    let section = td.net_epoch_enter();
    // An end that is gone, or on its way into another vnet, loses what was sent to it.
    let _ = if_deliver(td, &peer, packet, &section);
    Ok(())
}

/// `epair_qflush`: there is no queue. It once went through the softc, which a destroy of the other end may have cleared
/// (review D20868).
fn qflush<P: Platform>(td: &Thread<'_, P>, ifp: &Ifnet<P>) {
    if td.hazard(Hazard::LinkdownUafEpair) && ifp.softc().is_none() {
        td.platform().panic(format_args!("page fault: epair_qflush of {} with no softc", ifp.name()));
    }
}
