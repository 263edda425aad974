//! Every allocation of what stacks interfaces fails once; and nothing that unstacks them needs memory.
//!
//! As in `oom`: a failure gives `ENOMEM` and leaves everything as it was, and the same call succeeds after it. The way
//! back runs with all memory refused.

use ifnet::drivers::{bridge_addm, bridge_delm, lagg_addport, lagg_delport, vlan_config, vlan_unconfig};
use ifnet::{CloneParams, Errno, if_clone_create, if_clone_create2, if_clone_destroy, if_vmove_loan, ifunit_ref};

use super::bed::{Td, kernel_with_memory, settle, snapshot};

struct Case {
    name: &'static str,
    setup: &'static [&'static str],
    /// Masters and their members.
    members: &'static [[&'static str; 2]],
    call: fn(&Td<'_>) -> Result<(), Errno>,
    /// Runs without memory.
    back: fn(&Td<'_>),
}

macro_rules! pair {
    ($verb:ident, $upper:literal, $lower:literal $(, $more:expr)*) => {
        |td| $verb(td, &*ifunit_ref(td, $upper).unwrap(), &*ifunit_ref(td, $lower).unwrap() $(, $more)*)
    };
}

fn destroy(td: &Td<'_>, name: &str) {
    if_clone_destroy(td, name).expect(name);
}

const CASES: &[Case] = &[
    Case {
        name: "create of epair0a.10",
        setup: &["epair0"],
        members: &[],
        call: |td| if_clone_create(td, "epair0a.10").map(drop),
        back: |td| destroy(td, "epair0a.10"),
    },
    Case {
        name: "create of vlan with a parent",
        setup: &["epair0"],
        members: &[],
        call: |td| {
            let params = CloneParams { lower: ifunit_ref(td, "epair0a"), tag: Some(10), ..CloneParams::default() };
            if_clone_create2(td, "vlan", &params).map(|name| assert_eq!(&*name, "vlan0"))
        },
        back: |td| destroy(td, "vlan0"),
    },
    Case {
        name: "vlan_config",
        setup: &["epair0", "vlan0"],
        members: &[],
        call: pair!(vlan_config, "vlan0", "epair0a", 10),
        back: |td| vlan_unconfig(td, &*ifunit_ref(td, "vlan0").unwrap()).unwrap(),
    },
    Case {
        name: "vlan_config of a second child",
        setup: &["epair0", "vlan0", "epair0a.1", "epair0a.2", "epair0a.3", "epair0a.4"],
        members: &[],
        call: pair!(vlan_config, "vlan0", "epair0a", 10),
        back: |td| vlan_unconfig(td, &*ifunit_ref(td, "vlan0").unwrap()).unwrap(),
    },
    Case {
        name: "bridge create",
        setup: &[],
        members: &[],
        call: |td| if_clone_create(td, "bridge").map(drop),
        back: |td| destroy(td, "bridge0"),
    },
    Case {
        name: "bridge_addm",
        setup: &["epair0", "bridge0"],
        members: &[],
        call: pair!(bridge_addm, "bridge0", "epair0a"),
        back: |td| pair!(bridge_delm, "bridge0", "epair0a")(td).unwrap(),
    },
    Case {
        name: "lagg_addport",
        setup: &["epair0", "lagg0"],
        members: &[],
        call: pair!(lagg_addport, "lagg0", "epair0a"),
        back: |td| pair!(lagg_delport, "lagg0", "epair0a")(td).unwrap(),
    },
    Case {
        name: "bridge_addm of a VLAN whose parent is a member",
        setup: &["epair0", "epair0a.1", "bridge0"],
        members: &[["bridge0", "epair0a"]],
        call: pair!(bridge_addm, "bridge0", "epair0a.1"),
        back: |td| pair!(bridge_delm, "bridge0", "epair0a.1")(td).unwrap(),
    },
    Case {
        name: "vlan_config on a bridge with members",
        setup: &["epair0", "bridge0", "vlan0"],
        members: &[["bridge0", "epair0a"]],
        call: pair!(vlan_config, "vlan0", "bridge0", 10),
        back: |td| vlan_unconfig(td, &*ifunit_ref(td, "vlan0").unwrap()).unwrap(),
    },
    Case {
        name: "create of ipvlan on a vlan on a lagg",
        setup: &["epair0", "lagg0", "lagg0.10"],
        members: &[["lagg0", "epair0a"]],
        call: |td| {
            let params = CloneParams { lower: ifunit_ref(td, "lagg0.10"), ..CloneParams::default() };
            if_clone_create2(td, "ipvlan", &params).map(|name| assert_eq!(&*name, "ipvlan0"))
        },
        back: |td| destroy(td, "ipvlan0"),
    },
];

fn begin(td: &Td<'_>, case: &Case) {
    for name in case.setup {
        if_clone_create(td, name).expect(name);
    }
    for [master, member] in case.members {
        let join = if master.starts_with("bridge") { bridge_addm } else { lagg_addport };
        join(td, &ifunit_ref(td, master).unwrap(), &ifunit_ref(td, member).unwrap()).expect(member);
    }
    settle(td);
}

#[test]
fn every_allocation_of_a_membership_may_fail_and_its_end_needs_none() {
    for case in CASES {
        let mut failed = 0;
        for from in [false, true] {
            for n in 1.. {
                let mut done = false;
                kernel_with_memory(|td, memory| {
                    let what = format!("{}, allocation {n}, all later ones too: {from}", case.name);
                    begin(td, case);
                    let before = snapshot(td, &[]);
                    if from {
                        memory.fail_from(n)
                    } else {
                        memory.fail_nth(n)
                    }
                    let result = (case.call)(td);
                    memory.fail_never();
                    done = memory.failures() == 0;
                    if !done {
                        failed += 1;
                        assert_eq!(result, Err(Errno::ENOMEM), "{what}");
                        settle(td);
                        assert_eq!(snapshot(td, &[]), before, "{what}");
                        ifnet::invariants::check(td).unwrap_or_else(|broken| panic!("{what}: {broken}"));
                        assert_eq!((case.call)(td), Ok(()), "the same call again, {what}");
                    }
                    assert_ne!(snapshot(td, &[]), before, "{what}");
                    memory.fail_from(1);
                    (case.back)(td);
                    settle(td);
                    memory.fail_never();
                    assert_eq!(snapshot(td, &[]), before, "{what}");
                });
                if done {
                    break;
                }
            }
        }
        assert!(failed > 1, "{} never allocates", case.name);
    }
}

#[test]
fn a_departure_and_the_death_of_a_vnet_need_no_memory() {
    kernel_with_memory(|td, memory| {
        let jail = ifnet::vnet_alloc(td).unwrap();
        for name in ["epair0", "epair1", "bridge0", "lagg0", "epair0a.10", "epair0a.20"] {
            if_clone_create(td, name).expect(name);
        }
        pair!(bridge_addm, "bridge0", "epair0a.10")(td).unwrap();
        pair!(bridge_addm, "bridge0", "epair0b")(td).unwrap();
        pair!(lagg_addport, "lagg0", "epair1a")(td).unwrap();
        pair!(lagg_addport, "lagg0", "epair1b")(td).unwrap();
        drop(if_vmove_loan(td, "epair0a.20", &jail).unwrap());
        let params = CloneParams { lower: ifunit_ref(td, "lagg0"), ..CloneParams::default() };
        let upper = if_clone_create2(td, "macvlan", &params).unwrap();
        drop(params);
        if_clone_create(td, &format!("{upper}.30")).unwrap();
        pair!(bridge_addm, "bridge0", "macvlan0.30")(td).unwrap();
        memory.fail_from(1);
        destroy(td, "epair0b");
        destroy(td, "epair1b");
        destroy(td, "lagg0");
        destroy(td, "macvlan0.30");
        ifnet::vnet_destroy(td, &jail).unwrap();
        settle(td);
        memory.fail_never();
        ifnet::invariants::check(td).expect("sound");
        for name in ["bridge0", "epair0a.10", "epair0a.20"] {
            destroy(td, name);
        }
    });
}
