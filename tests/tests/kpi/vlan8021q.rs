//! Linux' VLANs: packets through them, over vnets, and the errors of what hangs on indices and names in a create.

use ifnet::drivers::{stack_mode, vlan8021q_lower};
use ifnet::{
    CloneParams, Errno, IfCounter, IfFlags, IfName, IfnetRef, Peer, SockAddr, VnetRef, if_clone_create_kind, if_lladdr,
    if_setflags, if_setlladdr, if_transmit, if_unregister, if_vmove_loan, ifunit_ref, vnet_alloc, vnet_destroy,
};

use super::bed::{Host, Td, kernel, settle, within};

fn get(td: &Td<'_>, name: &str) -> IfnetRef<Host> {
    ifunit_ref(td, name).expect(name)
}

fn up(td: &Td<'_>, ifp: &IfnetRef<Host>) {
    if_setflags(td, ifp, ifp.flags() | IfFlags::UP).expect("alive");
}

fn pair(td: &Td<'_>) {
    let peer = Peer { name: IfName::new("b").ok(), vnet: None };
    let params = CloneParams { peer: Some(peer), ..CloneParams::NONE };
    if_clone_create_kind(td, "veth", Some("a"), &params).expect("memory");
    up(td, &get(td, "a"));
    up(td, &get(td, "b"));
}

fn upper(td: &Td<'_>, kind: &str, name: &str, lower: &str, tag: Option<u16>) -> Result<(), Errno> {
    let params = CloneParams { lower: ifunit_ref(td, lower), tag, ..CloneParams::NONE };
    if_clone_create_kind(td, kind, Some(name), &params)?;
    up(td, &get(td, name));
    Ok(())
}

fn send(td: &Td<'_>, ifp: &IfnetRef<Host>) -> Result<(), Errno> {
    let section = td.net_epoch_enter();
    if_transmit(td, ifp, vec![0; 60], &section)
}

fn received(ifp: &IfnetRef<Host>) -> usize {
    ifp.counter(IfCounter::Ipackets)
}

fn elsewhere(td: &Td<'_>, name: &str, vnet: &VnetRef<Host>) -> IfnetRef<Host> {
    let moved = if_vmove_loan(td, name, vnet).expect(name);
    within(td, vnet, || up(td, &moved));
    moved
}

#[test]
fn a_tagged_frame_arrives_in_the_vlan_of_its_tag_wherever_it_is() {
    kernel(|td| {
        pair(td);
        let jail = vnet_alloc(td).unwrap();
        for (name, lower, tag) in [("a.10", "a", 10), ("b.10", "b", 10), ("b.11", "b", 11), ("b.10.5", "b.10", 5)] {
            upper(td, "vlan8021q", name, lower, Some(tag)).expect(name);
        }
        let far = elsewhere(td, "b.10", &jail);
        let (a, b, near, other) = (get(td, "a"), get(td, "b"), get(td, "a.10"), get(td, "b.11"));
        assert_eq!(send(td, &near), Ok(()));
        assert_eq!((received(&far), received(&other)), (1, 0));
        let plain = received(&b);
        assert_eq!(send(td, &a), Ok(()), "an untagged frame is the lower's own");
        assert_eq!((received(&b), received(&far)), (plain + 1, 1));
        // Back, from the jail; and through a tag within a tag, which nobody takes here.
        assert_eq!(within(td, &jail, || send(td, &far)), Ok(()));
        assert_eq!(received(&near), 1);
        assert_eq!(send(td, &get(td, "b.10.5")), Ok(()));
        assert_eq!(near.counter(IfCounter::Noproto) + received(&near), 2, "it arrives as a frame of tag 10");
        // Nobody has this tag there.
        upper(td, "vlan8021q", "a.12", "a", Some(12)).unwrap();
        let lost = b.counter(IfCounter::Noproto);
        assert_eq!(send(td, &get(td, "a.12")), Ok(()));
        assert_eq!(b.counter(IfCounter::Noproto), lost + 1);
        // Down, above or below.
        if_setflags(td, &near, near.flags() - IfFlags::UP).unwrap();
        assert_eq!(send(td, &near), Err(Errno::ENETDOWN));
        up(td, &near);
        if_setflags(td, &a, a.flags() - IfFlags::UP).unwrap();
        assert_eq!(send(td, &near), Err(Errno::ENETDOWN));
        // What waits for references would wait for these.
        let kept = (ifnet::Ifp::clone(&near), ifnet::Ifp::clone(&far));
        drop((a, b, near, other, far));
        if_unregister(td, "a").unwrap();
        settle(td);
        assert_eq!((kept.0.refcount(), kept.1.refcount(), jail.ifcnt()), (0, 0, 1));
        vnet_destroy(td, &jail).unwrap();
    });
}

#[test]
fn a_vlan_leaves_the_receive_slot_free_and_has_an_address_of_its_own() {
    kernel(|td| {
        pair(td);
        upper(td, "vlan8021q", "v", "a", Some(7)).unwrap();
        upper(td, "macvlan", "m", "a", None).unwrap();
        assert!(stack_mode(&get(td, "m")).is_some());
        assert_eq!(upper(td, "ipvlan", "i", "a", None), Err(Errno::EBUSY));
        upper(td, "macvlan", "mv", "v", None).unwrap();
        let (a, v) = (get(td, "a"), get(td, "v"));
        let first = if_lladdr(td, &a);
        assert_eq!(if_lladdr(td, &v), first, "at first the lower's");
        if_setlladdr(td, &a, [2, 0, 0, 0, 0, 9]).unwrap();
        assert_eq!((if_lladdr(td, &a), if_lladdr(td, &v)), (Some(SockAddr::Link([2, 0, 0, 0, 0, 9])), first));
        assert_eq!(vlan8021q_lower(&v).map(|(lower, tag)| (lower.name().to_string(), tag)), Some(("a".into(), 7)));
        drop((a, v));
        // One upper of its own goes alone, and its place is free.
        if_unregister(td, "v").unwrap();
        assert!(ifunit_ref(td, "mv").is_none() && ifunit_ref(td, "m").is_some());
        upper(td, "vlan8021q", "v", "a", Some(7)).unwrap();
        if_unregister(td, "b").unwrap();
        assert!(["a", "b", "m", "v"].iter().all(|name| ifunit_ref(td, name).is_none()));
    });
}

#[test]
fn a_vlan_needs_a_lower_and_a_tag() {
    kernel(|td| {
        pair(td);
        for kind in ["vlan8021q", "vlan"] {
            assert_eq!(upper(td, kind, "v", "a", None), Err(Errno::EINVAL), "{kind} without a tag");
            assert_eq!(upper(td, kind, "v", "nothing", Some(5)), Err(Errno::EINVAL), "{kind} without a lower");
        }
        assert!(ifunit_ref(td, "v").is_none());
        if_unregister(td, "a").unwrap();
    });
}
