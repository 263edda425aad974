//! A host that knows nothing of its packets: what the drivers do with what they cannot read, copy or tag.

use ifnet::drivers::bridge_addm;
use ifnet::platform::spin::SpinHost;
use ifnet::{
    CloneParams, Config, Errno, IfCounter, IfFlags, IfnetRef, Kernel, Thread, if_clone_create, if_clone_create_kind,
    if_setflags, if_transmit, ifunit_ref,
};
use ifnet_std::alloc::CountingAlloc;

type Host = SpinHost<CountingAlloc>;
type Ref = IfnetRef<Host>;

fn get(td: &Thread<'_, Host>, name: &str) -> Ref {
    let ifp = ifunit_ref(td, name).expect(name);
    if_setflags(td, &ifp, ifp.flags() | IfFlags::UP).expect("alive");
    ifp
}

/// Both ends of an epair, up.
fn pair(td: &Thread<'_, Host>, name: &str) -> [Ref; 2] {
    if_clone_create(td, name).expect("memory");
    ["a", "b"].map(|side| get(td, &format!("{name}{side}")))
}

/// How many packets came in through each of these, when one is sent through `sender`.
fn arrivals<const N: usize>(td: &Thread<'_, Host>, sender: &Ref, of: [&Ref; N]) -> [usize; N] {
    let count = || of.map(|ifp| ifp.counter(IfCounter::Ipackets));
    let before = count();
    assert_eq!(if_transmit(td, sender, (), &td.net_epoch_enter()), Ok(()));
    let after = count();
    core::array::from_fn(|at| after[at] - before[at])
}

fn kernel(body: impl FnOnce(&Thread<'_, Host>)) {
    let memory = CountingAlloc::new();
    let kernel = Kernel::boot(Host::new(memory.clone()), Config::default().threads(1)).expect("memory");
    body(&kernel.thread().expect("a thread"));
    kernel.shutdown();
    assert_eq!(memory.live_blocks(), 0);
}

#[test]
fn a_bridge_floods_and_the_last_member_has_the_packet() {
    kernel(|td| {
        if_clone_create(td, "bridge0").unwrap();
        let bridge = get(td, "bridge0");
        let [[a, x], [b, y], [c, z]] = ["epair0", "epair1", "epair2"].map(|name| pair(td, name));
        for member in [&a, &b, &c] {
            bridge_addm(td, &bridge, member).unwrap();
        }
        assert_eq!(arrivals(td, &x, [&a, &bridge, &y, &z]), [1, 1, 0, 1]);
        assert_eq!(bridge.counter(IfCounter::Oerrors), 1, "no copy for the other");
        assert_eq!(arrivals(td, &z, [&x, &y]), [0, 1], "not where it came from");
    });
}

#[test]
fn the_first_upper_has_what_comes_in_and_sends_out_of_the_lower() {
    kernel(|td| {
        for (name, kind) in [("epair0", "ipvlan"), ("epair1", "macvlan")] {
            let [lower, outside] = pair(td, name);
            let params = CloneParams { lower: Some(lower.clone()), ..CloneParams::NONE };
            let uppers = [(); 2].map(|()| get(td, &if_clone_create_kind(td, kind, None, &params).unwrap()));
            let [first, second] = &uppers;
            assert_eq!(arrivals(td, &outside, [first, second, &lower]), [1, 0, 1], "{kind}");
            assert_eq!(arrivals(td, second, [first, &outside]), [0, 1], "{kind}");
            if_setflags(td, first, first.flags() - IfFlags::UP).unwrap();
            assert_eq!(arrivals(td, &outside, [first, second]), [0, 1], "{kind}");
        }
    });
}

#[test]
fn nothing_can_be_sent_through_a_vlan() {
    kernel(|td| {
        for (name, kind) in [("epair0", "vlan"), ("epair1", "vlan8021q")] {
            let [lower, outside] = pair(td, name);
            let params = CloneParams { lower: Some(lower), tag: Some(5), ..CloneParams::NONE };
            let vlan = get(td, &if_clone_create_kind(td, kind, None, &params).unwrap());
            assert_eq!(if_transmit(td, &vlan, (), &td.net_epoch_enter()), Err(Errno::EOPNOTSUPP), "{kind}");
            assert_eq!((vlan.counter(IfCounter::Oerrors), outside.counter(IfCounter::Ipackets)), (1, 0), "{kind}");
        }
    });
}
