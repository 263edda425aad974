//! Nothing on the way down needs memory: every teardown runs with no memory left, and does not even ask for any.

use core::sync::atomic::{AtomicUsize, Ordering};

use ifnet::clone::CloneParams;
use ifnet::event::{Event, PRI_ANY, eventhandler_deregister, eventhandler_register};
use ifnet::{
    LinkState, SockAddr, bpf_open, bpfdetach, ether_ifattach, ether_ifdetach, if_addaddr, if_addgroup, if_addmulti,
    if_clone_create, if_clone_create2, if_clone_destroy, if_deladdr, if_delgroup, if_delmulti, if_detach, if_down,
    if_free, if_link_state_change, if_lladdr, if_up, if_vmove_loan, if_vmove_reclaim, ifunit, ifunit_ref, vnet_alloc,
    vnet_destroy,
};
use ifnet_std::alloc::CountingAlloc;

use super::bed::{Host, Td, alloc, kernel_with_memory, listed, plug, settle, within};

const INET: SockAddr = SockAddr::Inet([192, 0, 2, 1]);
const MULTI: SockAddr = SockAddr::Link([1, 0, 0x5e, 0, 0, 1]);

/// Runs `body` with no memory left, deferred work included; it may not ask for any.
fn starving<R>(td: &Td<'_>, memory: &CountingAlloc, body: impl FnOnce() -> R) -> R {
    settle(td);
    let attempts = memory.attempts();
    memory.fail_from(1);
    let result = body();
    settle(td);
    memory.fail_never();
    assert_eq!(memory.attempts(), attempts, "it asked for memory");
    result
}

#[test]
fn detach_and_free() {
    kernel_with_memory(|td, memory| {
        let em0 = alloc(td, "em0");
        ether_ifattach(td, &em0, [2, 0, 0, 0, 0, 1]).unwrap();
        if_addgroup(td, &em0, "foo").unwrap();
        if_addaddr(td, &em0, INET, 24).unwrap();
        if_addmulti(td, &em0, MULTI).unwrap();
        if_up(td, &em0);
        if_link_state_change(td, &em0, LinkState::Up);
        let kept = ifunit_ref(td, "em0").unwrap();
        let listener = bpf_open(td, "em0").unwrap();
        starving(td, memory, || {
            ether_ifdetach(td, &em0);
            if_free(td, em0);
            drop((kept, listener));
        });
    });
}

#[test]
fn leaving_groups_and_giving_addresses_back() {
    kernel_with_memory(|td, memory| {
        let em0 = alloc(td, "em0");
        ether_ifattach(td, &em0, [2, 0, 0, 0, 0, 1]).unwrap();
        if_addgroup(td, &em0, "foo").unwrap();
        if_addaddr(td, &em0, INET, 24).unwrap();
        if_addmulti(td, &em0, MULTI).unwrap();
        if_up(td, &em0);
        let listener = bpf_open(td, "em0").unwrap();
        let tag = eventhandler_register(td, |_, _, _| {}, 0, PRI_ANY).unwrap();
        starving(td, memory, || {
            if_delgroup(td, &em0, "foo").unwrap();
            if_deladdr(&em0, INET).unwrap();
            if_delmulti(td, &em0, MULTI).unwrap();
            if_down(td, &em0);
            drop(listener);
            bpfdetach(td, &em0);
            eventhandler_deregister(td, tag);
            if_detach(td, &em0);
            if_free(td, em0);
        });
    });
}

#[test]
fn destroying_clones() {
    kernel_with_memory(|td, memory| {
        let jail = vnet_alloc(td).unwrap();
        for kind in ["disc", "epair", "epair"] {
            if_clone_create(td, kind).unwrap();
        }
        drop(if_vmove_loan(td, "epair1b", &jail).unwrap());
        starving(td, memory, || {
            if_clone_destroy(td, "disc0").unwrap();
            if_clone_destroy(td, "epair0b").unwrap();
            if_clone_destroy(td, "epair1a").unwrap();
        });
        assert_eq!(listed(td, &jail), ["lo0"]);
        vnet_destroy(td, &jail).unwrap();
    });
}

/// A VLAN that loses its parent shows its own address again, and what stands on the VLAN follows.
#[test]
fn losing_a_parent_below_a_stack() {
    kernel_with_memory(|td, memory| {
        for name in ["epair0", "epair0a.10"] {
            if_clone_create(td, name).unwrap();
        }
        let lower = ifunit_ref(td, "epair0a.10");
        let ipvlan = if_clone_create2(td, "ipvlan", &CloneParams { lower, ..CloneParams::default() }).unwrap();
        let [ipvlan, vlan] = [&*ipvlan, "epair0a.10"].map(|name| ifunit_ref(td, name).unwrap());
        let before = if_lladdr(td, &ipvlan);
        starving(td, memory, || if_clone_destroy(td, "epair0a").unwrap());
        let after = [&ipvlan, &vlan].map(|ifp| if_lladdr(td, ifp));
        assert!(after[0] != before && after[0] == after[1], "{before:?} {after:?}");
        drop((ipvlan, vlan));
        for name in ["ipvlan0", "epair0a.10"] {
            if_clone_destroy(td, name).unwrap();
        }
    });
}

#[test]
fn returning_home() {
    kernel_with_memory(|td, memory| {
        let jail = vnet_alloc(td).unwrap();
        let em0 = plug(td, "em0");
        drop(if_vmove_loan(td, "em0", &jail).unwrap());
        // The places of those that are away stay theirs: a crowd at home does not take them.
        let crowd: Vec<_> = (0..40).map(|n| plug(td, &format!("crowd{n}"))).collect();
        starving(td, memory, || drop(if_vmove_reclaim(td, "em0", &jail).unwrap()));
        assert!(ifunit(td, "em0").is_some_and(|ifp| ifp.ptr_eq(&em0)));
        starving(td, memory, || {
            for owner in crowd.into_iter().chain([em0]) {
                if_detach(td, &owner);
                if_free(td, owner);
            }
            vnet_destroy(td, &jail).unwrap();
        });
    });
}

#[test]
fn destroying_a_vnet_with_everything_in_it() {
    for homes_first in [false, true] {
        kernel_with_memory(|td, memory| {
            let home = vnet_alloc(td).unwrap();
            let jail = vnet_alloc(td).unwrap();
            let borrowed: Vec<_> = (0..10).map(|n| plug(td, &format!("em{n}"))).collect();
            let own = within(td, &home, || {
                let own: Vec<_> = (0..10).map(|n| plug(td, &format!("ix{n}"))).collect();
                if_clone_create(td, "epair").unwrap();
                drop(if_vmove_loan(td, "epair0b", &jail).unwrap());
                for n in 0..5 {
                    drop(if_vmove_loan(td, &format!("ix{n}"), &jail).unwrap());
                }
                own
            });
            for n in 0..10 {
                drop(if_vmove_loan(td, &format!("em{n}"), &jail).unwrap());
            }
            within(td, &jail, || if_clone_create(td, "disc").unwrap());
            let crowd: Vec<_> = (0..23).map(|n| plug(td, &format!("crowd{n}"))).collect();
            starving(td, memory, || {
                let order = if homes_first { [&home, &jail] } else { [&jail, &home] };
                for vnet in order {
                    vnet_destroy(td, vnet).unwrap();
                }
            });
            // All are in the default vnet: those of drivers outlive their vnets.
            assert_eq!(td.curvnet().ifcnt(), 1 + 10 + 10 + 23);
            starving(td, memory, || {
                for owner in borrowed.into_iter().chain(own).chain(crowd) {
                    if_detach(td, &owner);
                    if_free(td, owner);
                }
            });
        });
    }
}

#[test]
fn unloading_a_kind() {
    kernel_with_memory(|td, memory| {
        let jail = vnet_alloc(td).unwrap();
        if_clone_create(td, "disc").unwrap();
        within(td, &jail, || if_clone_create(td, "disc").unwrap());
        drop(if_vmove_reclaim(td, "disc0", &jail).unwrap());
        starving(td, memory, || td.kernel().deregister_cloner(td, "disc").unwrap());
        assert_eq!(listed(td, &td.curvnet()), ["lo0"]);
        vnet_destroy(td, &jail).unwrap();
    });
}

/// How many grace periods the kernel had seen when `em0` departed.
static AT_DEPARTURE: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_vnet_that_dies_waits_for_readers_before_anything_departs() {
    kernel_with_memory(|td, _| {
        let jail = vnet_alloc(td).unwrap();
        let em0 = plug(td, "em0");
        drop(if_vmove_loan(td, "em0", &jail).unwrap());
        let note = |td: &Td<'_>, event: &Event<'_, Host>, _| {
            if let Event::Departure(ifp) = event
                && *ifp.name() == *"em0"
            {
                AT_DEPARTURE.store(td.kernel().grace_periods(), Ordering::Relaxed);
            }
        };
        let tag = eventhandler_register(td, note, 0, PRI_ANY).unwrap();
        let before = td.kernel().grace_periods();
        vnet_destroy(td, &jail).unwrap();
        assert!(AT_DEPARTURE.load(Ordering::Relaxed) > before, "a reader may still have found it on the list");
        eventhandler_deregister(td, tag);
        if_detach(td, &em0);
        if_free(td, em0);
    });
}
