//! `bridge(4)`: joins Ethernet interfaces, its members, to one link.
//!
//! The bridge is the master of its members: what stands below it, in the order of joining, is the list of them. A member
//! has a hook that names the bridge. Both change together, under the detach lock; packets read the list in an epoch
//! section. A member is promiscuous. It leaves when it is deleted, when it departs, and when the bridge is destroyed or
//! moved.
//!
//! A bridge learns which address is behind which member (`bridge/table.rs`), and passes frames on by that
//! (`bridge/forward.rs`). There is no spanning tree: a ring of bridges is cut by the limit on what a packet may pass
//! within one call.

use crate::Errno;
use crate::clone::{CloneFlags, CloneRequest, CloneType, Cloner};
use crate::epoch::Section;
use crate::event::Event;
use crate::ifnet::hook::{Hook, HookKind, HookOps};
use crate::ifnet::{ETHERMTU, IfFlags, IfOps, IfType, Ifnet, IfnetOwner, Ifp};
use crate::lifecycle::flags::ifpromisc_gone;
use crate::lifecycle::{adjacency, if_master, if_upper_unlink, ifpromisc};
use crate::mem::{AnyShared, Shared};
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;

use super::simple;
use super::stack::attached_here;

mod forward;
mod table;

use forward::{input, transmit};
use table::Table;

/// `struct bridge_softc`.
struct Bridge<P: Platform> {
    owner: P::Mutex<Option<IfnetOwner<P>>>,
    /// Which address is behind which member. Inside this lock that of a member's hooks is taken, and no other.
    table: P::Mutex<Table<P>>,
}

/// A name for the constants that need the platform.
struct Consts<P>(core::marker::PhantomData<P>);

impl<P: Platform> Consts<P> {
    const KIND: simple::Kind<P> = simple::Kind {
        if_type: IfType::Bridge,
        flags: IfFlags::BROADCAST.union(IfFlags::SIMPLEX).union(IfFlags::MULTICAST).union(IfFlags::RUNNING),
        mtu: ETHERMTU,
        ops: &IfOps {
            transmit,
            input: |_, _, packet| drop(packet),
            qflush: |_, _| {},
            ioctl: Some(|_, _, _| Ok(())),
            // `bridge_reassign`: the members stay behind, and are free.
            reassign: Some(|td, ifp, _| {
                if let Some(softc) = bridge_of(ifp) {
                    release_all(td, &softc);
                }
            }),
        },
    };

    const HOOK: &'static HookOps<P> = &HookOps { input, event };

    const CLONER: &'static CloneType<P> = &CloneType::auto("bridge", create, destroy);
}

/// The cloner of the kind.
pub(super) fn cloner<P: Platform>() -> &'static CloneType<P> {
    Consts::CLONER
}

fn bridge_of<P: Platform>(ifp: &Ifnet<P>) -> Option<Shared<Bridge<P>, P>> {
    ifp.softc_as()
}

/// `if_bridge`.
fn bridge_of_member<P: Platform>(member: &Ifnet<P>) -> Option<Shared<Bridge<P>, P>> {
    member.hook(HookKind::Bridge)?.softc.to_shared()
}

impl<P: Platform> Bridge<P> {
    fn ifp(&self) -> Option<Ifp<P>> {
        self.owner.lock().as_deref().cloned()
    }
}

/// `bridge_clone_create`.
fn create<P: Platform>(td: &Thread<'_, P>, request: &CloneRequest<'_, P>) -> Result<Ifp<P>, Errno> {
    let table = P::Mutex::new(Table::new(td.allocator()));
    let softc: Shared<Bridge<P>, P> = Shared::try_new(td.domain(), Bridge { owner: P::Mutex::new(None), table })?;
    simple::ether(td, request, &Consts::KIND, [0x58, 0x9c, 0xfc, 0, 0, 0], &softc, |bridge| &bridge.owner)
}

/// `bridge_clone_destroy`: a bridge can be destroyed with members, which are free afterwards.
fn destroy<P: Platform>(
    td: &Thread<'_, P>,
    _: &Shared<Cloner<P>, P>,
    ifp: &Ifp<P>,
    _: CloneFlags,
) -> Result<(), Errno> {
    let Some(softc) = bridge_of(ifp) else { return Ok(()) };
    release_all(td, &softc);
    simple::ether_gone(td, &softc.owner);
    Ok(())
}

/// `BRDGADD`: makes `member` a member of `bridge`; both are in the same vnet.
///
/// # Locks
/// Holds the detach lock.
///
/// # Errors
/// `EINVAL` if `bridge` is no bridge, for the bridge itself, and for a member that is no Ethernet interface or VLAN;
/// `ENXIO` if either is not attached, or not to the same vnet; `EBUSY` if the member is in a bridge, be it this one, or
/// in an aggregate, if its packets go to an `rx_handler`, and if it stands on the bridge; `EMLINK` if more than 8
/// interfaces would stand on each other; `ENOMEM`; or that of the member's driver. Then nothing has changed.
#[track_caller]
pub fn bridge_addm<P: Platform>(td: &Thread<'_, P>, bridge: &Ifp<P>, member: &Ifp<P>) -> Result<(), Errno> {
    td.assert_can_sleep("bridge_addm");
    let _stable = td.kernel().detach_sx.xlock(td);
    let softc = bridge_of(bridge).ok_or(Errno::EINVAL)?;
    let _cur = td.curvnet_set(Some(bridge.if_vnet(td)));
    if !attached_here(td, bridge) || !attached_here(td, member) {
        return Err(Errno::ENXIO);
    }
    if !matches!(member.if_type(), IfType::Ether | IfType::L2Vlan) {
        return Err(Errno::EINVAL);
    }
    if member.has_hook(HookKind::Bridge) {
        return Err(Errno::EBUSY);
    }
    let joined = adjacency::prepare(td, member, bridge, true)?;
    ifpromisc(td, member, true)?;
    joined.commit(td);
    member.set_hook(HookKind::Bridge, Some(Hook { softc: softc.erase(), ops: Consts::HOOK }));
    Ok(())
}

/// `BRDGDEL`: takes a member away from a bridge.
///
/// # Locks
/// Holds the detach lock.
///
/// # Errors
/// `EINVAL` if `bridge` is no bridge, `ENOENT` if `member` is none of its members.
#[track_caller]
pub fn bridge_delm<P: Platform>(td: &Thread<'_, P>, bridge: &Ifp<P>, member: &Ifp<P>) -> Result<(), Errno> {
    td.assert_can_sleep("bridge_delm");
    let _stable = td.kernel().detach_sx.xlock(td);
    let softc = bridge_of(bridge).ok_or(Errno::EINVAL)?;
    if release(td, bridge, &softc, member, false) { Ok(()) } else { Err(Errno::ENOENT) }
}

/// `bridge_delete_member`: both sides forget each other; whether they knew. The driver of a member that is gone is not
/// called. Under the detach lock; needs no memory.
fn release<P: Platform>(
    td: &Thread<'_, P>,
    bridge: &Ifp<P>,
    softc: &Shared<Bridge<P>, P>,
    member: &Ifp<P>,
    gone: bool,
) -> bool {
    let mine = bridge_of_member(member).is_some_and(|of| of.ptr_eq(softc));
    if !mine || !if_upper_unlink(td, member, bridge) {
        return false;
    }
    td.preempt();
    member.set_hook(HookKind::Bridge, None);
    softc.table.lock().forget(member.index());
    // A driver that will not let go of promiscuity keeps the flag and the count, as in FreeBSD.
    if gone {
        ifpromisc_gone(member);
    } else {
        let _ = ifpromisc(td, member, false);
    }
    true
}

fn release_all<P: Platform>(td: &Thread<'_, P>, softc: &Shared<Bridge<P>, P>) {
    let Some(bridge) = softc.ifp() else { return };
    while let Some(lower) = adjacency::first_lower(td, &bridge) {
        if !release(td, &bridge, softc, &lower, false) {
            // Somebody else has put the bridge there.
            if_upper_unlink(td, &lower, &bridge);
        }
    }
}

/// `bridge_ifdetach`.
fn event<P: Platform>(td: &Thread<'_, P>, member: &Ifp<P>, softc: &AnyShared<P>, event: &Event<'_, P>) {
    if let (Event::Departure(_), Some(softc), Some(bridge)) = (event, softc.to_shared(), if_master(td, member)) {
        release(td, &bridge, &softc, member, true);
    }
}

/// What is wrong between an interface and its members or its bridge.
pub(super) fn check<P: Platform>(ifp: &Ifp<P>, section: &Section<'_, P>) -> Result<(), &'static str> {
    if let Some(softc) = bridge_of_member(ifp) {
        let link = ifp.uppers(section).next().filter(|link| link.master);
        let of = link.and_then(|link| bridge_of(&*link.upper()?));
        if !of.is_some_and(|of| of.ptr_eq(&softc)) {
            return Err("a member has another master than its bridge");
        }
    }
    let Some(softc) = bridge_of(ifp) else { return Ok(()) };
    for link in ifp.lowers(section).filter(|link| link.master) {
        let Some(member) = link.lower() else { return Err("a bridge has a member that has left") };
        if !bridge_of_member(&member).is_some_and(|of| of.ptr_eq(&softc)) {
            return Err("a bridge has a member that does not know it");
        }
        if member.is_dying() {
            return Err("a bridge has a member that is gone");
        }
    }
    Ok(())
}
