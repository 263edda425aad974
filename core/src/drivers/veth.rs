//! `veth`: two Ethernet interfaces back to back, each in a vnet of its own from the start if one likes. Linux's, with
//! names of the user's choice; FreeBSD's `epair` is in a file of its own.
//!
//! The ends hold a reference on each other. Deleting one takes both pointers out by exchange, so that of two deletes of
//! the two ends exactly one finds a peer; it gives up both ends. The peer goes with it if it is in the same vnet, and
//! otherwise in its own vnet's work.

use crate::Errno;
use crate::clone::{CloneFlags, CloneRequest, CloneType, Cloner, Peer, if_clone_addif, release_name, reserve_name};
use crate::event::{Event, Lists, PRI_ANY, register_for_ever};
use crate::ifnet::group::Spare;
use crate::ifnet::stack::StackOps;
use crate::ifnet::{IfFlags, IfName, IfOps, IfType, Ifnet, IfnetOwner, IfnetRef, Ifp, LinkState, if_ref, if_try_ref};
use crate::lifecycle::alloc::set_names;
use crate::lifecycle::unregister::{UnregisterList, call, end_of_dellink, unregister_queue};
use crate::lifecycle::{ether_ifattach, ether_ifdetach, if_alloc_indexed, if_deliver, if_free, if_link_state_change};
use crate::mem::Shared;
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;
use crate::vnet::VnetRef;

/// `struct veth_priv`: one end.
struct End<P: Platform> {
    owner: P::Mutex<Option<IfnetOwner<P>>>,
    /// Counted: neither end is freed while the other can still reach it.
    peer: P::Mutex<Option<IfnetRef<P>>>,
}

/// A name for the constants that need the platform.
struct Veth<P>(core::marker::PhantomData<P>);

impl<P: Platform> Veth<P> {
    const OPS: &'static IfOps<P> = &IfOps {
        transmit,
        input: |_, _, packet| drop(packet),
        qflush: |_, _| {},
        ioctl: Some(|_, _, _| Ok(())),
        reassign: None,
    };

    const STACK: &'static StackOps<P> = &StackOps { uninit: |_, ifp| ifp.set_softc(None), address: None };

    const CLONER: &'static CloneType<P> = &CloneType::auto("veth", create, dellink);
}

/// The cloner of the kind.
pub(super) fn cloner<P: Platform>() -> &'static CloneType<P> {
    Veth::CLONER
}

/// `veth_newlink`: makes both ends, the peer first, or neither.
fn create<P: Platform>(td: &Thread<'_, P>, request: &CloneRequest<'_, P>) -> Result<Ifp<P>, Errno> {
    let here = td.curvnet();
    let wanted = request.params.peer.as_ref();
    let there = wanted.and_then(|peer| peer.vnet.clone()).unwrap_or_else(|| here.clone());
    if there.is_shutdown() {
        return Err(Errno::EBUSY);
    }
    let cloner = there.find_cloner(td, |ty| ty.name == Veth::<P>::CLONER.name).ok_or(Errno::EBUSY)?;
    let name = wanted.and_then(|peer: &Peer<P>| peer.name.as_ref());
    let (name, unit) = reserve_name(td, &there, &cloner, name)?;
    let made = Spare::try_new(td.domain()).map_err(Errno::from).and_then(|spare| {
        let peer = Place { vnet: &there, cloner: &cloner, name: &name, unit, index: None };
        let this = Place {
            vnet: &here,
            cloner: request.cloner,
            name: request.name,
            unit: request.unit,
            index: request.params.index,
        };
        let [peer, this] = attach_pair(td, [&peer, &this], request.params.mtu)?;
        if_clone_addif(td, &cloner, &peer, spare);
        Ok(this)
    });
    // Turned live by the attach, unless it has failed.
    release_name(td, &there, &cloner, &name, unit.filter(|_| made.is_err()));
    made
}

/// Where an end is made, and by what name.
struct Place<'a, P: Platform> {
    vnet: &'a VnetRef<P>,
    cloner: &'a Shared<Cloner<P>, P>,
    name: &'a IfName,
    unit: Option<u32>,
    index: Option<u32>,
}

/// Makes, ties and attaches both ends in this order, or neither.
fn attach_pair<P: Platform>(
    td: &Thread<'_, P>,
    places: [&Place<'_, P>; 2],
    mtu: Option<u32>,
) -> Result<[Ifp<P>; 2], Errno> {
    let softcs = [end(td)?, end(td)?];
    let first = alloc_end(td, places[0])?;
    let second = match alloc_end(td, places[1]) {
        Ok(second) => second,
        Err(errno) => {
            if_free(td, first);
            return Err(errno);
        }
    };
    let ifps: [Ifp<P>; 2] = [first.clone(), second.clone()];
    for (side, softc) in softcs.iter().enumerate() {
        *softc.peer.lock() = if_try_ref(&ifps[1 - side]);
        ifps[side].set_softc(Some(softc.clone().erase()));
    }
    let attached = attach(td, places[0], &first, 0)
        .and_then(|()| attach(td, places[1], &second, 1).inspect_err(|_| ether_ifdetach(td, &first)));
    if let Err(errno) = attached {
        for (ifp, owner) in ifps.iter().zip([first, second]) {
            untie(ifp);
            ifp.set_softc(None);
            if_free(td, owner);
        }
        return Err(errno);
    }
    for ((softc, owner), ifp) in softcs.iter().zip([first, second]).zip(&ifps) {
        *softc.owner.lock() = Some(owner);
        if let Some(mtu) = mtu {
            ifp.set_mtu(mtu);
        }
    }
    Ok(ifps)
}

fn end<P: Platform>(td: &Thread<'_, P>) -> Result<Shared<End<P>, P>, Errno> {
    Ok(Shared::try_new(td.domain(), End { owner: P::Mutex::new(None), peer: P::Mutex::new(None) })?)
}

fn alloc_end<P: Platform>(td: &Thread<'_, P>, place: &Place<'_, P>) -> Result<IfnetOwner<P>, Errno> {
    let owner = if_alloc_indexed(td, IfType::Ether, place.index)?;
    let named = set_names(&owner, place.name, place.cloner.name(), place.unit);
    if let Err(errno) = named.and_then(|()| Ok(owner.set_stack_ops(Veth::STACK)?)) {
        if_free(td, owner);
        return Err(errno);
    }
    owner.init_flags(IfFlags::BROADCAST | IfFlags::SIMPLEX | IfFlags::MULTICAST | IfFlags::RUNNING);
    owner.set_ops(Veth::OPS);
    Ok(owner)
}

fn attach<P: Platform>(td: &Thread<'_, P>, place: &Place<'_, P>, owner: &IfnetOwner<P>, side: u8) -> Result<(), Errno> {
    let _cur = td.curvnet_set(Some(place.vnet.clone()));
    let [_, high, middle, low] = owner.index().to_be_bytes();
    // A locally administered address, different for each index.
    ether_ifattach(td, owner, [0x02, high, middle, low, 0x01, 0x0a + side])
}

/// `veth_dellink`: gives both ends up. The one that finds the peer gone comes second, and has nothing to do.
fn dellink<P: Platform>(
    td: &Thread<'_, P>,
    _: &Shared<Cloner<P>, P>,
    ifp: &Ifp<P>,
    flags: CloneFlags,
) -> Result<(), Errno> {
    call(td, "veth_dellink", ifp);
    let Some(softc) = end_of(ifp) else { return Ok(()) };
    let peer = softc.peer.lock().take();
    td.preempt();
    let Some(owner) = ({ softc.owner.lock().take() }) else { return Ok(()) };
    let vnet = ifp.if_vnet(td);
    let list = UnregisterList::new(td);
    unregister_queue(td, &vnet, owner, &list);
    if let Some(peer) = peer
        && let Some(peer_softc) = end_of(&peer)
    {
        let back = peer_softc.peer.lock().take();
        if_link_state_change(td, &peer, LinkState::Down);
        let peer_owner = peer_softc.owner.lock().take();
        if let (Some(_), Some(peer_owner)) = (back, peer_owner) {
            unregister_queue(td, &vnet, peer_owner, &list);
        }
    }
    end_of_dellink(td, &list, flags);
    Ok(())
}

/// Takes from an end what it knows of the other.
fn untie<P: Platform>(ifp: &Ifp<P>) {
    if let Some(softc) = end_of(ifp) {
        let peer = softc.peer.lock().take();
        drop(peer);
    }
}

fn end_of<P: Platform>(ifp: &Ifnet<P>) -> Option<Shared<End<P>, P>> {
    ifp.softc_as()
}

/// The other end of a `veth`: `None` for another kind, and once one of the ends has been deleted.
#[cfg_attr(feature = "holders", track_caller)]
pub fn veth_peer<P: Platform>(ifp: &Ifnet<P>) -> Option<IfnetRef<P>> {
    match &*end_of(ifp)?.peer.lock() {
        Some(peer) => Some(if_ref(peer)),
        None => None,
    }
}

/// `veth_open`, `veth_close`: the link is up while both ends are.
fn up_or_down<P: Platform>(td: &Thread<'_, P>, event: &Event<'_, P>, _: usize) {
    let (ifp, up) = match *event {
        Event::Up(ifp) => (ifp, true),
        Event::Down(ifp) => (ifp, false),
        _ => return,
    };
    if ifp.if_type() != IfType::Ether {
        return;
    }
    if let Some(peer) = veth_peer(ifp) {
        let both = up && peer.flags().contains(IfFlags::UP);
        for end in [ifp, &*peer] {
            if_link_state_change(td, end, if both { LinkState::Up } else { LinkState::Down });
        }
    }
}

/// Registers the handler that watches the ends.
///
/// # Errors
/// `ENOMEM`.
pub(super) fn init<P: Platform>(td: &Thread<'_, P>) -> Result<(), Errno> {
    register_for_ever(td, up_or_down, PRI_ANY, Lists::UP | Lists::DOWN)
}

/// `veth_xmit`: what goes out of one end comes in at the other, in that end's vnet.
fn transmit<P: Platform>(td: &Thread<'_, P>, ifp: &Ifnet<P>, packet: P::Buffer) -> Result<(), Errno> {
    let peer = veth_peer(ifp).ok_or(Errno::ENXIO)?;
    if !ifp.flags().contains(IfFlags::UP) || !peer.flags().contains(IfFlags::UP) {
        return Err(Errno::ENETDOWN);
    }
    if peer.is_dying() {
        return Err(Errno::ENXIO);
    }
    let section = td.net_epoch_enter();
    if_deliver(td, &peer, packet, &section)
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests {
    use super::*;
    use crate::clone::CloneParams;
    use crate::testing::{Host, kernel};
    use crate::{
        TaskMode, if_clone_create_kind, if_clone_destroy, if_setflags, if_transmit, if_unregister, ifunit, vnet_alloc,
        vnet_destroy,
    };

    fn params(name: &str, vnet: Option<&VnetRef<Host>>) -> CloneParams<Host> {
        let name = Some(IfName::new(name).expect("a good name"));
        CloneParams { peer: Some(Peer { name, vnet: vnet.cloned() }), ..CloneParams::NONE }
    }

    #[test]
    fn both_ends_go_whichever_is_deleted() {
        let (_, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        for (params, peer) in [(CloneParams::NONE, "veth1"), (params("x", None), "x")] {
            for deleted in ["veth0", peer] {
                if_clone_create_kind(&td, "veth", Some("veth0"), &params).expect("memory");
                let both = [ifunit(&td, "veth0"), ifunit(&td, peer)].map(|end| end.expect("made"));
                assert!(veth_peer(&both[0]).is_some_and(|end| end.ptr_eq(&both[1])));
                assert_eq!(both[1].index() + 1, both[0].index(), "the peer is made first");
                assert_eq!(if_unregister(&td, deleted), Ok(()));
                assert!(both.iter().all(|end| end.refcount() == 0));
                assert_eq!(if_unregister(&td, deleted), Err(Errno::ENODEV));
                crate::invariants::check(&td).expect("sound");
            }
        }
        assert_eq!(kernel.interfaces(), 1, "lo0");
    }

    #[test]
    fn a_peer_elsewhere_goes_in_its_own_vnets_work() {
        let (host, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let v1 = vnet_alloc(&td).expect("memory");
        let make = || if_clone_create_kind(&td, "veth", Some("a"), &params("b", Some(&v1))).map(drop);
        make().expect("memory");
        assert_eq!(make(), Err(Errno::EEXIST));
        let announced = host.queued();
        if_clone_destroy(&td, "a").expect("made");
        assert!(host.queued() > announced);
        {
            let _cur = td.curvnet_set(Some(v1.clone()));
            let b = ifunit(&td, "b").expect("queued, and still there");
            assert!(b.is_queued() && veth_peer(&b).is_none());
            // The second delete does the pending work.
            assert_eq!(if_clone_destroy(&td, "b"), Ok(()));
            assert!(ifunit(&td, "b").is_none());
        }
        make().expect("memory");
        if_clone_destroy(&td, "a").expect("made");
        assert!(kernel.run_deferred(&td), "the worker's way");
        make().expect("memory");
        assert_eq!(if_unregister(&td, "a"), Ok(()), "the other end is not waited for");
        assert_eq!(v1.ifcnt(), 2);
        assert!(kernel.run_deferred(&td));
        assert_eq!(v1.ifcnt(), 1);
        make().expect("memory");
        vnet_destroy(&td, &v1).expect("alive");
        while kernel.run_deferred(&td) {}
        assert_eq!(kernel.interfaces(), 1, "the other end has gone with the vnet");
        assert_eq!(make(), Err(Errno::EBUSY));
        crate::invariants::check(&td).expect("sound");
        drop(v1);
        drop(td);
        drop(kernel);
        assert_eq!(host.arena().live(), 0);
    }

    #[test]
    fn a_frame_arrives_in_the_other_vnet() {
        let (_, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let v1 = vnet_alloc(&td).expect("memory");
        if_clone_create_kind(&td, "veth", Some("a"), &params("b", Some(&v1))).expect("memory");
        let a = ifunit(&td, "a").expect("made");
        let b = veth_peer(&a).expect("made");
        let send = || if_transmit(&td, &a, (), &td.net_epoch_enter());
        assert_eq!(send(), Err(Errno::ENETDOWN));
        for end in [&a, &*b] {
            assert_ne!(end.link_state(), LinkState::Up);
            if_setflags(&td, end, IfFlags::UP).expect("alive");
        }
        assert_eq!(send(), Ok(()));
        assert_eq!(b.counter(crate::IfCounter::Ipackets), 1);
        drop(b);
        if_unregister(&td, "a").expect("made");
        assert_eq!(vnet_destroy(&td, &v1), Ok(()));
    }

    #[test]
    fn a_create_that_is_refused_memory_leaves_nothing() {
        let (host, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let v1 = vnet_alloc(&td).expect("memory");
        let params = params("b", Some(&v1));
        let mut allowed = 0;
        loop {
            let quiet = || while kernel.run_deferred(&td) {};
            quiet();
            let before = (host.arena().live(), kernel.interfaces());
            host.arena().fail_after(allowed);
            let made = if_clone_create_kind(&td, "veth", Some("veth3"), &params);
            host.arena().fail_never();
            crate::invariants::check(&td).expect("sound");
            match made {
                Ok(_) => break,
                Err(errno) => assert_eq!(errno, Errno::ENOMEM, "after {allowed}"),
            }
            quiet();
            // Tables may have grown; interfaces and names may not be left.
            assert_eq!(kernel.interfaces(), before.1, "after {allowed}");
            assert!(host.arena().live() <= before.0 + 2, "after {allowed}");
            allowed += 1;
        }
        assert!(allowed > 10);
        if_unregister(&td, "veth3").expect("made");
        vnet_destroy(&td, &v1).expect("alive");
        drop((v1, params));
        drop(td);
    }
}
