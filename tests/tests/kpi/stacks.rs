//! VLANs, bridges and aggregates: packets through them, and what each side shows of a membership.

use ifnet::drivers::{bridge_addm, bridge_delm, lagg_addport, lagg_delport, vlan_config, vlan_parent, vlan_unconfig};
use ifnet::{
    Errno, IfCaps, IfCounter, IfFlags, IfType, IfnetRef, LinkState, SockAddr, bpf_open, ether_ifattach, ether_ifdetach,
    for_each_lower, if_alloc, if_clone_create, if_clone_destroy, if_free, if_initname, if_link_state_change, if_lladdr,
    if_setflags, if_setlladdr, if_setmtu, if_transmit, if_vmove_loan, if_vmove_reclaim, ifunit_ref, vnet_alloc,
    vnet_destroy,
};

use super::bed::{Host, Td, kernel, settle, within};

type Ref = IfnetRef<Host>;

fn get(td: &Td<'_>, name: &str) -> Ref {
    ifunit_ref(td, name).expect(name)
}

/// Creates, and takes up.
fn make(td: &Td<'_>, name: &str) -> Ref {
    let ifp = get(td, &if_clone_create(td, name).expect(name));
    up(td, &ifp);
    ifp
}

fn up(td: &Td<'_>, ifp: &Ref) {
    if_setflags(td, ifp, ifp.flags() | IfFlags::UP).expect("alive");
}

fn send(td: &Td<'_>, ifp: &Ref) -> Result<(), Errno> {
    let section = td.net_epoch_enter();
    if_transmit(td, ifp, vec![0; 60], &section)
}

fn received(ifp: &Ref) -> usize {
    ifp.counter(IfCounter::Ipackets)
}

/// The members, in the order of joining.
fn members(td: &Td<'_>, master: &Ref) -> Vec<String> {
    let mut names = Vec::new();
    for_each_lower(td, master, |ifp, member| names.extend(member.then(|| ifp.name().to_string())));
    names
}

fn gone(td: &Td<'_>, names: &[&str]) {
    names.iter().for_each(|name| if_clone_destroy(td, name).expect(name));
}

#[test]
fn a_tagged_frame_arrives_in_the_vnet_of_the_vlan_of_its_tag() {
    kernel(|td| {
        let (a, b) = (make(td, "epair0"), get(td, "epair0b"));
        up(td, &b);
        let (upper, far, other) = (make(td, "epair0a.10"), make(td, "epair0b.10"), make(td, "epair0b.11"));
        let jail = vnet_alloc(td).unwrap();
        drop(if_vmove_loan(td, "epair0b.10", &jail).unwrap());
        assert_eq!(send(td, &upper), Ok(()));
        assert_eq!((received(&far), received(&other)), (0, 0), "a move has taken it down");
        assert_eq!(b.counter(IfCounter::Noproto), 1);
        within(td, &jail, || up(td, &far));
        let listener = within(td, &jail, || bpf_open(td, "epair0b.10").unwrap());
        assert_eq!(send(td, &upper), Ok(()));
        assert_eq!((received(&far), received(&other), received(&b)), (1, 0, 2));
        assert_eq!(send(td, &a), Ok(()), "an untagged frame is the parent's own");
        assert_eq!((received(&far), received(&b), b.counter(IfCounter::Noproto)), (1, 3, 1));
        // Back, from the jail.
        assert_eq!(within(td, &jail, || send(td, &far)), Ok(()));
        assert_eq!((received(&upper), upper.counter(IfCounter::Opackets)), (1, 2));
        drop(listener);
        gone(td, &["epair0a"]);
        assert_eq!(send(td, &upper), Err(Errno::ENETDOWN), "the parent is gone");
        drop((upper, far, other, a, b));
        vnet_destroy(td, &jail).unwrap();
        gone(td, &["epair0a.10", "epair0b.10", "epair0b.11"]);
    });
}

#[test]
fn a_vlan_takes_after_its_parent_and_is_itself_again_without() {
    kernel(|td| {
        let (a, vlan) = (make(td, "epair0"), make(td, "vlan7"));
        let fresh = (vlan.mtu(), vlan.flags(), vlan.link_state(), if_lladdr(td, &vlan));
        let refs = a.refcount();
        vlan_config(td, &vlan, &a, 10).unwrap();
        assert_eq!(
            vlan_parent(&vlan).map(|(parent, tag)| (parent.name().to_string(), tag)),
            Some(("epair0a".into(), 10))
        );
        assert_eq!((vlan.mtu(), vlan.link_state(), if_lladdr(td, &vlan)), (1496, LinkState::Up, if_lladdr(td, &a)));
        assert!(vlan.flags().contains(IfFlags::RUNNING));
        assert_eq!(a.refcount(), refs + 1, "the VLAN holds its parent");
        if_setlladdr(td, &a, [2, 0, 0, 0, 0, 9]).unwrap();
        if_link_state_change(td, &a, LinkState::Down);
        settle(td);
        assert_eq!(if_lladdr(td, &vlan), Some(SockAddr::Link([2, 0, 0, 0, 0, 9])));
        assert_eq!(vlan.link_state(), LinkState::Down);
        assert_eq!(if_setmtu(td, &vlan, 1497), Err(Errno::EINVAL));
        assert_eq!(if_setmtu(td, &vlan, 1400), Ok(()));
        vlan_unconfig(td, &vlan).unwrap();
        assert_eq!((vlan.mtu(), vlan.flags(), vlan.link_state(), if_lladdr(td, &vlan)), fresh);
        assert_eq!((a.refcount(), vlan_parent(&vlan).is_none()), (refs, true));
        drop((a, vlan));
        gone(td, &["epair0a", "vlan7"]);
    });
}

#[test]
fn on_a_driver_that_has_room_for_the_tag_a_vlan_is_as_long_as_its_parent() {
    kernel(|td| {
        let em0 = if_alloc(td, IfType::Ether).unwrap();
        if_initname(&em0, "em", Some(0)).unwrap();
        ether_ifattach(td, &em0, [2, 0, 0, 0, 0, 1]).unwrap();
        for (caps, mtu) in [(IfCaps::VLAN_MTU, 1500), (IfCaps::empty(), 1496)] {
            em0.set_capenable(caps);
            let vlan = make(td, "em0.5");
            assert_eq!((vlan.mtu(), if_setmtu(td, &vlan, mtu + 1)), (mtu, Err(Errno::EINVAL)), "{caps:?}");
            drop(vlan);
            if_clone_destroy(td, "em0.5").unwrap();
        }
        ether_ifdetach(td, &em0);
        if_free(td, em0);
    });
}

#[test]
fn a_move_of_the_parent_drops_its_vlans_and_a_move_of_a_vlan_keeps_its_parent() {
    kernel(|td| {
        let (a, vlan) = (make(td, "epair0"), make(td, "epair0a.10"));
        let jail = vnet_alloc(td).unwrap();
        drop(if_vmove_loan(td, "epair0a.10", &jail).unwrap());
        assert!(vlan_parent(&vlan).is_some());
        assert_eq!(vlan_unconfig(td, &vlan), Err(Errno::EPERM), "it is not at home");
        assert_eq!(vlan_config(td, &vlan, &a, 11), Err(Errno::EPERM));
        drop(if_vmove_loan(td, "epair0a", &jail).unwrap());
        assert!(vlan_parent(&vlan).is_none(), "its parent has moved, though to where it is itself");
        drop(if_vmove_reclaim(td, "epair0a.10", &jail).unwrap());
        assert_eq!(vlan_config(td, &vlan, &a, 10), Err(Errno::ENXIO), "the parent is in another vnet");
        drop((a, vlan));
        vnet_destroy(td, &jail).unwrap();
        gone(td, &["epair0b", "epair0a.10"]);
    });
}

#[test]
fn a_bridge_passes_a_packet_to_all_other_members() {
    kernel(|td| {
        let bridge = make(td, "bridge0");
        let ends: Vec<(Ref, Ref)> = (0..3)
            .map(|n| (make(td, &format!("epair{n}")), get(td, &format!("epair{n}b"))))
            .inspect(|(_, b)| up(td, b))
            .collect();
        for (a, _) in &ends {
            bridge_addm(td, &bridge, a).unwrap();
            assert!(a.flags().contains(IfFlags::PROMISC));
            assert_eq!(if_setmtu(td, a, 1400), Err(Errno::EOPNOTSUPP));
        }
        assert_eq!(members(td, &bridge), ["epair0a", "epair1a", "epair2a"]);
        let arrived = || ends.iter().map(|(_, b)| received(b)).collect::<Vec<_>>();
        assert_eq!(send(td, &ends[0].1), Ok(()), "into the bridge from outside");
        assert_eq!(arrived(), [0, 1, 1]);
        assert_eq!(send(td, &bridge), Ok(()));
        assert_eq!(arrived(), [1, 2, 2]);
        bridge_delm(td, &bridge, &ends[2].0).unwrap();
        assert!(!ends[2].0.flags().contains(IfFlags::PROMISC));
        assert_eq!(send(td, &bridge), Ok(()));
        assert_eq!(arrived(), [2, 3, 2]);
        drop(ends);
        gone(td, &["epair1b", "bridge0", "epair0a", "epair2a"]);
        drop(bridge);
    });
}

#[test]
fn a_ring_of_bridges_ends_by_the_limit() {
    kernel(|td| {
        let bridges = [make(td, "bridge0"), make(td, "bridge1")];
        for n in 0..3 {
            let ends = [make(td, &format!("epair{n}")), get(td, &format!("epair{n}b"))];
            for (bridge, end) in bridges.iter().zip(&ends) {
                up(td, end);
                bridge_addm(td, bridge, end).unwrap();
            }
        }
        let _ = send(td, &bridges[0]);
        assert!(bridges.iter().any(|bridge| bridge.counter(IfCounter::Oerrors) > 0), "cut somewhere");
        drop(bridges);
        gone(td, &["bridge0", "bridge1", "epair0a", "epair1a", "epair2b"]);
    });
}

#[test]
fn ports_show_the_address_of_the_primary_and_get_their_own_back() {
    kernel(|td| {
        let (lagg, a, b) = (make(td, "lagg0"), make(td, "epair0"), make(td, "epair1"));
        let [none, own_a, own_b] = [&lagg, &a, &b].map(|ifp| if_lladdr(td, ifp));
        let shown = || [&lagg, &a, &b].map(|ifp| if_lladdr(td, ifp));
        lagg_addport(td, &lagg, &a).unwrap();
        lagg_addport(td, &lagg, &b).unwrap();
        assert_eq!(shown(), [own_a; 3]);
        assert_eq!(members(td, &lagg), ["epair0a", "epair1a"]);
        if_setlladdr(td, &lagg, [2, 0, 0, 0, 0, 9]).unwrap();
        assert_eq!(shown(), [Some(SockAddr::Link([2, 0, 0, 0, 0, 9])); 3]);
        lagg_delport(td, &lagg, &a).unwrap();
        assert_eq!(shown(), [own_b, own_a, own_b], "the next primary's");
        assert_eq!(lagg_delport(td, &lagg, &a), Err(Errno::ENOENT));
        lagg_addport(td, &lagg, &a).unwrap();
        let jail = vnet_alloc(td).unwrap();
        drop(if_vmove_loan(td, "epair1a", &jail).unwrap());
        assert_eq!(shown(), [own_a, own_a, own_b], "a port that moves leaves");
        drop(if_vmove_loan(td, "lagg0", &jail).unwrap());
        assert_eq!(shown(), [none, own_a, own_b], "an aggregate that moves has no ports");
        drop((lagg, a, b));
        vnet_destroy(td, &jail).unwrap();
        gone(td, &["lagg0", "epair0a", "epair1a"]);
    });
}

#[test]
fn the_first_port_that_is_up_sends_and_receives() {
    kernel(|td| {
        let lagg = make(td, "lagg0");
        let [a, b] = ["epair0", "epair1"].map(|name| get(td, &if_clone_create(td, name).unwrap()));
        let peers = ["epair0b", "epair1b"].map(|name| get(td, name));
        peers.iter().for_each(|peer| up(td, peer));
        for port in [&a, &b] {
            lagg_addport(td, &lagg, port).unwrap();
            assert!(port.flags().contains(IfFlags::UP), "a port comes up with its aggregate");
        }
        assert_eq!(send(td, &lagg), Ok(()));
        if_link_state_change(td, &a, LinkState::Down);
        settle(td);
        assert_eq!((send(td, &lagg), lagg.link_state()), (Ok(()), LinkState::Up));
        assert_eq!(peers.each_ref().map(received), [1, 1]);
        assert_eq!((send(td, &peers[0]), send(td, &peers[1])), (Ok(()), Ok(())));
        assert_eq!(received(&lagg), 1, "only what comes in through the active port");
        if_setflags(td, &lagg, lagg.flags() - IfFlags::UP).unwrap();
        assert!(!a.flags().contains(IfFlags::UP) && !b.flags().contains(IfFlags::UP));
        assert_eq!(send(td, &lagg), Err(Errno::ENETDOWN));
        drop((lagg, a, b, peers));
        gone(td, &["epair0a", "lagg0", "epair1a"]);
    });
}
