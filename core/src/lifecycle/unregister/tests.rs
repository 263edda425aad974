extern crate std;

use std::format;
use std::string::String;
use std::vec::Vec;

use super::*;
use crate::clone::{CloneParams, Peer, StackFlags, StackMode};
use crate::drivers::{stack_mode, veth_peer};
use crate::ifnet::IfName;
use crate::testing::{Booted, Host, kernel};
use crate::{
    IfFlags, Kernel, SockAddr, TaskMode, if_addaddr, if_clone_create_kind, if_clone_destroy, if_rename, if_setflags,
    if_setmtu, if_transmit, if_vmove_to, ifunit, vnet_alloc, vnet_destroy,
};

/// A kernel with three vnets, `veth0` and `veth1` in the first, and one upper of `veth0` in each of the others.
struct Seed<'k> {
    td: Thread<'k, Host>,
    ns: [VnetRef<Host>; 3],
}

impl<'k> Seed<'k> {
    fn new(kernel: &'k Kernel<Host>, kind: &str) -> Self {
        let td = kernel.thread().expect("room");
        let ns = core::array::from_fn(|_| vnet_alloc(&td).expect("memory"));
        let seed = Self { td, ns };
        seed.veth("veth0", 0, "veth1", 0);
        for (at, name) in [(1, "ipvl2"), (2, "ipvl3")] {
            seed.upper(at, kind, name, 0, "veth0", None).expect("memory");
        }
        seed
    }

    fn at<R>(&self, vnet: usize, f: impl FnOnce() -> R) -> R {
        let _cur = self.td.curvnet_set(Some(self.ns[vnet].clone()));
        f()
    }

    fn veth(&self, name: &str, vnet: usize, peer: &str, peer_vnet: usize) {
        let peer = Peer { name: IfName::new(peer).ok(), vnet: Some(self.ns[peer_vnet].clone()) };
        let params = CloneParams { peer: Some(peer), ..CloneParams::NONE };
        self.at(vnet, || if_clone_create_kind(&self.td, "veth", Some(name), &params)).expect("memory");
    }

    fn upper(
        &self,
        vnet: usize,
        kind: &str,
        name: &str,
        lower_vnet: usize,
        lower: &str,
        mode: Option<StackMode>,
    ) -> Result<(), Errno> {
        let lower = self.at(lower_vnet, || ifunit_ref(&self.td, lower));
        let params = CloneParams { lower, mode, ..CloneParams::NONE };
        self.at(vnet, || if_clone_create_kind(&self.td, kind, Some(name), &params)).map(drop)
    }

    fn find(&self, vnet: usize, name: &str) -> Ifp<Host> {
        self.at(vnet, || ifunit(&self.td, name)).expect(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (at, vnet) in self.ns.iter().enumerate() {
            let section = self.td.net_epoch_enter();
            names.extend(vnet.ifnets.iter(&section).map(|ifp| format!("{at}:{}", ifp.name())));
        }
        names.retain(|name| !name.ends_with("lo0"));
        names
    }

    fn sound(&self) {
        crate::invariants::check(&self.td).expect("sound");
    }

    /// Takes everything down.
    fn finish(self) {
        for vnet in &self.ns {
            if !vnet.is_destroyed() {
                vnet_destroy(&self.td, vnet).expect("alive");
            }
        }
        while self.td.kernel().run_deferred(&self.td) {}
        assert_eq!(self.td.kernel().interfaces(), 1, "lo0 of the default vnet");
    }
}

#[test]
fn the_uppers_of_a_lower_go_in_their_own_vnets_and_the_lower_last() {
    for kind in ["ipvlan", "ipvtap", "macvlan"] {
        let (host, kernel) = kernel(TaskMode::Immediate);
        let seed = Seed::new(&kernel, kind);
        let veth0 = seed.find(0, "veth0");
        seed.at(0, || if_clone_destroy(&seed.td, "veth0")).expect("made");
        assert_eq!(seed.names(), ["1:ipvl2", "2:ipvl3"], "queued, still there");
        seed.sound();
        assert!(veth0.refcount() > 0, "the port keeps it");
        drop(vnet_lock(&seed.td, &seed.ns[1]));
        assert_eq!(seed.names(), ["2:ipvl3"], "the release of a lock does the work of that vnet only");
        seed.td.net_epoch_drain_callbacks();
        assert!(veth0.refcount() == 1 && !veth0.life.is_freed());
        assert!(kernel.run_deferred(&seed.td));
        assert!(seed.names().is_empty());
        while kernel.run_deferred(&seed.td) {}
        assert!(veth0.life.is_freed());
        seed.sound();
        drop(veth0);
        seed.finish();
        end(&host, kernel);
    }
}

/// Nothing may be left.
fn end(host: &Host, kernel: Booted) {
    drop(kernel);
    assert_eq!(host.arena().live(), 0);
}

#[test]
fn a_delete_returns_when_all_is_freed_and_helps_if_nobody_works() {
    let (host, kernel) = kernel(TaskMode::Immediate);
    let seed = Seed::new(&kernel, "ipvlan");
    let freed = [seed.find(0, "veth0"), seed.find(0, "veth1"), seed.find(1, "ipvl2"), seed.find(2, "ipvl3")];
    assert_eq!(seed.at(0, || if_unregister(&seed.td, "veth0")), Ok(()));
    assert!(freed[..2].iter().all(|ifp| ifp.life.is_freed()), "what it unregistered");
    assert!(seed.names().is_empty());
    seed.sound();
    drop(freed);
    assert_eq!(seed.at(0, || if_unregister(&seed.td, "veth0")), Err(Errno::ENODEV));
    assert_eq!(if_unregister(&seed.td, "lo0"), Err(Errno::EOPNOTSUPP));
    seed.finish();
    end(&host, kernel);
}

#[test]
fn the_second_delete_of_a_dying_upper_succeeds_and_does_the_work() {
    let (host, kernel) = kernel(TaskMode::Immediate);
    let seed = Seed::new(&kernel, "ipvlan");
    seed.at(0, || if_clone_destroy(&seed.td, "veth0")).expect("made");
    assert_eq!(seed.at(1, || if_unregister(&seed.td, "ipvl2")), Ok(()));
    assert_eq!(seed.names(), ["2:ipvl3"]);
    // An unrelated operation of the vnet does it as well.
    assert_eq!(seed.upper(2, "macvlan", "m", 2, "ipvl3", None), Err(Errno::ENODEV));
    assert!(seed.names().is_empty());
    seed.finish();
    end(&host, kernel);
}

#[test]
fn a_queued_upper_that_moves_keeps_its_place_and_one_that_is_deleted_first_is_not_queued() {
    let (host, kernel) = kernel(TaskMode::Immediate);
    let seed = Seed::new(&kernel, "ipvlan");
    let (ipvl2, ipvl3) = (seed.find(1, "ipvl2"), seed.find(2, "ipvl3"));
    seed.at(0, || if_clone_destroy(&seed.td, "veth0")).expect("made");
    if_vmove_to(&seed.td, &ipvl2, &seed.ns[2]).expect("alive");
    seed.sound();
    drop(vnet_lock(&seed.td, &seed.ns[1]));
    assert_eq!(seed.names(), ["2:ipvl3", "2:ipvl2"]);
    drop(vnet_lock(&seed.td, &seed.ns[2]));
    assert!(seed.names().is_empty());
    assert!(ipvl2.is_dying() && ipvl3.is_dying());
    drop((ipvl2, ipvl3));
    seed.finish();
    end(&host, kernel);
}

#[test]
fn a_vnet_that_dies_takes_what_is_queued_there_and_the_uppers_of_its_interfaces() {
    for first in [0, 1, 2] {
        let (host, kernel) = kernel(TaskMode::Immediate);
        let seed = Seed::new(&kernel, "ipvlan");
        if first != 0 {
            seed.at(0, || if_clone_destroy(&seed.td, "veth0")).expect("made");
        }
        vnet_destroy(&seed.td, &seed.ns[first]).expect("alive");
        while kernel.run_deferred(&seed.td) {}
        assert!(seed.names().is_empty(), "{first}");
        seed.sound();
        seed.finish();
        end(&host, kernel);
    }
}

#[test]
fn a_borrowed_upper_that_is_queued_goes_with_the_vnet_that_has_it() {
    let (host, kernel) = kernel(TaskMode::Immediate);
    let seed = Seed::new(&kernel, "ipvlan");
    let ipvl2 = seed.find(1, "ipvl2");
    if_vmove_to(&seed.td, &ipvl2, &seed.ns[2]).expect("alive");
    seed.at(0, || if_clone_destroy(&seed.td, "veth0")).expect("made");
    vnet_destroy(&seed.td, &seed.ns[2]).expect("alive");
    assert!(seed.names().is_empty(), "it has not returned home");
    drop(ipvl2);
    seed.finish();
    end(&host, kernel);
}

#[test]
fn the_chain_over_three_vnets_ends_without_a_worker() {
    let (host, kernel) = kernel(TaskMode::Immediate);
    let td = kernel.thread().expect("room");
    let ns = core::array::from_fn(|_| vnet_alloc(&td).expect("memory"));
    let seed = Seed { td, ns };
    seed.veth("A", 0, "B", 1);
    seed.upper(2, "ipvlan", "U", 1, "B", None).expect("memory");
    assert_eq!(seed.at(0, || if_unregister(&seed.td, "A")), Ok(()));
    while kernel.run_deferred(&seed.td) {}
    assert!(seed.names().is_empty());
    seed.finish();
    end(&host, kernel);
}

#[test]
fn a_tower_of_eight_over_eight_vnets_falls_and_the_ninth_floor_is_refused() {
    let (host, kernel) = kernel(TaskMode::Immediate);
    let td = kernel.thread().expect("room");
    let vnets: Vec<_> = (0..8).map(|_| vnet_alloc(&td).expect("memory")).collect();
    let make = |at: usize, kind, name: &str, params: &CloneParams<Host>| {
        let _cur = td.curvnet_set(Some(vnets[at].clone()));
        if_clone_create_kind(&td, kind, Some(name), params).map(|_| ifunit_ref(&td, name))
    };
    let mut below = make(0, "veth", "f0", &CloneParams::NONE).expect("memory");
    for floor in 1..8 {
        // Kinds take turns: one beside another of its family would not be above it.
        let kind = if floor % 2 == 1 { "macvlan" } else { "ipvlan" };
        let params = CloneParams { lower: below.take(), ..CloneParams::NONE };
        below = make(floor, kind, &format!("f{floor}"), &params).expect("eight floors");
    }
    let before = kernel.interfaces();
    let params = CloneParams { lower: below.take(), ..CloneParams::NONE };
    assert_eq!(make(0, "ipvlan", "f8", &params).map(drop), Err(Errno::EMLINK));
    assert_eq!(kernel.interfaces(), before, "nothing is left of the ninth");
    drop(params);
    crate::invariants::check(&td).expect("sound");
    {
        let _cur = td.curvnet_set(Some(vnets[0].clone()));
        assert_eq!(if_unregister(&td, "f0"), Ok(()));
    }
    while kernel.run_deferred(&td) {}
    assert!(vnets.iter().all(|vnet| vnet.ifcnt() == 1));
    crate::invariants::check(&td).expect("sound");
    for vnet in &vnets {
        vnet_destroy(&td, vnet).expect("alive");
    }
    drop((td, vnets));
    end(&host, kernel);
}

#[test]
fn families_exclude_each_other_and_a_lower_must_be_ethernet() {
    let (host, kernel) = kernel(TaskMode::Immediate);
    let seed = Seed::new(&kernel, "ipvlan");
    assert_eq!(seed.upper(0, "macvlan", "m", 0, "veth0", None), Err(Errno::EBUSY));
    assert_eq!(seed.upper(0, "ipvlan", "i", 0, "lo0", None), Err(Errno::EINVAL));
    assert_eq!(seed.upper(0, "ipvlan", "i", 0, "nosuch", None), Err(Errno::EINVAL));
    assert_eq!(seed.upper(0, "ipvlan", "i", 0, "veth0", Some(StackMode::Bridge)), Err(Errno::EINVAL));
    assert_eq!(seed.upper(1, "ipvlan", "ipvl2", 0, "veth0", None), Err(Errno::EEXIST));
    let veth0 = seed.find(0, "veth0");
    let flags = Some(StackFlags::PRIVATE | StackFlags::VEPA);
    let params = CloneParams { lower: crate::if_try_ref(&veth0), flags, ..CloneParams::NONE };
    assert_eq!(if_clone_create_kind(&seed.td, "ipvlan", None, &params).map(drop), Err(Errno::EINVAL));
    drop(params);
    // Beside a sibling, not above it; an id is not used again at once.
    seed.upper(1, "ipvtap", "i", 1, "ipvl2", Some(StackMode::L2)).expect("memory");
    assert_eq!(stack_mode(&seed.find(1, "i")), Some((StackMode::L2, StackFlags::empty(), 3)));
    assert_eq!(seed.upper(1, "macvlan", "m", 1, "i", None), Err(Errno::EBUSY), "a tap has no room above");
    seed.at(1, || if_unregister(&seed.td, "i")).expect("made");
    seed.upper(1, "ipvlan", "i", 0, "veth0", None).expect("memory");
    let mode = |vnet, name: &str| stack_mode(&seed.find(vnet, name)).expect("an ipvlan");
    assert_eq!(mode(1, "i"), (StackMode::L3, StackFlags::empty(), 4));
    assert_eq!(mode(2, "ipvl3").0, StackMode::L3, "the last create wins for the whole port");
    assert!(seed.find(2, "ipvl3").flags().contains(IfFlags::NOARP));
    for (vnet, name) in [(1, "i"), (1, "ipvl2"), (2, "ipvl3")] {
        assert_eq!(seed.upper(0, "macvlan", "m", 0, "veth0", None), Err(Errno::EBUSY));
        seed.at(vnet, || if_unregister(&seed.td, name)).expect(name);
    }
    assert_eq!(veth0.refcount(), 3, "the index, its tap and its peer");
    seed.upper(0, "macvlan", "m", 0, "veth0", Some(StackMode::Passthru)).expect("no port any more");
    assert_eq!(seed.upper(0, "macvlan", "n", 0, "veth0", None), Err(Errno::EINVAL));
    assert_eq!(seed.upper(0, "ipvlan", "n", 0, "veth0", None), Err(Errno::EBUSY));
    seed.sound();
    drop(veth0);
    seed.finish();
    end(&host, kernel);
}

#[test]
fn uppers_follow_their_lower_and_survive_its_move() {
    let (host, kernel) = kernel(TaskMode::Immediate);
    let seed = Seed::new(&kernel, "ipvlan");
    let td = &seed.td;
    let (veth0, ipvl2, ipvl3) = (seed.find(0, "veth0"), seed.find(1, "ipvl2"), seed.find(2, "ipvl3"));
    if_setmtu(td, &veth0, 1400).expect("fits");
    assert_eq!((ipvl2.mtu(), ipvl3.mtu()), (1400, 1400));
    assert_eq!(if_setmtu(td, &ipvl2, 1401), Err(Errno::EINVAL));
    for ifp in [&veth0, &*veth_peer(&veth0).expect("made"), &ipvl2, &ipvl3] {
        if_setflags(td, ifp, IfFlags::UP).expect("alive");
    }
    assert_eq!(ipvl3.link_state(), crate::LinkState::Up);
    let addr = SockAddr::Inet([10, 0, 0, 1]);
    assert_eq!(if_addaddr(td, &ipvl2, addr, 24), Ok(()));
    assert_eq!(if_addaddr(td, &ipvl3, addr, 24), Err(Errno::EADDRINUSE));
    assert_eq!(if_addaddr(td, &ipvl2, addr, 24), Err(Errno::EEXIST));
    if_vmove_to(td, &veth0, &seed.ns[2]).expect("alive");
    if_rename(td, &veth0, "lower").expect("free");
    assert!(!ipvl2.is_queued() && !ipvl3.is_queued(), "a move is no death");
    if_setflags(td, &veth0, IfFlags::UP).expect("alive");
    assert_eq!(if_transmit(td, &ipvl2, (), &td.net_epoch_enter()), Ok(()));
    assert_eq!(seed.find(0, "veth1").counter(crate::IfCounter::Ipackets), 1);
    assert_eq!(if_transmit(td, &seed.find(0, "veth1"), (), &td.net_epoch_enter()), Ok(()));
    assert_eq!(ipvl2.counter(crate::IfCounter::Ipackets), 1, "the first that is up");
    seed.at(2, || if_clone_destroy(td, "lower")).expect("made");
    assert_eq!(seed.names(), ["0:veth1", "1:ipvl2"], "the upper in the same vnet goes at once, nested");
    assert_eq!(if_transmit(td, &ipvl2, (), &td.net_epoch_enter()), Err(Errno::ENXIO));
    while kernel.run_deferred(td) {}
    assert!(seed.names().is_empty());
    drop((veth0, ipvl2, ipvl3));
    seed.finish();
    end(&host, kernel);
}

#[test]
fn a_batch_shares_its_grace_periods() {
    let mut periods = Vec::new();
    for count in [4, 64] {
        let (_, kernel) = kernel(TaskMode::Immediate);
        let seed = Seed::new(&kernel, "macvlan");
        for at in 0..count {
            seed.upper(1, "macvlan", &format!("m{at}"), 0, "veth0", None).expect("memory");
        }
        seed.at(0, || if_clone_destroy(&seed.td, "veth0")).expect("made");
        let list_before = seed.ns[1].unreg.len();
        assert_eq!(list_before, count + 1);
        let before = kernel.grace_periods();
        drop(vnet_lock(&seed.td, &seed.ns[1]));
        periods.push(kernel.grace_periods() - before);
        seed.finish();
    }
    assert!(periods[1] <= periods[0] + 2, "{periods:?}");
}

#[test]
fn a_create_that_is_refused_memory_leaves_nothing() {
    let (host, kernel) = kernel(TaskMode::Immediate);
    let seed = Seed::new(&kernel, "ipvlan");
    seed.veth("x", 0, "y", 0);
    let (mut allowed, veth0, x) = (0, seed.find(0, "veth0"), seed.find(0, "x"));
    for lower in ["veth0", "x"] {
        loop {
            while kernel.run_deferred(&seed.td) {}
            let before = (kernel.interfaces(), veth0.refcount(), x.refcount(), seed.names());
            host.arena().fail_after(allowed);
            let made = seed.upper(1, "ipvlan", "new", 0, lower, None);
            host.arena().fail_never();
            seed.sound();
            if made.is_ok() {
                break;
            }
            assert_eq!(made, Err(Errno::ENOMEM), "after {allowed}");
            while kernel.run_deferred(&seed.td) {}
            let after = (kernel.interfaces(), veth0.refcount(), x.refcount(), seed.names());
            assert_eq!(after, before, "after {allowed}");
            assert!(x.rx_handler().is_none());
            allowed += 1;
        }
        assert!(allowed > 6, "only {allowed} allocations");
        allowed = 0;
        seed.at(1, || if_unregister(&seed.td, "new")).expect("made");
    }
    drop((veth0, x));
    seed.finish();
    end(&host, kernel);
}

#[test]
fn a_group_is_given_up_whole_before_the_first_departs() {
    let (host, kernel) = kernel(TaskMode::Immediate);
    let seed = Seed::new(&kernel, "macvlan");
    seed.upper(0, "macvlan", "m0", 0, "veth0", None).expect("memory");
    let delete = |group| seed.at(0, || if_unregister_group(&seed.td, group));
    assert_eq!((delete(0), delete(9)), (Err(Errno::EPERM), Err(Errno::ENODEV)));
    for (vnet, name) in [(0, "m0"), (0, "veth0"), (0, "lo0"), (1, "ipvl2")] {
        seed.find(vnet, name).set_link_group(9);
    }
    let before = seed.ns[0].ifcnt();
    assert_eq!(delete(9), Err(Errno::EOPNOTSUPP), "lo0 stays");
    assert_eq!(seed.ns[0].ifcnt(), before, "and so do the others");
    seed.find(0, "lo0").set_link_group(0);
    // The peer goes too, and the uppers elsewhere, of whatever group.
    assert_eq!(delete(9), Ok(()));
    assert_eq!(seed.ns.each_ref().map(|vnet| vnet.ifcnt()), [1; 3]);
    // Kinds that do not unregister in batches.
    for name in ["bridge0", "epair0", "disc0"] {
        let made = seed.at(0, || crate::if_clone_create(&seed.td, name)).expect("memory");
        seed.find(0, &made).set_link_group(4);
    }
    seed.find(0, "epair0b").set_link_group(4);
    assert_eq!(delete(4), Ok(()));
    assert_eq!(seed.ns[0].ifcnt(), 1);
    seed.sound();
    seed.finish();
    end(&host, kernel);
}

#[test]
fn a_list_counts_and_an_empty_one_costs_nothing() {
    let (host, kernel) = kernel(TaskMode::Immediate);
    let td = kernel.thread().expect("room");
    let list = UnregisterList::new(&td);
    assert_eq!((list.is_empty(), list.len()), (true, 0));
    let before = kernel.grace_periods();
    unregister_many(&td, &list);
    assert_eq!(kernel.grace_periods(), before, "there was nobody to wait for");
    for unit in 0..3 {
        unregister_queue(&td, &kernel.vnet0(), crate::testing::attached(&td, "em", unit), &list);
    }
    assert_eq!((list.is_empty(), list.len()), (false, 3));
    unregister_many(&td, &list);
    assert!(list.is_empty() && kernel.grace_periods() > before);
    assert_eq!(kernel.interfaces(), 1);
    drop((list, td));
    end(&host, kernel);
}

#[test]
fn the_release_of_the_last_reference_wakes_who_waits_for_it() {
    let (host, kernel) = kernel(TaskMode::Immediate);
    let td = kernel.thread().expect("room");
    let em0 = crate::testing::attached(&td, "em", 0);
    let [first, last] = [crate::if_ref(&em0), crate::if_ref(&em0)];
    crate::testing::gone(&td, em0);
    let before = host.wakeups();
    drop(first);
    assert_eq!(host.wakeups(), before, "nothing has changed for a waiter");
    drop(last);
    assert!(host.wakeups() > before);
}

#[test]
fn a_delete_that_sleeps_returns_when_the_last_reference_goes() {
    let (_, kernel) = kernel(TaskMode::Immediate);
    let td = kernel.thread().expect("room");
    if_clone_create_kind(&td, "veth", Some("veth0"), &CloneParams::NONE).expect("memory");
    let held = ifunit_ref(&td, "veth0").expect("just made");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let td = kernel.thread().expect("room");
            assert_eq!(if_unregister(&td, "veth0"), Ok(()));
        });
        while ifunit(&td, "veth0").is_some() {
            std::thread::yield_now();
        }
        // It is going to sleep; if it does not yet, the test only sees less.
        std::thread::sleep(core::time::Duration::from_millis(20));
        drop(held);
    });
    while kernel.run_deferred(&td) {}
    assert_eq!(kernel.interfaces(), 1);
}
