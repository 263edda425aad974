//! Stacks of many kinds: one graph, in which each kind refuses what another one has taken.

use ifnet::drivers::{bridge_addm, bridge_delm, lagg_addport, lagg_delport, vlan_config, vlan_parent, vlan_unconfig};
use ifnet::{
    CloneParams, Errno, IfnetRef, for_each_lower, for_each_upper, if_clone_create, if_clone_create_kind,
    if_clone_destroy, if_master, if_vmove_loan, ifunit, ifunit_ref, invariants, vnet_alloc, vnet_destroy,
};

use super::bed::{Host, Td, kernel, settle, snapshot};

type Ref = IfnetRef<Host>;

fn get(td: &Td<'_>, name: &str) -> Ref {
    ifunit_ref(td, name).expect(name)
}

fn make(td: &Td<'_>, name: &str) -> Ref {
    get(td, &if_clone_create(td, name).expect(name))
}

/// An upper that shares `lower`.
fn share(td: &Td<'_>, kind: &str, name: &str, lower: &Ref) -> Result<Ref, Errno> {
    let params = CloneParams { lower: Some(lower.clone()), ..CloneParams::default() };
    if_clone_create_kind(td, kind, Some(name), &params).map(|name| get(td, &name))
}

/// `call` fails with this, and nothing is different afterwards.
fn refused<T>(td: &Td<'_>, why: Errno, call: impl FnOnce() -> Result<T, Errno>) {
    settle(td);
    let before = snapshot(td, &[]);
    assert_eq!(call().map(drop), Err(why));
    settle(td);
    assert_eq!(snapshot(td, &[]), before);
    invariants::check(td).expect("sound");
}

fn gone(td: &Td<'_>, names: &[&str]) {
    for name in names {
        if_clone_destroy(td, name).expect(name);
        settle(td);
        invariants::check(td).expect(name);
    }
}

fn above(td: &Td<'_>, lower: &Ref) -> Vec<String> {
    let mut names = Vec::new();
    for_each_upper(td, lower, |ifp, _| names.push(ifp.name().to_string()));
    names
}

fn below(td: &Td<'_>, upper: &Ref) -> Vec<String> {
    let mut names = Vec::new();
    for_each_lower(td, upper, |ifp, _| names.push(ifp.name().to_string()));
    names
}

#[test]
fn what_comes_in_has_one_receiver() {
    kernel(|td| {
        let (a, bridge, lagg) = (make(td, "epair0"), make(td, "bridge0"), make(td, "lagg0"));
        let other = [make(td, "bridge1"), make(td, "lagg1")];

        bridge_addm(td, &bridge, &a).unwrap();
        refused(td, Errno::EBUSY, || bridge_addm(td, &bridge, &a));
        refused(td, Errno::EBUSY, || bridge_addm(td, &other[0], &a));
        refused(td, Errno::EBUSY, || lagg_addport(td, &lagg, &a));
        for kind in ["ipvlan", "ipvtap", "macvlan"] {
            refused(td, Errno::EBUSY, || share(td, kind, "x", &a));
        }
        assert!(if_master(td, &a).is_some_and(|master| master.ptr_eq(&bridge)));
        drop(make(td, "epair0a.10"));
        assert_eq!(above(td, &a), ["bridge0", "epair0a.10"], "a VLAN takes no slot");
        bridge_delm(td, &bridge, &a).unwrap();

        lagg_addport(td, &lagg, &a).unwrap();
        refused(td, Errno::EEXIST, || lagg_addport(td, &lagg, &a));
        refused(td, Errno::EBUSY, || lagg_addport(td, &other[1], &a));
        refused(td, Errno::EBUSY, || bridge_addm(td, &bridge, &a));
        refused(td, Errno::EBUSY, || share(td, "macvlan", "x", &a));
        lagg_delport(td, &lagg, &a).unwrap();

        for kind in ["ipvlan", "ipvtap", "macvlan"] {
            let upper = share(td, kind, "x", &a).unwrap();
            refused(td, Errno::EBUSY, || bridge_addm(td, &bridge, &a));
            refused(td, Errno::EBUSY, || lagg_addport(td, &lagg, &a));
            // The upper itself is free, but for a tap, whose packets go to its device.
            match kind {
                "ipvtap" => refused(td, Errno::EBUSY, || bridge_addm(td, &bridge, &upper)),
                _ => bridge_addm(td, &bridge, &upper).unwrap(),
            }
            drop(upper);
            gone(td, &["x"]);
            assert!(below(td, &bridge).is_empty(), "what is destroyed leaves its bridge");
        }
        bridge_addm(td, &bridge, &a).expect("the slot is free again");
        drop((a, bridge, lagg, other));
        gone(td, &["bridge0", "bridge1", "lagg0", "lagg1", "epair0a.10", "epair0a"]);
    });
}

#[test]
fn loops_through_other_kinds_are_refused() {
    kernel(|td| {
        let (a, bridge, lagg) = (make(td, "epair0"), make(td, "bridge0"), make(td, "lagg0"));
        // A member of the bridge, and a VLAN of the member: two ways, and no loop.
        let tagged = make(td, "epair0a.10");
        bridge_addm(td, &bridge, &a).unwrap();
        bridge_addm(td, &bridge, &tagged).unwrap();
        assert_eq!(below(td, &bridge), ["epair0a", "epair0a.10"]);
        let over = make(td, "bridge0.20");
        refused(td, Errno::EBUSY, || bridge_addm(td, &bridge, &over));
        let mv = share(td, "macvlan", "mv", &over).unwrap();
        refused(td, Errno::EBUSY, || bridge_addm(td, &bridge, &mv));
        refused(td, Errno::EINVAL, || bridge_addm(td, &bridge, &bridge));
        // The same with the VLAN at the bottom.
        vlan_unconfig(td, &over).unwrap();
        refused(td, Errno::EINVAL, || vlan_config(td, &over, &mv, 5));
        refused(td, Errno::EINVAL, || vlan_config(td, &over, &over, 5));
        let on_lagg = share(td, "macvlan", "on_lagg", &lagg).unwrap();
        refused(td, Errno::EBUSY, || lagg_addport(td, &lagg, &on_lagg));
        refused(td, Errno::EINVAL, || lagg_addport(td, &lagg, &lagg));
        drop((a, bridge, lagg, tagged, over, mv, on_lagg));
        gone(td, &["on_lagg", "lagg0", "bridge0.20", "bridge0", "epair0b", "epair0a.10"]);
        assert!(ifunit(td, "mv").is_none(), "it has gone with its lower");
    });
}

/// Eight interfaces of six kinds.
fn tower(td: &Td<'_>) -> [Ref; 8] {
    let (a, lagg) = (make(td, "epair0"), make(td, "lagg0"));
    lagg_addport(td, &lagg, &a).unwrap();
    let tagged = make(td, "lagg0.10");
    let mv = share(td, "macvlan", "mv", &tagged).unwrap();
    let bridge = make(td, "bridge0");
    bridge_addm(td, &bridge, &mv).unwrap();
    let over = make(td, "bridge0.20");
    let ipvl = share(td, "ipvlan", "ipvl", &over).unwrap();
    let top = make(td, "ipvl.30");
    [a, lagg, tagged, mv, bridge, over, ipvl, top]
}

#[test]
fn eight_of_any_kinds_stand_on_each_other() {
    kernel(|td| {
        let floors = tower(td);
        for (at, pair) in floors.windows(2).enumerate() {
            let (lower, upper) = (pair[0].name().to_string(), pair[1].name().to_string());
            assert_eq!((above(td, &pair[0]), below(td, &pair[1])), (vec![upper], vec![lower]), "floor {at}");
        }
        let [a, lagg, _, _, bridge, _, _, top] = &floors;
        let (ninth, other) = (make(td, "vlan9"), make(td, "bridge1"));
        refused(td, Errno::EMLINK, || vlan_config(td, &ninth, top, 1));
        refused(td, Errno::EMLINK, || bridge_addm(td, &other, top));
        refused(td, Errno::EMLINK, || share(td, "macvlan", "x", top));
        // From below, where the port is the second floor, and in the middle.
        drop(make(td, "epair1"));
        let second = share(td, "macvlan", "second", &get(td, "epair1a")).unwrap();
        refused(td, Errno::EMLINK, || lagg_addport(td, lagg, &second));
        let shallow = share(td, "macvlan", "third", &make(td, "epair1b.1")).unwrap();
        bridge_addm(td, bridge, &shallow).expect("three below, four from there");
        lagg_delport(td, lagg, a).unwrap();
        assert!(above(td, a).is_empty() && below(td, lagg).is_empty());
        vlan_config(td, &ninth, top, 1).expect("one less below");
        refused(td, Errno::EMLINK, || lagg_addport(td, lagg, a));
        vlan_unconfig(td, &ninth).unwrap();
        lagg_addport(td, lagg, a).unwrap();
        drop((floors, ninth, other, second, shallow));
        gone(td, &["epair1a", "vlan9", "bridge1", "epair1b.1"]);
        gone(td, &["epair0b", "lagg0", "lagg0.10", "bridge0", "bridge0.20", "ipvl.30"]);
    });
}

#[test]
fn each_floor_that_goes_takes_its_adjacencies_along() {
    kernel(|td| {
        let floors = tower(td);
        let [_, lagg, tagged, mv, bridge, over, ipvl, top] = &floors;
        let empty = |ifp: &Ref| above(td, ifp).is_empty() && below(td, ifp).is_empty();
        gone(td, &["epair0b"]);
        assert!(below(td, lagg).is_empty());
        gone(td, &["lagg0"]);
        assert!(empty(lagg) && vlan_parent(tagged).is_none());
        gone(td, &["bridge0"]);
        assert!(empty(bridge) && above(td, mv).is_empty() && if_master(td, mv).is_none());
        assert!(vlan_parent(over).is_none());
        gone(td, &["lagg0.10"]);
        assert!(ifunit(td, "mv").is_none() && empty(mv) && empty(tagged));
        gone(td, &["bridge0.20"]);
        assert!(ifunit(td, "ipvl").is_none() && empty(ipvl) && empty(over) && empty(top));
        assert!(vlan_parent(top).is_none());
        drop(floors);
        gone(td, &["ipvl.30"]);
    });
}

#[test]
fn a_move_ends_what_it_ends_in_freebsd() {
    kernel(|td| {
        let floors = tower(td);
        let [a, lagg, tagged, mv, bridge, over, ..] = &floors;
        let jail = vnet_alloc(td).unwrap();
        let moved = |name: &str| {
            drop(if_vmove_loan(td, name, &jail).unwrap());
            invariants::check(td).expect(name);
        };
        moved("lagg0.10");
        assert_eq!((below(td, tagged), above(td, tagged)), (vec!["lagg0".into()], vec!["mv".into()]), "all stay");
        moved("mv");
        assert_eq!((below(td, mv).len(), above(td, mv).len(), below(td, bridge).len()), (1, 0, 0), "a member leaves");
        moved("lagg0");
        assert!(below(td, lagg).is_empty() && above(td, a).is_empty() && below(td, tagged).is_empty());
        moved("bridge0");
        assert!(vlan_parent(over).is_none() && above(td, bridge).is_empty());
        drop(floors);
        vnet_destroy(td, &jail).unwrap();
        settle(td);
        gone(td, &["epair0a", "bridge0.20", "ipvl.30", "lagg0", "lagg0.10", "bridge0"]);
    });
}
