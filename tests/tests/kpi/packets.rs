//! Frames on their way: each arrives where its destination is and nowhere else, whatever it passes, and every one is
//! dropped in the end.
//!
//! The frames come from a pool that counts them, copies included. A lane is what a frame passes between two interfaces
//! that may be in different vnets; what arrives is what `if_input` has counted.

use ifnet::clone::{CloneParams, StackFlags, StackMode};
use ifnet::drivers::{bridge_addm, bridge_delm, lagg_addport};
use ifnet::{
    Config, Errno, IfCounter, IfFlags, IfnetRef, Kernel, SockAddr, Thread, VnetRef, bpf_open, if_addaddr,
    if_clone_create, if_clone_create_kind, if_clone_destroy, if_lladdr, if_setflags, if_transmit, if_unregister,
    if_vmove_to, ifunit_ref, invariants, tun_open, vnet_alloc, vnet_destroy,
};
use ifnet_std::alloc::CountingAlloc;
use ifnet_std::host::frame::{FramePool, ether};
use ifnet_std::host::{frame::Frame, threads::ThreadHost};

type Host = ThreadHost<Frame>;
type Td<'k> = Thread<'k, Host>;
type Ref = IfnetRef<Host>;
type Ifp = ifnet::Ifp<Host>;
type Lladdr = [u8; 6];

const ALL: Lladdr = [0xff; 6];
const NOBODY: Lladdr = [2, 0, 0, 0, 9, 9];

/// A kernel, its frames, and a second vnet.
struct Bed<'k> {
    td: &'k Td<'k>,
    pool: FramePool,
    jail: VnetRef<Host>,
}

/// Runs `body` in a fresh kernel: no frame is left after it, and no memory.
fn bed(body: impl FnOnce(&Bed<'_>)) {
    let (memory, pool) = (CountingAlloc::new(), FramePool::default());
    let kernel = Kernel::boot(Host::new().with_memory(memory.clone()), Config::default().threads(2)).expect("memory");
    {
        let td = &kernel.thread().expect("a thread");
        let jail = vnet_alloc(td).expect("memory");
        let bed = Bed { td, pool: pool.clone(), jail };
        body(&bed);
        invariants::check(td).expect("the invariants");
        vnet_destroy(td, &bed.jail).expect("it is there");
    }
    kernel.shutdown();
    assert_eq!((pool.live(), memory.live_blocks()), (0, 0), "frames, and memory of the kernel");
}

impl Bed<'_> {
    fn get(&self, name: &str) -> Ref {
        ifunit_ref(self.td, name).expect(name)
    }

    fn up(&self, ifp: &Ref) {
        if_setflags(self.td, ifp, ifp.flags() | IfFlags::UP).expect("alive");
    }

    /// Creates by name, and takes up.
    fn make(&self, name: &str) -> Ref {
        let ifp = self.get(&if_clone_create(self.td, name).expect(name));
        self.up(&ifp);
        ifp
    }

    /// A pair, both ends up.
    fn pair(&self, name: &str) -> [Ref; 2] {
        let ends = [self.make(name), self.get(&format!("{name}b"))];
        self.up(&ends[1]);
        ends
    }

    /// An upper on `lower`, up.
    fn upper(&self, kind: &str, lower: &Ref, mode: StackMode, flags: StackFlags) -> Ref {
        let params =
            CloneParams { lower: Some(lower.clone()), mode: Some(mode), flags: Some(flags), ..CloneParams::NONE };
        let ifp = self.get(&if_clone_create_kind(self.td, kind, None, &params).expect(kind));
        self.up(&ifp);
        ifp
    }

    /// Moves to the jail, where it is up again.
    fn jail(&self, ifp: &Ref) {
        if_vmove_to(self.td, ifp, &self.jail).expect("it can be moved");
        self.within(ifp, || self.up(ifp));
    }

    /// Works in the vnet of an interface.
    fn within<R>(&self, ifp: &Ifp, body: impl FnOnce() -> R) -> R {
        let _cur = self.td.curvnet_set(Some(ifp.if_vnet(self.td)));
        body()
    }

    fn lladdr(&self, ifp: &Ifp) -> Lladdr {
        match if_lladdr(self.td, ifp) {
            Some(SockAddr::Link(lladdr)) => lladdr,
            other => panic!("{}: {other:?}", ifp.name()),
        }
    }

    fn inet(&self, ifp: &Ref, last: u8) {
        if_addaddr(self.td, ifp, SockAddr::Inet([192, 0, 2, last]), 24).expect("free");
    }

    /// Sends a frame out of an interface, in its vnet, from its own address.
    fn send(&self, from: &Ifp, to: Lladdr, inet: Option<u8>) -> Result<(), Errno> {
        let own = if_lladdr(self.td, from).map_or([0; 6], |_| self.lladdr(from));
        self.send_as(from, to, own, inet)
    }

    fn send_as(&self, from: &Ifp, to: Lladdr, source: Lladdr, inet: Option<u8>) -> Result<(), Errno> {
        let frame = self.pool.frame(ether(to, source, inet.map(|last| [192, 0, 2, last].into())));
        let sent = self.within(from, || {
            let section = self.td.net_epoch_enter();
            if_transmit(self.td, from, frame, &section)
        });
        assert_eq!(self.pool.live(), 0, "every frame has arrived or was dropped");
        sent
    }

    /// Sends, which must succeed; how many frames came in at each of these interfaces.
    fn arrivals<const N: usize>(&self, at: [&Ref; N], from: &Ref, to: Lladdr, inet: Option<u8>) -> [usize; N] {
        let count = || at.map(|ifp| ifp.counter(IfCounter::Ipackets));
        let before = count();
        assert_eq!(self.send(from, to, inet), Ok(()));
        let after = count();
        core::array::from_fn(|n| after[n] - before[n])
    }

    fn gone(&self, names: &[&str]) {
        names.iter().for_each(|name| if_unregister(self.td, name).expect(name));
    }
}

#[test]
fn from_one_vnet_through_a_pair_into_another() {
    bed(|bed| {
        let [a, b] = bed.pair("epair0");
        let [c, d] = [bed.make("veth0"), bed.get("veth1")];
        for (from, to) in [(&a, &b), (&c, &d)] {
            bed.jail(to);
            let listener = bed.within(to, || bpf_open(bed.td, &to.name()).unwrap());
            for destination in [bed.lladdr(to), ALL] {
                assert_eq!(bed.arrivals([to, from], from, destination, None), [1, 0]);
                assert_eq!(bed.arrivals([to, from], to, destination, None), [0, 1], "and back");
            }
            assert_eq!(listener.received(), 4);
        }
        drop([a, b, c, d]);
        bed.gone(&["epair0a", "veth0"]);
    });
}

#[test]
fn a_bridge_sends_to_where_an_address_was_learned() {
    bed(|bed| {
        let bridge = bed.make("bridge0");
        let [[a, x], [b, y], [c, z]] = ["epair0", "epair1", "epair2"].map(|name| bed.pair(name));
        for member in [&a, &b, &c] {
            bridge_addm(bed.td, &bridge, member).unwrap();
        }
        bed.jail(&y);
        let all = [&x, &y, &z, &bridge];
        assert_eq!(bed.arrivals(all, &x, bed.lladdr(&y), None), [0, 1, 1, 1], "not known yet");
        assert_eq!(bed.arrivals(all, &y, bed.lladdr(&x), None), [1, 0, 0, 1]);
        assert_eq!(bed.arrivals(all, &x, bed.lladdr(&y), None), [0, 1, 0, 1]);
        assert_eq!(bed.arrivals(all, &bridge, bed.lladdr(&y), None), [0, 1, 0, 0], "out of the bridge itself");
        assert_eq!(bed.arrivals(all, &x, ALL, None), [0, 1, 1, 1]);
        assert_eq!(bed.arrivals([&b, &c], &x, bed.lladdr(&bridge), None), [0, 0], "its own");
        assert_eq!(bed.arrivals([&a, &b, &y], &x, bed.lladdr(&b), None), [1, 1, 0], "a member's own");
        assert_eq!(bed.arrivals(all, &x, bed.lladdr(&x), None), [0, 0, 0, 1], "back to where it comes from: nowhere");
        // The address moves to another member with its frames.
        assert_eq!(bed.send_as(&z, NOBODY, bed.lladdr(&y), None), Ok(()));
        assert_eq!(bed.arrivals(all, &x, bed.lladdr(&y), None), [0, 0, 1, 1]);
        drop((a, b, c, x, y, z, bridge));
        bed.gone(&["bridge0", "epair0a", "epair1a", "epair2a"]);
    });
}

#[test]
fn what_is_behind_a_member_is_forgotten_when_it_leaves() {
    bed(|bed| {
        let bridge = bed.make("bridge0");
        let [[a, x], [b, y], [c, z]] = ["epair0", "epair1", "epair2"].map(|name| bed.pair(name));
        let joins = |member: &Ref| bridge_addm(bed.td, &bridge, member).unwrap();
        [&a, &b, &c].into_iter().for_each(joins);
        let known = || {
            assert_eq!(bed.send_as(&z, NOBODY, NOBODY, None), Ok(()));
            assert_eq!(bed.arrivals([&y, &z], &x, NOBODY, None), [0, 1]);
        };
        known();
        bridge_delm(bed.td, &bridge, &c).unwrap();
        assert_eq!(bed.arrivals([&y, &z], &x, NOBODY, None), [1, 0], "deleted");
        joins(&c);
        assert_eq!(bed.arrivals([&y, &z], &x, NOBODY, None), [1, 1], "it does not come back with it");
        known();
        bed.jail(&c);
        assert_eq!(bed.arrivals([&y, &z], &x, NOBODY, None), [1, 0], "moved");
        if_vmove_to(bed.td, &c, &bed.td.kernel().vnet0()).unwrap();
        bed.up(&c);
        joins(&c);
        known();
        drop((c, z));
        bed.gone(&["epair2a"]);
        assert_eq!(bed.arrivals([&y], &x, NOBODY, None), [1], "departed");
        drop((a, b, x, y, bridge));
        bed.gone(&["epair0a", "bridge0", "epair1a"]);
    });
}

#[test]
fn an_ipvlan_gets_what_is_for_its_network_address() {
    bed(|bed| {
        let [lower, outside] = bed.pair("epair0");
        let [u1, u2, tap] =
            ["ipvlan", "ipvlan", "ipvtap"].map(|kind| bed.upper(kind, &lower, StackMode::L2, StackFlags::empty()));
        bed.jail(&u2);
        for (upper, last) in [(&u1, 1), (&u2, 2), (&tap, 3)] {
            bed.inet(upper, last);
        }
        let mac = bed.lladdr(&lower);
        let all = [&u1, &u2, &tap, &lower, &outside];
        // From outside.
        assert_eq!(bed.arrivals(all, &outside, mac, Some(2)), [0, 1, 0, 1, 0]);
        assert_eq!(bed.arrivals(all, &outside, mac, Some(3)), [0, 0, 1, 1, 0]);
        assert_eq!(bed.arrivals(all, &outside, mac, Some(9)), [0, 0, 0, 1, 0], "the lower's own");
        assert_eq!(bed.arrivals(all, &outside, mac, None), [0, 0, 0, 1, 0]);
        assert_eq!(bed.arrivals(all, &outside, ALL, Some(1)), [1, 1, 1, 1, 0]);
        assert_eq!(bed.send_as(&outside, ALL, mac, None), Ok(()));
        assert_eq!(bed.arrivals([&u1], &outside, mac, Some(1)), [1], "one that was sent back was for nobody");
        bed.within(&u2, || if_setflags(bed.td, &u2, u2.flags() - IfFlags::UP)).unwrap();
        assert_eq!(bed.arrivals(all, &outside, mac, Some(2)), [0, 0, 0, 1, 0], "down: it has no address");
        bed.within(&u2, || bed.up(&u2));
        // From an upper, in every mode and with every flag of the port.
        let of = |mode, flags| {
            let last = bed.upper("ipvlan", &lower, mode, flags);
            let name = last.name();
            drop(last);
            bed.gone(&[&name]);
        };
        let bridge = StackFlags::empty();
        for (mode, flags) in [(StackMode::L2, bridge), (StackMode::L3, bridge), (StackMode::L3s, bridge)] {
            of(mode, flags);
            assert_eq!(bed.arrivals(all, &u1, mac, Some(2)), [0, 1, 0, 0, 0], "{mode:?}");
        }
        assert_eq!(bed.arrivals(all, &u1, mac, Some(9)), [0, 0, 0, 0, 1], "not an upper's: out");
        assert_eq!(bed.send(&u1, ALL, Some(2)), Err(Errno::ENOBUFS), "no multicast on layer 3");
        assert_eq!(bed.send(&u1, mac, None), Err(Errno::ENOBUFS), "nor what has no address there");
        assert_eq!(bed.arrivals(all, &outside, ALL, Some(1)), [0, 0, 0, 1, 0]);
        of(StackMode::L3, StackFlags::PRIVATE);
        assert_eq!(bed.send(&u1, mac, Some(2)), Err(Errno::ENOBUFS));
        assert_eq!(bed.arrivals(all, &u1, mac, Some(9)), [0, 0, 0, 0, 1]);
        of(StackMode::L3, StackFlags::VEPA);
        assert_eq!(bed.arrivals(all, &u1, mac, Some(2)), [0, 0, 0, 0, 1], "out, to the switch");
        of(StackMode::L2, StackFlags::VEPA);
        assert_eq!(bed.arrivals(all, &u1, mac, Some(2)), [0, 0, 0, 0, 1]);
        assert_eq!(bed.arrivals(all, &u1, ALL, None), [0, 0, 0, 0, 1]);
        of(StackMode::L2, StackFlags::PRIVATE);
        assert_eq!(bed.send(&u1, mac, Some(2)), Err(Errno::ENOBUFS));
        assert_eq!(bed.arrivals(all, &u1, ALL, None), [0, 0, 0, 0, 1]);
        of(StackMode::L2, bridge);
        assert_eq!(bed.arrivals(all, &u1, ALL, None), [0, 1, 1, 0, 1]);
        assert_eq!(bed.arrivals(all, &u1, mac, Some(9)), [0, 0, 0, 1, 0], "the lower itself");
        assert_eq!(bed.arrivals(all, &u1, NOBODY, Some(2)), [0, 0, 0, 0, 1], "by another router");
        drop((u1, u2, tap, lower, outside));
        bed.gone(&["epair0a"]);
    });
}

#[test]
fn a_macvlan_gets_what_is_for_its_link_level_address() {
    bed(|bed| {
        let [lower, outside] = bed.pair("epair0");
        let modes = [StackMode::Bridge, StackMode::Bridge, StackMode::Vepa, StackMode::Vepa, StackMode::Private];
        let uppers = modes.map(|mode| bed.upper("macvlan", &lower, mode, StackFlags::empty()));
        let [b1, b2, v1, v2, p] = &uppers;
        bed.jail(b2);
        bed.jail(v2);
        let mac = |ifp: &Ref| bed.lladdr(ifp);
        let all = [b1, b2, v1, v2, p, &lower, &outside];
        assert_eq!(bed.arrivals(all, &outside, mac(b2), None), [0, 1, 0, 0, 0, 1, 0]);
        assert_eq!(bed.arrivals(all, &outside, mac(p), None), [0, 0, 0, 0, 1, 1, 0]);
        assert_eq!(bed.arrivals(all, &outside, mac(&lower), None), [0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(bed.arrivals(all, &outside, ALL, None), [1, 1, 1, 1, 1, 1, 0]);
        // Among themselves.
        assert_eq!(bed.arrivals(all, b1, mac(b2), None), [0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(bed.arrivals(all, b1, ALL, None), [0, 1, 0, 0, 0, 0, 1]);
        for (from, to) in [(b1, v1), (v1, v2), (v1, b1), (p, b1), (b1, p), (v1, p)] {
            assert_eq!(
                bed.arrivals(all, from, mac(to), None),
                [0, 0, 0, 0, 0, 0, 1],
                "{} to {}",
                from.name(),
                to.name()
            );
        }
        // What a switch sends back.
        let back = |from: &Ref, to| {
            let before = all.map(|ifp| ifp.counter(IfCounter::Ipackets));
            assert_eq!(bed.send_as(&outside, to, mac(from), None), Ok(()));
            core::array::from_fn::<_, 7, _>(|n| all[n].counter(IfCounter::Ipackets) - before[n])
        };
        assert_eq!(back(v1, mac(v2)), [0, 0, 0, 1, 0, 1, 0]);
        assert_eq!(back(v1, mac(p)), [0, 0, 0, 0, 0, 1, 0], "private");
        assert_eq!(back(p, mac(v1)), [0, 0, 0, 0, 0, 1, 0], "private");
        assert_eq!(back(v1, ALL), [1, 1, 0, 1, 0, 1, 0]);
        assert_eq!(back(b1, ALL), [0, 0, 1, 1, 0, 1, 0]);
        assert_eq!(back(p, ALL), [0, 0, 0, 0, 0, 1, 0]);
        bed.within(b2, || if_setflags(bed.td, b2, b2.flags() - IfFlags::UP)).unwrap();
        assert_eq!(bed.send(b1, mac(b2), None), Err(Errno::ENETDOWN));
        assert_eq!(bed.arrivals(all, &outside, mac(b2), None), [0, 0, 0, 0, 0, 1, 0]);
        let [alone, far] = bed.pair("epair1");
        let only = bed.upper("macvlan", &alone, StackMode::Passthru, StackFlags::empty());
        for to in [NOBODY, mac(&alone), ALL] {
            assert_eq!(bed.arrivals([&only, &alone], &far, to, None), [1, 1], "whatever comes");
        }
        drop((uppers, lower, outside, alone, far, only));
        bed.gone(&["epair0a", "epair1a"]);
    });
}

#[test]
fn through_a_chain_of_everything() {
    bed(|bed| {
        // A macvlan on the end of a veth, whose other end is in a bridge with an epair; on that one's end, in the jail,
        // an aggregate, and on the aggregate a VLAN. The macvlan carries a VLAN of the same tag.
        let [veth, port] = [bed.make("veth0"), bed.get("veth1")];
        bed.up(&port);
        let [member, end] = bed.pair("epair0");
        let bridge = bed.make("bridge0");
        for member in [&port, &member] {
            bridge_addm(bed.td, &bridge, member).unwrap();
        }
        let mv = bed.upper("macvlan", &veth, StackMode::Bridge, StackFlags::empty());
        let near = bed.make(&format!("{}.7", mv.name()));
        bed.jail(&end);
        let [lagg, far, other] = bed.within(&end, || {
            let lagg = bed.make("lagg0");
            lagg_addport(bed.td, &lagg, &end).unwrap();
            [lagg, bed.make("lagg0.7"), bed.make("lagg0.8")]
        });
        let all = [&far, &other, &near];
        assert_eq!(bed.arrivals(all, &near, bed.lladdr(&far), None), [1, 0, 0]);
        assert_eq!(bed.arrivals(all, &far, bed.lladdr(&near), None), [0, 0, 1]);
        assert_eq!(bed.arrivals(all, &near, ALL, None), [1, 0, 0]);
        assert_eq!(bed.arrivals([&lagg, &far], &mv, bed.lladdr(&lagg), None), [1, 0], "without a tag");
        // A link of the chain breaks: what is sent is refused or lost, and never left.
        bridge_delm(bed.td, &bridge, &member).unwrap();
        assert_eq!(bed.arrivals(all, &near, bed.lladdr(&far), None), [0, 0, 0]);
        bridge_addm(bed.td, &bridge, &member).unwrap();
        assert_eq!(bed.arrivals(all, &near, bed.lladdr(&far), None), [1, 0, 0]);
        // What Linux deletes waits for its references; what FreeBSD destroys does not.
        drop((port, veth, mv));
        bed.gone(&["veth0"]);
        assert_eq!(bed.send(&near, ALL, None), Err(Errno::ENETDOWN), "the VLAN has lost its parent");
        if_clone_destroy(bed.td, &near.name()).unwrap();
        assert_eq!(bed.send(&near, ALL, None), Err(Errno::ENXIO));
        bed.within(&lagg, || bed.gone(&["lagg0.7", "lagg0.8", "lagg0"]));
        drop((near, lagg, far, other, member, end, bridge));
        bed.gone(&["epair0a", "bridge0"]);
    });
}

#[test]
fn the_dead_refuse_what_they_are_given() {
    bed(|bed| {
        let pair = bed.pair("epair7");
        let names = ["epair0", "bridge0", "lagg0", "disc0", "gif0", "tap0", "epair7a.7"];
        let mut dead = names.map(|name| bed.make(name)).to_vec();
        dead.push(bed.get("epair0b"));
        // The second end of a pair is gone with the first.
        dead[..names.len()].iter().for_each(|ifp| if_clone_destroy(bed.td, &ifp.name()).unwrap());
        for ifp in &dead {
            assert_eq!(bed.send(ifp, ALL, None), Err(Errno::ENXIO), "{}", ifp.name());
        }
        drop((pair, dead));
        bed.gone(&["epair7a"]);
    });
}

#[test]
fn without_copies_the_frame_itself_still_arrives() {
    bed(|bed| {
        let bridge = bed.make("bridge0");
        let [[a, x], [b, y], [c, z]] = ["epair0", "epair1", "epair2"].map(|name| bed.pair(name));
        for member in [&a, &b, &c] {
            bridge_addm(bed.td, &bridge, member).unwrap();
        }
        let [lower, outside] = bed.pair("epair3");
        let ipvlans = [(); 2].map(|()| bed.upper("ipvlan", &lower, StackMode::L2, StackFlags::empty()));
        let [lower_2, outside_2] = bed.pair("epair4");
        let macvlans = [(); 2].map(|()| bed.upper("macvlan", &lower_2, StackMode::Bridge, StackFlags::empty()));
        bed.pool.refuse_copies(true);
        assert_eq!(bed.arrivals([&y, &z], &x, NOBODY, None), [0, 1], "the last one");
        assert_eq!(bridge.counter(IfCounter::Oerrors), 1);
        assert_eq!(bed.arrivals([&a, &y, &z], &x, ALL, None), [1, 0, 0], "the member that it came from keeps it");
        assert_eq!((bridge.counter(IfCounter::Ierrors), bridge.counter(IfCounter::Oerrors)), (1, 2));
        for (uppers, lower, outside) in [(&ipvlans, &lower, &outside), (&macvlans, &lower_2, &outside_2)] {
            let [u1, u2] = uppers;
            assert_eq!(bed.arrivals([u1, u2, lower], outside, ALL, None), [0, 0, 1], "the lower has it");
            assert_eq!(bed.arrivals([u2, outside], u1, ALL, None), [0, 1], "it goes out");
            assert_eq!((u1.counter(IfCounter::Ierrors), u2.counter(IfCounter::Ierrors)), (1, 2));
        }
        bed.pool.refuse_copies(false);
        assert_eq!(bed.arrivals([&y, &z], &x, NOBODY, None), [1, 1]);
        drop((a, b, c, x, y, z, lower, outside, lower_2, outside_2, ipvlans, macvlans, bridge));
        bed.gone(&["bridge0", "epair0a", "epair1a", "epair2a", "epair3a", "epair4a"]);
    });
}

#[test]
fn a_queued_frame_lives_until_it_is_read_or_the_queue_goes() {
    bed(|bed| {
        let tap = bed.make("tap0");
        let device = tun_open(bed.td, "tap0").unwrap();
        bed.up(&tap);
        for _ in 0..3 {
            let section = bed.td.net_epoch_enter();
            let frame = bed.pool.frame(ether(ALL, NOBODY, None));
            assert_eq!(if_transmit(bed.td, &tap, frame, &section), Ok(()));
        }
        assert_eq!(bed.pool.live(), 3);
        drop(device.read(bed.td).unwrap());
        assert_eq!(bed.pool.live(), 2);
        device.close(bed.td);
        assert_eq!(bed.pool.live(), 0);
        drop(tap);
        bed.gone(&["tap0"]);
    });
}
