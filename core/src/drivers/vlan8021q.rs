//! `vlan8021q`: Linux' VLANs, `ip link add link X name Y type vlan id N`.
//!
//! FreeBSD's [`vlan`](super::vlan) outlives its parent and can be given another one. Linux' is an upper interface for
//! good: it is made on a lower one, which it holds until it is uninitialised, and it is unregistered when the lower is,
//! in whatever vnet it lives. So it is a kind of its own, made of what other uppers are made of (an adjacency, and the
//! queues of `lifecycle/unregister.rs`), except that it does not share its lower with its like: it is found by its tag,
//! and takes only tagged frames. The receive slot stays free, so that a lower can have VLANs and `macvlan`s.
//!
//! Both sorts of VLAN take the tagged frames of an interface through the same hook, `if_vlantrunk`: an interface has
//! VLANs of one sort.
//!
//! What Linux does and this does not: it takes its VLANs down and up together with the lower, and unregisters them nested
//! in the lower's departure even where they live in another namespace. Here those go in the work of their own vnets.

use crate::Errno;
use crate::clone::{CloneFlags, CloneRequest, CloneType, Cloner};
use crate::epoch::Section;
use crate::event::{Event, Lists, PRI_ANY, register_for_ever};
use crate::ifnet::hook::{Hook, HookKind, HookOps};
use crate::ifnet::stack::StackOps;
use crate::ifnet::{IfCounter, IfFlags, IfOps, IfType, Ifnet, IfnetOwner, IfnetRef, Ifp, Ioctl, SockAddr, if_try_ref};
use crate::lifecycle::alloc::set_names;
use crate::lifecycle::unregister::{UnregisterList, call, end_of_dellink, unregister_many, unregister_queue};
use crate::lifecycle::{
    adjacency, ether_ifattach, if_alloc_indexed, if_free, if_input, if_link_state_change, if_lladdr, if_transmit,
    if_upper_unlink,
};
use crate::mem::{AnyShared, Shared, TryVec};
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;
use crate::vnet::VnetRef;

/// The highest tag: 4095 is reserved, and 0 is that of frames with a priority only.
const TAG_MAX: u16 = 4094;

/// `struct vlan_group`: the VLANs of one lower interface. The softc of its hook, which is there while it has any.
struct Group<P: Platform> {
    /// In ascending order of tag; changes under the detach lock.
    vlans: P::Mutex<TryVec<(u16, Ifp<P>), P::Allocator>>,
}

/// `struct vlan_dev_priv`: the private data of a VLAN.
struct Vlan<P: Platform> {
    tag: u16,
    owner: P::Mutex<Option<IfnetOwner<P>>>,
    /// Good as long as `hold` is there.
    lower: Ifp<P>,
    hold: P::Mutex<Option<IfnetRef<P>>>,
}

/// A name for the constants that need the platform.
struct Consts<P>(core::marker::PhantomData<P>);

impl<P: Platform> Consts<P> {
    const OPS: &'static IfOps<P> =
        &IfOps { transmit, input: |_, _, packet| drop(packet), qflush: |_, _| {}, ioctl: Some(ioctl), reassign: None };

    const STACK: &'static StackOps<P> = &StackOps { uninit, address: None };

    // What happens to the lower is heard of by a handler of events, which hears of the MTU too.
    const HOOK: &'static HookOps<P> = &HookOps { input, event: |_, _, _, _| {} };

    const CLONER: &'static CloneType<P> = &CloneType::auto("vlan8021q", create, dellink);
}

/// The cloner of the kind.
pub(super) fn cloner<P: Platform>() -> &'static CloneType<P> {
    Consts::CLONER
}

/// Registers the handler through which VLANs follow their lower.
///
/// # Errors
/// `ENOMEM`.
pub(super) fn init<P: Platform>(td: &Thread<'_, P>) -> Result<(), Errno> {
    register_for_ever(td, lower_event, PRI_ANY, Lists::DEPARTURE | Lists::LINK | Lists::MTU)
}

fn vlan_of<P: Platform>(ifp: &Ifnet<P>) -> Option<Shared<Vlan<P>, P>> {
    ifp.softc_as()
}

fn group_of<P: Platform>(lower: &Ifnet<P>) -> Option<Shared<Group<P>, P>> {
    lower.hook(HookKind::Vlan)?.softc.to_shared()
}

fn find<P: Platform>(vlans: &[(u16, Ifp<P>)], tag: u16) -> Result<usize, usize> {
    vlans.binary_search_by_key(&tag, |(tag, _)| *tag)
}

/// The lower interface and the tag of a `vlan8021q`; `None` for another kind, and once it is uninitialised.
pub fn vlan8021q_lower<P: Platform>(ifp: &Ifnet<P>) -> Option<(IfnetRef<P>, u16)> {
    let vlan = vlan_of(ifp)?;
    let lower = vlan.hold.lock().clone()?;
    Some((lower, vlan.tag))
}

/// `vlan_newlink`: everything that can fail comes before the VLAN is visible. Under the detach lock.
fn create<P: Platform>(td: &Thread<'_, P>, request: &CloneRequest<'_, P>) -> Result<Ifp<P>, Errno> {
    let params = request.params;
    let (lower, tag) = (params.lower.as_ref().ok_or(Errno::EINVAL)?, params.tag.ok_or(Errno::EINVAL)?);
    if tag > TAG_MAX || params.mtu.is_some_and(|mtu| mtu > lower.mtu()) {
        return Err(Errno::EINVAL);
    }
    if lower.is_dying() || lower.is_queued() {
        return Err(Errno::ENODEV);
    }
    if !matches!(lower.if_type(), IfType::Ether | IfType::Bridge) {
        return Err(Errno::EOPNOTSUPP);
    }
    let group = match group_of(lower) {
        Some(group) => group,
        None if lower.has_hook(HookKind::Vlan) => return Err(Errno::EBUSY),
        None => Shared::try_new(td.domain(), Group { vlans: P::Mutex::new(TryVec::new(td.allocator())) })?,
    };
    {
        let mut vlans = group.vlans.lock();
        if find(&vlans, tag).is_ok() {
            return Err(Errno::EEXIST);
        }
        vlans.try_reserve(1)?;
    }
    let vlan: Shared<Vlan<P>, P> = Shared::try_new(
        td.domain(),
        Vlan {
            tag,
            owner: P::Mutex::new(None),
            lower: Ifp::clone(lower),
            hold: P::Mutex::new(Some(if_try_ref(lower).ok_or(Errno::ENODEV)?)),
        },
    )?;
    let owner = if_alloc_indexed(td, IfType::Ether, params.index)?;
    let ifp = Ifp::clone(&owner);
    if let Err(errno) = attach(td, request, &owner, &vlan) {
        owner.set_softc(None);
        if_free(td, owner);
        return Err(errno);
    }
    *vlan.owner.lock() = Some(owner);
    {
        let mut vlans = group.vlans.lock();
        let at = find(&vlans, tag).unwrap_or_else(|at| at);
        let inserted = vlans.try_insert(at, (tag, ifp.clone()));
        debug_assert!(inserted.is_ok(), "room was reserved under the detach lock");
    }
    if !lower.has_hook(HookKind::Vlan) {
        lower.set_hook(HookKind::Vlan, Some(Hook { softc: group.erase(), ops: Consts::HOOK }));
    }
    if_link_state_change(td, &ifp, lower.link_state());
    Ok(ifp)
}

fn attach<P: Platform>(
    td: &Thread<'_, P>,
    request: &CloneRequest<'_, P>,
    owner: &IfnetOwner<P>,
    vlan: &Shared<Vlan<P>, P>,
) -> Result<(), Errno> {
    let lower = &vlan.lower;
    set_names(owner, request.name, request.cloner.name(), request.unit)?;
    owner.init_flags(IfFlags::BROADCAST | IfFlags::SIMPLEX | IfFlags::MULTICAST | IfFlags::RUNNING);
    owner.set_ops(Consts::OPS);
    owner.set_stack_ops(Consts::STACK)?;
    owner.set_softc(Some(vlan.clone().erase()));
    let lladdr = match if_lladdr(td, lower) {
        Some(SockAddr::Link(lladdr)) => lladdr,
        _ => [0; 6],
    };
    let link = adjacency::prepare(td, lower, owner, false)?;
    ether_ifattach(td, owner, lladdr)?;
    owner.set_mtu(request.params.mtu.unwrap_or_else(|| lower.mtu()));
    link.commit(td);
    Ok(())
}

/// `unregister_vlan_dev`, for the user. One that is queued is given up already.
fn dellink<P: Platform>(
    td: &Thread<'_, P>,
    _: &Shared<Cloner<P>, P>,
    ifp: &Ifp<P>,
    flags: CloneFlags,
) -> Result<(), Errno> {
    let list = UnregisterList::new(td);
    give_up(td, &ifp.if_vnet(td), ifp, &list);
    end_of_dellink(td, &list, flags);
    Ok(())
}

/// Takes a VLAN off its lower, and gives it up: unlinked before it is queued. Under the detach lock.
fn give_up<P: Platform>(td: &Thread<'_, P>, vnet: &VnetRef<P>, ifp: &Ifp<P>, list: &UnregisterList<P>) {
    let Some(vlan) = vlan_of(ifp) else { return };
    let Some(owner) = ({ vlan.owner.lock().take() }) else { return };
    let lower = &vlan.lower;
    if let Some(group) = group_of(lower) {
        let (left, last) = {
            let mut vlans = group.vlans.lock();
            let left = find(&vlans, vlan.tag).map(|at| vlans.remove(at));
            (left, vlans.is_empty())
        };
        drop(left);
        if last {
            lower.set_hook(HookKind::Vlan, None);
        }
    }
    if_upper_unlink(td, lower, ifp);
    unregister_queue(td, vnet, owner, list);
}

/// `vlan_dev_uninit`, and the end of the hold on the lower: the VLAN has departed.
fn uninit<P: Platform>(td: &Thread<'_, P>, ifp: &Ifp<P>) {
    let Some(vlan) = vlan_of(ifp) else { return };
    call(td, "vlan_uninit", ifp);
    ifp.set_softc(None);
    let hold = vlan.hold.lock().take();
    drop(hold);
}

/// `vlan_device_event`: something happened to a lower interface. A move is a departure as well; its VLANs stay.
fn lower_event<P: Platform>(td: &Thread<'_, P>, event: &Event<'_, P>, _: usize) {
    let lower = match *event {
        Event::Departure(lower) | Event::Link(lower, _) | Event::Mtu(lower) => lower,
        _ => return,
    };
    if !lower.has_uppers() {
        return;
    }
    let Some(group) = group_of(lower) else { return };
    match *event {
        Event::Departure(_) if lower.is_dying() => departed(td, &group),
        Event::Link(_, state) => for_each(&group, |vlan| if_link_state_change(td, vlan, state)),
        Event::Mtu(_) => for_each(&group, |vlan| vlan.set_mtu(vlan.mtu().min(lower.mtu()))),
        _ => {}
    }
}

/// Calls `each` for every VLAN, in the order of tags, with a reference and without a lock.
fn for_each<P: Platform>(group: &Group<P>, each: impl Fn(&Ifp<P>)) {
    let mut from = 0;
    while let Some((tag, vlan)) = {
        let vlans = group.vlans.lock();
        let at = find(&vlans, from).unwrap_or_else(|at| at);
        // What is in the table is not freed, so that a reference can be taken.
        vlans.get(at).map(|(tag, ifp)| (*tag, if_try_ref(ifp)))
    } {
        if let Some(vlan) = vlan {
            each(&vlan);
        }
        from = tag + 1;
    }
}

/// The lower goes: with it every VLAN, in the order of tags, those of this vnet before the lower itself.
fn departed<P: Platform>(td: &Thread<'_, P>, group: &Group<P>) {
    let vnet = td.curvnet();
    let list = UnregisterList::new(td);
    while let Some(vlan) = { group.vlans.lock().first().map(|(_, ifp)| ifp.clone()) } {
        give_up(td, &vnet, &vlan, &list);
    }
    unregister_many(td, &list);
}

/// `vlan_dev_hard_start_xmit`: tags the frame and hands it to the lower, in the lower's vnet.
fn transmit<P: Platform>(td: &Thread<'_, P>, ifp: &Ifnet<P>, mut packet: P::Buffer) -> Result<(), Errno> {
    let section = td.net_epoch_enter();
    let vlan = vlan_of(ifp).ok_or(Errno::ENXIO)?;
    let lower = &vlan.lower;
    if lower.is_dying() {
        return Err(Errno::ENXIO);
    }
    if !ifp.flags().contains(IfFlags::UP) || !lower.flags().contains(IfFlags::UP) {
        return Err(Errno::ENETDOWN);
    }
    if !td.platform().vlan_encap(&mut packet, vlan.tag) {
        return Err(Errno::EOPNOTSUPP);
    }
    let _cur = td.curvnet_set(Some(lower.if_vnet(td)));
    if_transmit(td, lower, packet, &section)
}

/// `vlan_do_receive`: a tagged frame is for the VLAN of that tag, in the VLAN's vnet, or for nobody; another is the lower's
/// own.
fn input<P: Platform>(
    td: &Thread<'_, P>,
    lower: &Ifnet<P>,
    softc: &AnyShared<P>,
    mut packet: P::Buffer,
) -> Option<P::Buffer> {
    let Some(tag) = td.platform().vlan_decap(&mut packet) else { return Some(packet) };
    let vlan = softc.downcast::<Group<P>>().and_then(|group| {
        let vlans = group.vlans.lock();
        find(&vlans, tag).ok().map(|at| vlans[at].1.clone())
    });
    match vlan.filter(|vlan| vlan.raw_flags().contains(IfFlags::UP)) {
        Some(vlan) => {
            let section = td.net_epoch_enter();
            let _cur = td.curvnet_set(Some(vlan.if_vnet(td)));
            if_input(td, &vlan, packet, &section);
        }
        None => lower.count(IfCounter::Noproto, 1),
    }
    None
}

fn ioctl<P: Platform>(_: &Thread<'_, P>, ifp: &Ifnet<P>, request: Ioctl) -> Result<(), Errno> {
    match request {
        // Larger frames than the lower's would not get through.
        Ioctl::SetMtu(mtu) if vlan_of(ifp).is_some_and(|vlan| mtu > vlan.lower.mtu()) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

/// What is wrong between an interface and its VLANs.
pub(super) fn check<P: Platform>(lower: &Ifp<P>, section: &Section<'_, P>) -> Result<(), &'static str> {
    let Some(group) = group_of(lower) else { return Ok(()) };
    if group.vlans.lock().is_empty() {
        return Err("a group of VLANs is empty");
    }
    let mut at = 0;
    while let Some((tag, ifp)) = { group.vlans.lock().get(at).map(|(tag, ifp)| (*tag, ifp.clone())) } {
        let knows = vlan_of(&ifp).is_some_and(|vlan| vlan.tag == tag && vlan.lower.ptr_eq(lower));
        if !knows {
            return Err("an interface has a VLAN that does not know it");
        }
        let below = ifp.lowers(section).next().and_then(|link| link.lower());
        if !below.is_some_and(|below| below.ptr_eq(lower)) {
            return Err("an interface has a VLAN that does not stand on it");
        }
        at += 1;
    }
    Ok(())
}

#[cfg(all(test, not(ifnet_loom)))]
mod tests {
    use super::*;
    use crate::clone::{CloneParams, if_clone_create, if_clone_create_kind};
    use crate::drivers::{vlan_config, vlan_parent};
    use crate::testing::{Host, kernel};
    use crate::{
        TaskMode, if_clone_destroy, if_setmtu, if_unregister, if_vmove_loan, ifunit_ref, vnet_alloc, vnet_destroy,
    };

    fn make(td: &Thread<'_, Host>, lower: &str, name: &str, tag: u16) -> Result<(), Errno> {
        let params = CloneParams { lower: ifunit_ref(td, lower), tag: Some(tag), ..CloneParams::NONE };
        if_clone_create_kind(td, "vlan8021q", Some(name), &params).map(drop)
    }

    #[test]
    fn it_goes_with_its_lower_and_not_when_that_moves() {
        let (_, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        let [v1, v2] = [(); 2].map(|()| vnet_alloc(&td).expect("memory"));
        if_clone_create_kind(&td, "veth", Some("a"), &CloneParams::NONE).expect("memory");
        make(&td, "a", "a.5", 5).expect("memory");
        make(&td, "a", "a.3", 3).expect("memory");
        make(&td, "a.5", "a.5.6", 6).expect("tags within tags");
        drop(if_vmove_loan(&td, "a.5", &v1).expect("free"));
        drop(if_vmove_loan(&td, "a", &v2).expect("free"));
        assert_eq!((kernel.vnet0().ifcnt(), v1.ifcnt(), v2.ifcnt()), (4, 2, 2), "lo0, veth0, a.3, a.5.6; a.5; a");
        crate::invariants::check(&td).expect("sound");
        let upper = ifunit_ref(&td, "a.3").expect("made");
        let (lower, tag) = vlan8021q_lower(&upper).expect("a VLAN");
        assert_eq!((&*lower.name(), tag), ("a", 3));
        drop((lower, upper));
        if_unregister(&td, "veth0").expect("made");
        while kernel.run_deferred(&td) {}
        assert_eq!(kernel.interfaces(), 3, "lo0 of each vnet");
        crate::invariants::check(&td).expect("sound");
        for vnet in [v1, v2] {
            vnet_destroy(&td, &vnet).expect("alive");
        }
    }

    #[test]
    fn what_is_refused_leaves_nothing() {
        let (host, kernel) = kernel(TaskMode::Immediate);
        let td = kernel.thread().expect("room");
        for kind in ["veth", "vlan", "disc"] {
            if_clone_create_kind(&td, kind, None, &CloneParams::NONE).expect("memory");
        }
        make(&td, "veth0", "x", 5).expect("memory");
        let before = kernel.interfaces();
        assert_eq!(make(&td, "veth0", "y", 5), Err(Errno::EEXIST));
        assert_eq!(make(&td, "veth0", "y", 4095), Err(Errno::EINVAL));
        assert_eq!(make(&td, "disc0", "y", 5), Err(Errno::EOPNOTSUPP));
        assert_eq!(make(&td, "nosuch", "y", 5), Err(Errno::EINVAL), "without a lower");
        let get = |name: &str| ifunit_ref(&td, name).expect(name);
        assert_eq!(vlan_config(&td, &get("vlan0"), &get("veth0"), 6), Err(Errno::EBUSY), "one sort at a time");
        vlan_config(&td, &get("vlan0"), &get("veth1"), 6).expect("free");
        assert_eq!(make(&td, "veth1", "y", 5), Err(Errno::EBUSY));
        assert!(vlan_parent(&get("vlan0")).is_some() && vlan8021q_lower(&get("vlan0")).is_none());
        assert_eq!(if_setmtu(&td, &get("x"), 1501), Err(Errno::EINVAL));
        if_setmtu(&td, &get("veth0"), 1400).expect("alive");
        assert_eq!(get("x").mtu(), 1400);
        for memory in 0.. {
            host.arena().fail_after(memory);
            let made = make(&td, "veth0", "y", 7);
            host.arena().fail_never();
            crate::invariants::check(&td).expect("sound");
            if made.is_ok() {
                assert!(memory > 5, "each was refused");
                break;
            }
            assert_eq!((made, kernel.interfaces()), (Err(Errno::ENOMEM), before), "after {memory}");
        }
        for name in ["y", "x", "vlan0", "disc0", "veth0"] {
            if_clone_destroy(&td, name).expect(name);
        }
        assert_eq!(if_clone_create(&td, "vlan8021q").map(drop), Err(Errno::EINVAL), "it stands on something");
        assert_eq!(kernel.interfaces(), 1);
    }
}
