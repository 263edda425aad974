//! `vlan(4)`: an interface for the frames of one tag on another interface, its parent.
//!
//! A parent with VLANs has a *trunk*, which maps tags to VLANs. The VLAN has the trunk and its tag, and stands above the
//! parent, which keeps both. All change together, under the detach lock; the table of the trunk has a short lock too, for
//! the packets and for the link state.
//!
//! A parent that departs, because it is destroyed or moved, loses its VLANs; they survive without a parent, as they were
//! when they were created. A VLAN that is moved keeps its parent, and packets cross from vnet to vnet through it. It can
//! be configured only at home.

use crate::Errno;
use crate::clone::{CloneParams, CloneRequest, CloneType};
use crate::epoch::Section;
use crate::event::Event;
use crate::ifnet::hook::{Hook, HookKind, HookOps};
use crate::ifnet::{
    ETHERMTU, IF_MINMTU, IfAddr, IfCaps, IfCounter, IfFlags, IfOps, IfType, Ifnet, IfnetOwner, IfnetRef, Ifp, Ioctl,
    LinkState, if_try_ref,
};
use crate::lifecycle::link::link_state_changed;
use crate::lifecycle::purge::{lladdr_follow, lladdr_lend, lladdr_restore};
use crate::lifecycle::{
    adjacency, enter_vnet, ether_ifdetach, if_deliver, if_free, if_link_state_change, if_transmit, if_upper_unlink,
};
use crate::mem::{AnyShared, Shared, TryVec};
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;
use crate::vnet::ifunit_ref;

use super::simple;
use super::stack::attached_here;

/// Length of an 802.1Q header, in bytes.
const ENCAPLEN: u32 = 4;
/// Tags 0 and 4095 are reserved by the standard.
const TAGS: core::ops::RangeInclusive<u16> = 1..=4094;

/// `struct ifvlantrunk`: the VLANs of one parent.
struct Trunk<P: Platform> {
    /// Kept by the adjacencies of the VLANs.
    parent: Ifp<P>,
    /// In ascending order of tag.
    children: P::Mutex<TryVec<Child<P>, P::Allocator>>,
}

struct Child<P: Platform> {
    tag: u16,
    ifp: Ifp<P>,
}

/// `struct ifvlan`: the driver's part of a VLAN.
struct Vlan<P: Platform> {
    owner: P::Mutex<Option<IfnetOwner<P>>>,
    config: P::Mutex<Option<Config<P>>>,
}

/// Where a VLAN is configured.
struct Config<P: Platform> {
    trunk: Shared<Trunk<P>, P>,
    tag: u16,
    /// Its own link-level address, while it shows its parent's.
    lladdr: Option<Shared<IfAddr<P>, P>>,
}

/// A name for the constants that need the platform.
struct Consts<P>(core::marker::PhantomData<P>);

impl<P: Platform> Consts<P> {
    const OPS: &'static IfOps<P> =
        &IfOps { transmit, input: |_, _, packet| drop(packet), qflush: |_, _| {}, ioctl: Some(ioctl), reassign: None };

    const HOOK: &'static HookOps<P> = &HookOps { input, event };

    const CLONER: &'static CloneType<P> = &CloneType {
        matches: Some(|name| by_name(name).is_some()),
        ..CloneType::auto("vlan", create, |td, _, ifp, _| {
            destroy(td, ifp);
            Ok(())
        })
    };
}

/// The cloner of the kind.
pub(super) fn cloner<P: Platform>() -> &'static CloneType<P> {
    Consts::CLONER
}

/// `vlan_clone_match_ethervid`: the parent and the digits of the tag in `em0.10`.
fn by_name(name: &str) -> Option<(&str, &str)> {
    let (parent, tag) = name.rsplit_once('.')?;
    let digits = !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_digit());
    (!parent.is_empty() && digits).then_some((parent, tag))
}

fn vlan_of<P: Platform>(ifp: &Ifnet<P>) -> Option<Shared<Vlan<P>, P>> {
    ifp.softc_as()
}

fn trunk_of<P: Platform>(parent: &Ifnet<P>) -> Option<Shared<Trunk<P>, P>> {
    parent.hook(HookKind::Vlan)?.softc.to_shared()
}

/// `vlan_clone_create`: `vlan`, `vlan7`, or `em0.10`, which is configured at once, as is one with a parent and a tag
/// among its parameters.
fn create<P: Platform>(td: &Thread<'_, P>, request: &CloneRequest<'_, P>) -> Result<Ifp<P>, Errno> {
    let wanted = wanted(td, request)?;
    if let Some((parent, tag)) = &wanted {
        // Before the VLAN is visible; only a lack of memory and too high a stack are left to be found after it.
        admissible(td, parent, *tag)?;
    }
    let softc: Shared<Vlan<P>, P> =
        Shared::try_new(td.domain(), Vlan { owner: P::Mutex::new(None), config: P::Mutex::new(None) })?;
    let kind = simple::Kind {
        if_type: IfType::L2Vlan,
        flags: IfFlags::BROADCAST | IfFlags::SIMPLEX | IfFlags::MULTICAST,
        mtu: ETHERMTU,
        ops: Consts::OPS,
    };
    let ifp = simple::ether(td, request, &kind, [0; 6], &softc, |vlan| &vlan.owner)?;
    if let Some((parent, tag)) = wanted
        && let Err(errno) = vlan_config(td, &ifp, &parent, tag)
    {
        destroy(td, &ifp);
        return Err(errno);
    }
    Ok(ifp)
}

/// The parent and the tag that a create asks for: by parameters, or else by the name.
fn wanted<P: Platform>(td: &Thread<'_, P>, request: &CloneRequest<'_, P>) -> Result<Option<(IfnetRef<P>, u16)>, Errno> {
    let CloneParams { lower, tag, .. } = request.params;
    match (lower, tag, by_name(request.name)) {
        (Some(parent), Some(tag), _) => Ok(Some((parent.clone(), *tag))),
        (None, None, Some((parent, tag))) => {
            let parent = ifunit_ref(td, parent).ok_or(Errno::ENXIO)?;
            Ok(Some((parent, tag.parse().map_err(|_| Errno::EINVAL)?)))
        }
        (None, None, None) => Ok(None),
        _ => Err(Errno::EINVAL),
    }
}

/// `vlan_clone_destroy`.
fn destroy<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    let Some(softc) = vlan_of(ifp) else { return };
    let Some(owner) = ({ softc.owner.lock().take() }) else { return };
    // First out of the lists, then away from the parent: no packet finds it half configured.
    ether_ifdetach(td, &owner);
    unconfig(td, ifp, &softc);
    ifp.set_softc(None);
    if_free(td, owner);
}

/// Whether a VLAN of this tag can be configured on `parent`, as far as the VLAN itself does not matter.
fn admissible<P: Platform>(td: &Thread<'_, P>, parent: &Ifp<P>, tag: u16) -> Result<(), Errno> {
    if !TAGS.contains(&tag) {
        return Err(Errno::EINVAL);
    }
    if !attached_here(td, parent) {
        return Err(Errno::ENXIO);
    }
    if !matches!(parent.if_type(), IfType::Ether | IfType::L2Vlan | IfType::Bridge) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    match trunk_of(parent) {
        Some(trunk) if find(&trunk.children.lock(), tag).is_ok() => Err(Errno::EEXIST),
        // Linux' sort of VLANs.
        None if parent.has_hook(HookKind::Vlan) => Err(Errno::EBUSY),
        _ => Ok(()),
    }
}

fn find<P: Platform>(children: &[Child<P>], tag: u16) -> Result<usize, usize> {
    children.binary_search_by_key(&tag, |child| child.tag)
}

/// `SIOCSETVLAN`: makes `vlan` the VLAN with this tag on `parent`, of the vnet that both are in. It takes the parent's MTU
/// (less the header, unless the parent can carry longer frames), link state and link-level address.
///
/// # Locks
/// Holds the detach lock.
///
/// # Events
/// `iflladdr_event` of the VLAN, then `vlan_config`.
///
/// # Errors
/// `EPERM` if the VLAN is not at home; `EINVAL` if it is no VLAN, for the tags 0 and 4095 and above, and if the parent
/// is the VLAN itself or stands on it; `ENXIO` if either is not attached here; `EPROTONOSUPPORT` if the parent is no
/// Ethernet; `EBUSY` if the VLAN has a parent, or the parent VLANs of the kind `vlan8021q`; `EEXIST` if the parent has a
/// VLAN of this tag; `EMLINK` if more than 8 interfaces
/// would stand on each other; `ENOMEM`. Then nothing has changed.
#[track_caller]
pub fn vlan_config<P: Platform>(td: &Thread<'_, P>, vlan: &Ifp<P>, parent: &Ifp<P>, tag: u16) -> Result<(), Errno> {
    td.assert_can_sleep("vlan_config");
    let _stable = td.kernel().detach_sx.xlock(td);
    let softc = vlan_of(vlan).ok_or(Errno::EINVAL)?;
    at_home(td, vlan)?;
    let _cur = td.curvnet_set(Some(vlan.if_vnet(td)));
    if !attached_here(td, vlan) {
        return Err(Errno::ENXIO);
    }
    if softc.config.lock().is_some() {
        return Err(Errno::EBUSY);
    }
    admissible(td, parent, tag)?;
    let stood = adjacency::prepare(td, parent, vlan, false).map_err(|errno| match errno {
        Errno::EBUSY => Errno::EINVAL,
        errno => errno,
    })?;
    let trunk = match trunk_of(parent) {
        Some(trunk) => trunk,
        None => Shared::try_new(
            td.domain(),
            Trunk { parent: parent.clone(), children: P::Mutex::new(TryVec::new(td.allocator())) },
        )?,
    };
    trunk.children.lock().try_reserve(1)?;

    // Nothing can fail from here on.
    stood.commit(td);
    if !parent.has_hook(HookKind::Vlan) {
        parent.set_hook(HookKind::Vlan, Some(Hook { softc: trunk.clone().erase(), ops: Consts::HOOK }));
    }
    let lent = parent.addrs.lock().lladdr.clone();
    let lladdr = lent.and_then(|lent| lladdr_lend(td, vlan, &lent));
    vlan.set_mtu(parent.mtu().saturating_sub(fudge(parent)));
    vlan.set_flags(IfFlags::RUNNING);
    *softc.config.lock() = Some(Config { trunk: trunk.clone(), tag, lladdr });
    {
        let mut children = trunk.children.lock();
        let at = find(&children, tag).unwrap_or_else(|at| at);
        let inserted = children.try_insert(at, Child { tag, ifp: vlan.clone() });
        debug_assert!(inserted.is_ok(), "room was reserved under the detach lock");
        vlan.swap_link_state(parent.link_state());
    }
    link_state_changed(td, vlan);
    td.kernel().events.invoke(td, &Event::VlanConfig(parent, tag));
    Ok(())
}

/// `SIOCSETVLAN` without a parent: takes the VLAN away from its parent. One that has none stays as it is.
///
/// # Locks
/// Holds the detach lock.
///
/// # Events
/// `iflladdr_event` of the VLAN, then `vlan_unconfig`.
///
/// # Errors
/// `EINVAL` if it is no VLAN, `EPERM` if it is not at home.
#[track_caller]
pub fn vlan_unconfig<P: Platform>(td: &Thread<'_, P>, vlan: &Ifp<P>) -> Result<(), Errno> {
    td.assert_can_sleep("vlan_unconfig");
    let _stable = td.kernel().detach_sx.xlock(td);
    let softc = vlan_of(vlan).ok_or(Errno::EINVAL)?;
    at_home(td, vlan)?;
    unconfig(td, vlan, &softc);
    Ok(())
}

/// `SIOCGETVLAN`: the parent of a VLAN, and its tag; `None` without a parent, or if it is no VLAN.
#[cfg_attr(feature = "holders", track_caller)]
pub fn vlan_parent<P: Platform>(vlan: &Ifp<P>) -> Option<(IfnetRef<P>, u16)> {
    let softc = vlan_of(vlan)?;
    let (trunk, tag) = softc.config.lock().as_ref().map(|config| (config.trunk.clone(), config.tag))?;
    Some((if_try_ref(&trunk.parent)?, tag))
}

fn at_home<P: Platform>(td: &Thread<'_, P>, vlan: &Ifp<P>) -> Result<(), Errno> {
    let home = vlan.if_home_vnet(td).is_some_and(|home| vlan.vnet.is(&home));
    if home { Ok(()) } else { Err(Errno::EPERM) }
}

/// `ifv_mtufudge`: how much less than its parent's a VLAN's MTU is.
fn fudge<P: Platform>(parent: &Ifnet<P>) -> u32 {
    if parent.capenable().contains(IfCaps::VLAN_MTU) { 0 } else { ENCAPLEN }
}

/// `vlan_unconfig_locked`: under the detach lock. Needs no memory.
fn unconfig<P: Platform>(td: &Thread<'_, P>, vlan: &Ifp<P>, softc: &Vlan<P>) {
    let Some(Config { trunk, tag, lladdr }) = ({ softc.config.lock().take() }) else { return };
    let (child, last) = {
        let mut children = trunk.children.lock();
        let child = find(&children, tag).map(|at| children.remove(at));
        (child, children.is_empty())
    };
    drop(child);
    let parent = &trunk.parent;
    if last {
        parent.set_hook(HookKind::Vlan, None);
    }
    vlan.set_mtu(ETHERMTU);
    vlan.clear_flags(IfFlags::RUNNING);
    if let Some(own) = lladdr {
        lladdr_restore(td, vlan, own);
    }
    // After it has left the table: a report of the parent's link cannot come behind this one.
    if_link_state_change(td, vlan, LinkState::Unknown);
    {
        let _cur = td.curvnet_set(Some(parent.if_vnet(td)));
        td.kernel().events.invoke(td, &Event::VlanUnconfig(parent, tag));
    }
    // Readers who still use the parent through the trunk are in sections, and the parent waits for them.
    let stood = if_upper_unlink(td, parent, vlan);
    debug_assert!(stood, "a VLAN with a parent stands on it");
}

/// `vlan_ifdetach`, `vlan_link_state` and `vlan_iflladdr`: what the parent's VLANs hear of it.
fn event<P: Platform>(td: &Thread<'_, P>, parent: &Ifp<P>, softc: &AnyShared<P>, event: &Event<'_, P>) {
    let Some(trunk) = softc.to_shared::<Trunk<P>>() else { return };
    match event {
        Event::Departure(_) => purge(td, &trunk),
        Event::Link(..) => link_state(td, &trunk),
        Event::Lladdr(_) => lladdr(td, parent, &trunk),
        _ => {}
    }
}

/// The parent departs: every VLAN loses it.
fn purge<P: Platform>(td: &Thread<'_, P>, trunk: &Trunk<P>) {
    while let Some(vlan) = { trunk.children.lock().first().map(|child| child.ifp.clone()) } {
        match vlan_of(&vlan) {
            Some(softc) => unconfig(td, &vlan, &softc),
            None => td.platform().panic(format_args!("{}: purge failed", trunk.parent.name())),
        }
    }
}

/// The link of the parent changed. Runs in the task, without the detach lock: a VLAN's state is set under the lock of
/// the table, so that it is not set behind the VLAN's leaving.
fn link_state<P: Platform>(td: &Thread<'_, P>, trunk: &Trunk<P>) {
    let mut from = 0;
    while let Some((tag, vlan, changed)) = {
        let children = trunk.children.lock();
        let at = find(&children, from).unwrap_or_else(|at| at);
        children.get(at).map(|child| {
            let state = trunk.parent.link_state();
            // What is in the table is not freed, so that a reference can be taken.
            (child.tag, if_try_ref(&child.ifp), child.ifp.swap_link_state(state) != state)
        })
    } {
        if let (true, Some(vlan)) = (changed, vlan) {
            link_state_changed(td, &vlan);
        }
        from = tag + 1;
    }
}

/// The link-level address of the parent changed; its VLANs show the new one.
fn lladdr<P: Platform>(td: &Thread<'_, P>, parent: &Ifp<P>, trunk: &Trunk<P>) {
    let _stable = td.kernel().detach_sx.xlock(td);
    let Some(lent) = ({ parent.addrs.lock().lladdr.clone() }) else { return };
    let mut from = 0;
    while let Some((tag, vlan)) = {
        let children = trunk.children.lock();
        children.get(find(&children, from).unwrap_or_else(|at| at)).map(|child| (child.tag, child.ifp.clone()))
    } {
        lladdr_follow(td, &vlan, &lent);
        from = tag + 1;
    }
}

/// `vlan_transmit`: tags the frame and hands it to the parent, in the parent's vnet.
fn transmit<P: Platform>(td: &Thread<'_, P>, ifp: &Ifnet<P>, mut packet: P::Buffer) -> Result<(), Errno> {
    let section = td.net_epoch_enter();
    let softc = vlan_of(ifp).ok_or(Errno::ENETDOWN)?;
    let config = || softc.config.lock().as_ref().map(|config| (config.trunk.parent.clone(), config.tag));
    let (parent, tag) = config().ok_or(Errno::ENETDOWN)?;
    if !parent.flags().contains(IfFlags::UP) {
        return Err(Errno::ENETDOWN);
    }
    if !td.platform().vlan_encap(&mut packet, tag) {
        return Err(Errno::EOPNOTSUPP);
    }
    let _cur = enter_vnet(td, &parent, &section).ok_or(Errno::ENETDOWN)?;
    // A parent that moves loses its VLANs before it arrives: if this is still one of them, it has not moved, and will
    // not in this section.
    if !config().is_some_and(|(now, _)| now.ptr_eq(&parent)) {
        return Err(Errno::ENETDOWN);
    }
    if_transmit(td, &parent, packet, &section)
}

/// `vlan_input`: a frame came in through the parent. A tagged one is for the VLAN of that tag, in the VLAN's vnet, or for
/// nobody; another is the parent's own.
fn input<P: Platform>(
    td: &Thread<'_, P>,
    parent: &Ifnet<P>,
    softc: &AnyShared<P>,
    mut packet: P::Buffer,
) -> Option<P::Buffer> {
    let Some(tag) = td.platform().vlan_decap(&mut packet) else { return Some(packet) };
    let vlan = softc.downcast::<Trunk<P>>().and_then(|trunk| {
        let children = trunk.children.lock();
        find(&children, tag).ok().map(|at| children[at].ifp.clone())
    });
    match vlan.filter(|vlan| vlan.raw_flags().contains(IfFlags::UP | IfFlags::RUNNING)) {
        Some(vlan) => {
            let section = td.net_epoch_enter();
            // A VLAN on its way into another vnet loses what comes in for it.
            let _ = if_deliver(td, &vlan, packet, &section);
        }
        None => parent.count(IfCounter::Noproto, 1),
    }
    None
}

/// `vlan_ioctl`: the MTU may not exceed what the parent can carry.
fn ioctl<P: Platform>(_: &Thread<'_, P>, ifp: &Ifnet<P>, request: Ioctl) -> Result<(), Errno> {
    let Ioctl::SetMtu(mtu) = request else { return Ok(()) };
    let softc = vlan_of(ifp).ok_or(Errno::ENXIO)?;
    let config = softc.config.lock();
    let parent = config.as_ref().map(|config| &config.trunk.parent).ok_or(Errno::EINVAL)?;
    let longest = parent.mtu().saturating_sub(fudge(parent));
    if (IF_MINMTU..=longest).contains(&mtu) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// What is wrong between an interface and its VLANs or its parent.
pub(super) fn check<P: Platform>(ifp: &Ifp<P>, section: &Section<'_, P>) -> Result<(), &'static str> {
    if let Some(softc) = vlan_of(ifp) {
        let config = softc.config.lock();
        let parent = config.as_ref().map(|config| config.trunk.parent.addr());
        let below = ifp.lowers(section).next().and_then(|link| link.lower()).map(|lower| lower.addr());
        if parent != below {
            return Err("the parent of a VLAN is not what stands below it");
        }
        let Some(config) = &*config else { return Ok(()) };
        let listed = trunk_of(&config.trunk.parent).is_some_and(|trunk| {
            let children = trunk.children.lock();
            trunk.ptr_eq(&config.trunk) && find(&children, config.tag).is_ok_and(|at| children[at].ifp.ptr_eq(ifp))
        });
        if !listed {
            return Err("a VLAN has a parent that does not know it");
        }
        if config.trunk.parent.is_dying() {
            return Err("a VLAN has a parent that is gone");
        }
    }
    let Some(trunk) = trunk_of(ifp) else { return Ok(()) };
    if !trunk.parent.ptr_eq(ifp) || trunk.children.lock().is_empty() {
        return Err("a trunk without VLANs, or of another parent");
    }
    let mut at = 0;
    while let Some((tag, vlan)) = { trunk.children.lock().get(at).map(|child| (child.tag, child.ifp.clone())) } {
        let knows = vlan_of(&vlan).is_some_and(|softc| {
            softc.config.lock().as_ref().is_some_and(|config| config.trunk.ptr_eq(&trunk) && config.tag == tag)
        });
        if !knows {
            return Err("a parent has a VLAN that does not know it");
        }
        at += 1;
    }
    Ok(())
}
