//! The death of a crowded vnet: how many grace periods it takes must not depend on the crowd, and it allocates nothing.

use std::time::Instant;

use ifnet::drivers::{bridge_addm, bridge_delm};
use ifnet::platform::spin::SpinHost;
use ifnet::{
    Config, IfType, Kernel, if_alloc, if_attach, if_clone_create, if_clone_destroy, if_detach, if_free, if_initname,
};
use ifnet::{for_each_lower, if_vmove_loan, ifunit, vnet_alloc, vnet_destroy};
use ifnet_std::alloc::CountingAlloc;
use ifnet_std::testbed::TestBed;

/// What the death of one vnet took.
struct Death {
    grace_periods: usize,
    micros: u128,
}

/// Destroys a vnet with so many interfaces, a third of them borrowed from the default vnet.
fn die_with(interfaces: u32) -> Death {
    let memory = CountingAlloc::new();
    let kernel = Kernel::boot(SpinHost::<_>::new(memory.clone()), Config::default().threads(2)).expect("memory");
    let death = {
        let td = kernel.thread().expect("room for two");
        let vnet = vnet_alloc(&td).expect("memory");
        let borrowed: Vec<_> = (0..interfaces / 3)
            .map(|unit| {
                let owner = if_alloc(&td, IfType::Other).expect("memory");
                if_initname(&owner, "em", Some(unit)).expect("a good name");
                if_attach(&td, &owner).expect("memory");
                drop(if_vmove_loan(&td, &format!("em{unit}"), &vnet).expect("not there yet"));
                owner
            })
            .collect();
        {
            let _cur = td.curvnet_set(Some(vnet.clone()));
            for _ in interfaces / 3..interfaces {
                if_clone_create(&td, "disc").expect("a free unit");
            }
        }
        assert_eq!(vnet.ifcnt(), interfaces as usize + 1);

        let (before, asked, start) = (kernel.grace_periods(), memory.attempts(), Instant::now());
        vnet_destroy(&td, &vnet).expect("alive");
        let death = Death { grace_periods: kernel.grace_periods() - before, micros: start.elapsed().as_micros() };
        assert_eq!(memory.attempts(), asked, "a teardown allocates nothing");

        ifnet::invariants::check(&td).expect("nothing is broken");
        assert!(ifunit(&td, "em0").is_some(), "what was borrowed is back");
        for owner in borrowed {
            if_detach(&td, &owner);
            if_free(&td, owner);
        }
        assert_eq!(kernel.interfaces(), 1);
        death
    };
    kernel.shutdown();
    assert_eq!(memory.live_bytes(), 0);
    death
}

#[test]
fn grace_periods_do_not_grow_with_the_crowd() {
    let deaths = [30, 1_000, 10_000].map(|interfaces| (interfaces, die_with(interfaces)));
    for (interfaces, Death { grace_periods, micros }) in &deaths {
        println!("{interfaces} interfaces, a third borrowed: {grace_periods} grace periods, {micros} us");
    }
    let [first, rest @ ..] = &deaths;
    assert!(first.1.grace_periods <= 8, "{} grace periods for a small vnet", first.1.grace_periods);
    for (interfaces, death) in rest {
        assert_eq!(death.grace_periods, first.1.grace_periods, "{interfaces} interfaces");
    }
}

/// FreeBSD's `many_bridge_members`, with its number.
#[test]
fn a_bridge_of_512_members_goes_with_its_vnet() {
    let bed = TestBed::new();
    let vnet = bed.vnet("j1");
    bed.thread(|td| {
        let _cur = td.curvnet_set(Some(vnet.clone()));
        if_clone_create(td, "bridge0").expect("memory");
        let bridge = ifunit(td, "bridge0").expect("just made");
        for unit in 0..512 {
            if_clone_create(td, "epair").expect("a free unit");
            let member = ifunit(td, &format!("epair{unit}a")).expect("just made");
            bridge_addm(td, &bridge, &member).expect("free");
        }
        let count = || {
            let mut count = 0;
            for_each_lower(td, &bridge, |_, _| count += 1);
            count
        };
        assert_eq!((count(), vnet.ifcnt()), (512, 1026));
        if_clone_destroy(td, "epair100a").expect("made");
        bridge_delm(td, &bridge, &ifunit(td, "epair101a").expect("made")).expect("a member");
        assert_eq!((count(), vnet.ifcnt()), (510, 1024));
    });
    let before = bed.kernel().grace_periods();
    bed.sh("jail -r j1").expect("alive");
    assert!(bed.kernel().grace_periods() - before <= 2, "the members share the grace periods of their vnet's end");
    assert_eq!(bed.sh("ifconfig -l").expect("sound"), "lo0");
}
