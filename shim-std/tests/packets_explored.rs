//! Frames fly while the graph changes: in every schedule each of them is dropped or delivered, and none is seen in a
//! vnet that its sender does not belong to.
//!
//! Two probes see frames. One is a driver, `em0`, that is put below something of the default vnet and is moved away
//! meanwhile: whatever goes out of it must go out while it is there. The other takes what comes in through an interface
//! that is moved: the current vnet must be the one in which the interface is.

use std::sync::Arc;

use ifnet::clone::{CloneParams, StackMode};
use ifnet::drivers::{bridge_addm, bridge_delm, lagg_addport, lagg_delport, vlan_config};
use ifnet::{
    Config, Errno, IfFlags, IfOps, IfType, Ifnet, IfnetOwner, Kernel, Platform as _, RxHandler, Thread, VnetRef,
    ether_ifattach, ether_ifdetach, if_alloc, if_clone_create, if_clone_create_kind, if_clone_destroy, if_free,
    if_initname, if_setflags, if_transmit, if_vmove_to, ifunit, ifunit_ref, vnet_alloc,
};
use ifnet_std::explore::progress::Silent;
use ifnet_std::explore::{Explorer, OracleViolation, Program};
use ifnet_std::host::frame::{Frame, FramePool, ether};
use ifnet_std::host::shuttle::ShuttleHost;

type Td<'k> = Thread<'k, ShuttleHost>;

const ALL: [u8; 6] = [0xff; 6];

/// The functions of `em0`.
const PROBE: &IfOps<ShuttleHost> = &IfOps {
    transmit: probe,
    input: |_, _, packet| drop(packet),
    qflush: |_, _| {},
    ioctl: Some(|_, _, _| Ok(())),
    reassign: None,
};

/// What stands on `em0` is in the default vnet; so is what it sends.
fn probe(td: &Td<'_>, ifp: &Ifnet<ShuttleHost>, packet: Frame) -> Result<(), Errno> {
    td.platform().preempt();
    let (vnet, cur) = (ifp.if_vnet(td).id(), td.curvnet().id());
    if (vnet, cur) != (0, 0) {
        td.platform().panic(format_args!("vnet isolation: a packet of v0 goes out in v{vnet}, with curvnet v{cur}"));
    }
    drop(packet);
    Ok(())
}

/// A packet that came in through an interface.
fn arrived(td: &Td<'_>, ifp: &Ifnet<ShuttleHost>, packet: Frame) {
    td.platform().preempt();
    let (vnet, cur) = (ifp.if_vnet(td).id(), td.curvnet().id());
    if vnet != cur {
        td.platform().panic(format_args!("vnet isolation: a packet comes in in v{vnet}, with curvnet v{cur}"));
    }
    drop(packet);
}

fn up(td: &Td<'_>, name: &str) {
    let ifp = ifunit_ref(td, name).expect(name);
    if_setflags(td, &ifp, ifp.flags() | IfFlags::UP).expect(name);
}

fn make(td: &Td<'_>, name: &str) {
    let made = if_clone_create(td, name).expect(name);
    up(td, &made);
}

fn send(td: &Td<'_>, pool: &FramePool, name: &str) {
    for to in [ALL, [2, 0, 0, 0, 0, 7]] {
        let section = td.net_epoch_enter();
        if let Some(ifp) = ifunit(td, name) {
            // Taken or refused; both end it.
            let _ =
                if_transmit(td, &ifp, pool.frame(ether(to, [2, 0, 0, 0, 0, 8], Some([192, 0, 2, 1].into()))), &section);
        }
    }
}

/// A graph: how it is made, out of which interface frames go, and which change is made meanwhile.
struct Graph {
    make: fn(&Td<'_>),
    senders: &'static [&'static str],
    change: fn(&Td<'_>, &VnetRef<ShuttleHost>),
}

fn program(graph: &'static Graph) -> Program {
    Arc::new(move |execution| {
        let kernel = Kernel::boot(ShuttleHost::new(execution), Config::default().threads(6)).expect("memory");
        let (kernel, pool) = (Arc::new(kernel), FramePool::default());
        let td = kernel.thread().expect("room");
        let jail = vnet_alloc(&td).expect("memory");
        let em0 = hardware(&td);
        (graph.make)(&td);
        let mut threads = Vec::new();
        for sender in graph.senders {
            let (kernel, pool) = (Arc::clone(&kernel), pool.clone());
            threads.push(execution.spawn(*sender, move |_| {
                send(&kernel.thread().expect("room"), &pool, sender);
            }));
        }
        let (other, target) = (Arc::clone(&kernel), jail.clone());
        threads.push(execution.spawn("change", move |_| {
            (graph.change)(&other.thread().expect("room"), &target);
        }));
        execution.join(&threads);
        if pool.live() > 0 {
            return Err(OracleViolation { kind: "leak".into(), message: format!("{} frames are left", pool.live()) });
        }
        let checked = ifnet::invariants::check(&td);
        {
            let _cur = td.curvnet_set(Some(em0.if_vnet(&td)));
            ether_ifdetach(&td, &em0);
        }
        if_free(&td, em0);
        checked
            .map_err(|violation| OracleViolation { kind: violation.invariant.into(), message: violation.to_string() })
    })
}

fn hardware(td: &Td<'_>) -> IfnetOwner<ShuttleHost> {
    let owner = if_alloc(td, IfType::Ether).expect("memory");
    if_initname(&owner, "em", Some(0)).expect("a name");
    owner.init_flags(IfFlags::BROADCAST | IfFlags::MULTICAST | IfFlags::RUNNING);
    owner.set_ops(PROBE);
    ether_ifattach(td, &owner, [2, 0, 0, 0, 0, 1]).expect("memory");
    up(td, "em0");
    owner
}

fn is_clean(graph: &'static Graph) {
    let report = Explorer { schedules: 1_500, ..Explorer::default() }.run(&program(graph), &Silent);
    assert!(report.failure.is_none(), "{:?}", report.failure.map(|failure| failure.message));
}

fn bridged(td: &Td<'_>) {
    make(td, "epair0");
    up(td, "epair0b");
    make(td, "bridge0");
    let bridge = ifunit_ref(td, "bridge0").expect("made");
    for member in ["epair0a", "em0"] {
        bridge_addm(td, &bridge, &ifunit_ref(td, member).expect("made")).expect("a member");
    }
}

fn move_em0(td: &Td<'_>, jail: &VnetRef<ShuttleHost>) {
    let em0 = ifunit_ref(td, "em0").expect("it is here");
    if_vmove_to(td, &em0, jail).expect("nobody else moves it");
    let _cur = td.curvnet_set(Some(jail.clone()));
    up(td, "em0");
}

#[test]
fn a_member_of_a_bridge_moves() {
    is_clean(&Graph { make: bridged, senders: &["epair0b", "bridge0"], change: move_em0 });
}

#[test]
fn a_bridge_moves_away_from_its_members() {
    is_clean(&Graph {
        make: bridged,
        senders: &["epair0b", "bridge0"],
        change: |td, jail| {
            let bridge = ifunit_ref(td, "bridge0").expect("it is here");
            if_vmove_to(td, &bridge, jail).expect("nobody else moves it");
        },
    });
}

#[test]
fn a_member_is_deleted_and_learned_addresses_go_with_it() {
    is_clean(&Graph {
        make: bridged,
        senders: &["epair0b", "epair0b"],
        change: |td, _| {
            let [bridge, member] = ["bridge0", "epair0a"].map(|name| ifunit_ref(td, name).expect("made"));
            bridge_delm(td, &bridge, &member).expect("a member");
            bridge_addm(td, &bridge, &member).expect("free");
        },
    });
}

#[test]
fn a_port_of_an_aggregate_moves_and_leaves() {
    let made: fn(&Td<'_>) = |td| {
        make(td, "lagg0");
        let [lagg, port] = ["lagg0", "em0"].map(|name| ifunit_ref(td, name).expect("made"));
        lagg_addport(td, &lagg, &port).expect("a port");
    };
    is_clean(Box::leak(Box::new(Graph { make: made, senders: &["lagg0", "lagg0"], change: move_em0 })));
    let leaves: fn(&Td<'_>, &VnetRef<ShuttleHost>) = |td, _| {
        let [lagg, port] = ["lagg0", "em0"].map(|name| ifunit_ref(td, name).expect("made"));
        lagg_delport(td, &lagg, &port).expect("a port");
    };
    is_clean(Box::leak(Box::new(Graph { make: made, senders: &["lagg0", "lagg0"], change: leaves })));
}

#[test]
fn the_parent_of_a_vlan_moves() {
    is_clean(&Graph {
        make: |td| {
            make(td, "vlan0");
            let [vlan, parent] = ["vlan0", "em0"].map(|name| ifunit_ref(td, name).expect("made"));
            vlan_config(td, &vlan, &parent, 7).expect("a parent");
        },
        senders: &["vlan0", "vlan0"],
        change: move_em0,
    });
}

/// Puts the other probe on an interface.
fn watch(td: &Td<'_>, name: &str) {
    let ifp = ifunit_ref(td, name).expect("made");
    // The probe has no data of its own: the driver's stands in for it.
    let data = ifp.softc().expect("a driver");
    let input = |td: &Td<'_>, ifp: &Ifnet<ShuttleHost>, _: &_, packet| arrived(td, ifp, packet);
    ifp.rx_handler_register(td, RxHandler { kind: "probe", data, input }).expect("free");
}

fn move_away(td: &Td<'_>, name: &str, jail: &VnetRef<ShuttleHost>) {
    let ifp = ifunit_ref(td, name).expect("it is here");
    if_vmove_to(td, &ifp, jail).expect("nobody else moves it");
    let _cur = td.curvnet_set(Some(jail.clone()));
    up(td, name);
    if_vmove_to(td, &ifp, &td.kernel().vnet0()).expect("nobody else moves it");
    ifp.rx_handler_unregister();
}

#[test]
fn the_far_end_of_a_pair_moves() {
    is_clean(&Graph {
        make: |td| {
            make(td, "epair0");
            up(td, "epair0b");
            watch(td, "epair0b");
        },
        senders: &["epair0a", "epair0a"],
        change: |td, jail| move_away(td, "epair0b", jail),
    });
}

/// Two uppers on the end of a pair.
fn stacked(td: &Td<'_>, kind: &str, mode: StackMode) {
    make(td, "epair0");
    up(td, "epair0b");
    for name in ["u0", "u1"] {
        let lower = ifunit_ref(td, "epair0a");
        let params = CloneParams { lower, mode: Some(mode), ..CloneParams::NONE };
        if_clone_create_kind(td, kind, Some(name), &params).expect("memory");
        up(td, name);
    }
    watch(td, "u1");
}

#[test]
fn an_upper_moves() {
    is_clean(&Graph {
        make: |td| stacked(td, "ipvlan", StackMode::L2),
        senders: &["epair0b", "u0"],
        change: |td, jail| move_away(td, "u1", jail),
    });
    is_clean(&Graph {
        make: |td| stacked(td, "macvlan", StackMode::Bridge),
        senders: &["epair0b", "u0"],
        change: |td, jail| move_away(td, "u1", jail),
    });
}

#[test]
fn a_lower_is_destroyed() {
    let destroy: fn(&Td<'_>, &VnetRef<ShuttleHost>) = |td, _| {
        ifunit_ref(td, "u1").expect("made").rx_handler_unregister();
        if_clone_destroy(td, "epair0a").expect("it is there");
    };
    for make in
        [(|td| stacked(td, "ipvlan", StackMode::L2)) as fn(&Td<'_>), |td| stacked(td, "macvlan", StackMode::Bridge)]
    {
        is_clean(Box::leak(Box::new(Graph { make, senders: &["epair0b", "u0"], change: destroy })));
    }
}
