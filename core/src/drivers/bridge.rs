//! `bridge(4)`: joins Ethernet interfaces, its members, to one link.
//!
//! The bridge has the list of its members, each with a counted reference; a member has a hook that names the bridge.
//! Both sides change together, under the detach lock; the list has a short lock too, for the packets. A member is
//! promiscuous. It leaves when it is deleted, when it departs, and when the bridge is destroyed or moved.
//!
//! A bridge learns which address is behind which member (`bridge/table.rs`), and passes frames on by that
//! (`bridge/forward.rs`). There is no spanning tree: a ring of bridges is cut by the limit on what a packet may pass
//! within one call.

use crate::Errno;
use crate::clone::{CloneFlags, CloneRequest, CloneType, IF_MAXUNIT};
use crate::event::Event;
use crate::ifnet::hook::{Hook, HookKind, HookOps};
use crate::ifnet::{ETHERMTU, IfFlags, IfOps, IfType, Ifnet, IfnetOwner, IfnetRef, Ifp, if_ref, if_try_ref};
use crate::lifecycle::flags::ifpromisc_gone;
use crate::lifecycle::{ether_ifdetach, if_free, ifpromisc};
use crate::mem::{AnyShared, Shared, TryVec};
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;

use super::simple;
use super::stack::{attached_here, can_stand_on};

mod forward;
mod table;

use forward::{input, transmit};
use table::Table;

/// `struct bridge_softc`.
struct Bridge<P: Platform> {
    owner: P::Mutex<Option<IfnetOwner<P>>>,
    /// `sc_iflist`, in the order of joining.
    members: P::Mutex<TryVec<IfnetRef<P>, P::Allocator>>,
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

    const CLONER: &'static CloneType<P> = &CloneType {
        name: "bridge",
        flags: CloneFlags::AUTOUNIT,
        maxunit: IF_MAXUNIT,
        minifs: 0,
        matches: None,
        create,
        destroy: |td, _, ifp, _| {
            destroy(td, ifp);
            Ok(())
        },
    };
}

/// The cloner of the kind.
pub(super) fn cloner<P: Platform>() -> &'static CloneType<P> {
    Consts::CLONER
}

fn bridge_of<P: Platform>(ifp: &Ifnet<P>) -> Option<Shared<Bridge<P>, P>> {
    ifp.softc()?.to_shared()
}

/// `if_bridge`.
fn bridge_of_member<P: Platform>(member: &Ifnet<P>) -> Option<Shared<Bridge<P>, P>> {
    member.hooks.get(HookKind::Bridge)?.softc.to_shared()
}

/// `bridge_clone_create`.
fn create<P: Platform>(td: &Thread<'_, P>, request: &CloneRequest<'_, P>) -> Result<Ifp<P>, Errno> {
    let members = P::Mutex::new(TryVec::new(td.allocator()));
    let table = P::Mutex::new(Table::new(td.allocator()));
    let softc: Shared<Bridge<P>, P> =
        Shared::try_new(td.domain(), Bridge { owner: P::Mutex::new(None), members, table })?;
    let owner = simple::ether(td, request, &Consts::KIND, [0x58, 0x9c, 0xfc, 0, 0, 0], softc.clone().erase())?;
    let ifp = owner.clone();
    *softc.owner.lock() = Some(owner);
    Ok(ifp)
}

/// `bridge_clone_destroy`: a bridge can be destroyed with members, which are free afterwards.
fn destroy<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    let Some(softc) = bridge_of(ifp) else { return };
    let Some(owner) = ({ softc.owner.lock().take() }) else { return };
    release_all(td, &softc);
    ether_ifdetach(td, &owner);
    ifp.set_softc(None);
    if_free(td, owner);
}

/// `BRDGADD`: makes `member` a member of `bridge`; both are in the same vnet.
///
/// # Locks
/// Holds the detach lock.
///
/// # Errors
/// `EINVAL` if `bridge` is no bridge, for the bridge itself, and for a member that is no Ethernet interface or VLAN, or
/// that stands on the bridge; `ENXIO` if either is not attached, or not to the same vnet; `EBUSY` if the member is in a
/// bridge, be it this one; `EMLINK` if more than 8 interfaces would stand on each other; `ENOMEM`; or that of the
/// member's driver. Then nothing has changed.
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
    if member.hooks.has(HookKind::Bridge) {
        return Err(Errno::EBUSY);
    }
    can_stand_on(td, bridge, member)?;
    softc.members.lock().try_reserve(1)?;
    let held = if_try_ref(member).ok_or(Errno::ENXIO)?;
    ifpromisc(td, member, true)?;
    let pushed = softc.members.lock().try_push(held);
    debug_assert!(pushed.is_ok(), "room was reserved under the detach lock");
    member.hooks.set(HookKind::Bridge, Some(Hook { softc: softc.erase(), ops: Consts::HOOK }));
    Ok(())
}

/// `BRDGDEL`: takes a member away from a bridge.
///
/// # Locks
/// Holds the detach lock.
///
/// # Errors
/// `EINVAL` if `bridge` is no bridge, `ENOENT` if `member` is none of its members.
pub fn bridge_delm<P: Platform>(td: &Thread<'_, P>, bridge: &Ifp<P>, member: &Ifp<P>) -> Result<(), Errno> {
    td.assert_can_sleep("bridge_delm");
    let _stable = td.kernel().detach_sx.xlock(td);
    let softc = bridge_of(bridge).ok_or(Errno::EINVAL)?;
    if release(td, &softc, member, false) { Ok(()) } else { Err(Errno::ENOENT) }
}

/// The members of a bridge, in the order of joining; none if it is no bridge. Calls `each` with a reference.
pub fn bridge_members<P: Platform>(bridge: &Ifp<P>, mut each: impl FnMut(&IfnetRef<P>)) {
    let Some(softc) = bridge_of(bridge) else { return };
    let mut at = 0;
    while let Some(member) = { softc.members.lock().get(at).map(|member| if_ref(member)) } {
        each(&member);
        at += 1;
    }
}

/// `bridge_delete_member`: both sides forget each other; whether they knew. The driver of a member that is gone is not
/// called. Under the detach lock; needs no memory.
fn release<P: Platform>(td: &Thread<'_, P>, softc: &Bridge<P>, member: &Ifp<P>, gone: bool) -> bool {
    let held = {
        let mut members = softc.members.lock();
        let at = members.iter().position(|other| other.ptr_eq(member));
        at.map(|at| members.remove(at))
    };
    let Some(held) = held else { return false };
    td.preempt();
    member.hooks.set(HookKind::Bridge, None);
    softc.table.lock().forget(member.index());
    // A driver that will not let go of promiscuity keeps the flag and the count, as in FreeBSD.
    if gone {
        ifpromisc_gone(member);
    } else {
        let _ = ifpromisc(td, member, false);
    }
    drop(held);
    true
}

fn release_all<P: Platform>(td: &Thread<'_, P>, softc: &Bridge<P>) {
    while let Some(member) = { softc.members.lock().first().map(|member| Ifp::clone(member)) } {
        release(td, softc, &member, false);
    }
}

/// `bridge_ifdetach`.
fn event<P: Platform>(td: &Thread<'_, P>, member: &Ifp<P>, softc: &AnyShared<P>, event: &Event<'_, P>) {
    if let (Event::Departure(_), Some(softc)) = (event, softc.downcast::<Bridge<P>>()) {
        release(td, softc, member, true);
    }
}

/// The member number `at` of a bridge.
pub(super) fn member<P: Platform>(ifp: &Ifnet<P>, at: usize) -> Option<Ifp<P>> {
    bridge_of(ifp)?.members.lock().get(at).map(|member| Ifp::clone(member))
}

/// The bridge of a member.
pub(super) fn of_member<P: Platform>(ifp: &Ifnet<P>) -> Option<Ifp<P>> {
    bridge_of_member(ifp)?.owner.lock().as_deref().cloned()
}

/// What is wrong between an interface and its members or its bridge.
pub(super) fn check<P: Platform>(ifp: &Ifp<P>) -> Result<(), &'static str> {
    if let Some(softc) = bridge_of_member(ifp) {
        let times = softc.members.lock().iter().filter(|member| member.ptr_eq(ifp)).count();
        if times != 1 {
            return Err("a member is not once on the list of its bridge");
        }
    }
    let Some(softc) = bridge_of(ifp) else { return Ok(()) };
    let mut at = 0;
    while let Some(member) = { softc.members.lock().get(at).map(|member| Ifp::clone(member)) } {
        if !bridge_of_member(&member).is_some_and(|of| of.ptr_eq(&softc)) {
            return Err("a bridge has a member that does not know it");
        }
        if member.is_dying() {
            return Err("a bridge has a member that is gone");
        }
        at += 1;
    }
    Ok(())
}
