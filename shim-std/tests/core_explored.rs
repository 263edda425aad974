//! The explorer on bare calls of the core, without the scenario language in between: how a driver author would do it.

use std::sync::Arc;

use ifnet::hazard::{Hazard, HazardSet};
use ifnet::{
    Config, IfType, Kernel, ether_ifattach, ether_ifdetach, if_alloc, if_free, if_initname, if_vmove_loan, vnet_alloc,
};
use ifnet_std::explore::progress::Silent;
use ifnet_std::explore::{Explorer, FailureKind, OracleViolation, Program, Report};
use ifnet_std::host::shuttle::ShuttleHost;

/// Seed 1: a driver detaches em0 while somebody lends it to a jail.
fn seed_1(hazards: HazardSet) -> Program {
    Arc::new(move |execution| {
        let config = Config::default().threads(4).hazards(hazards);
        let kernel = Arc::new(Kernel::boot(ShuttleHost::new(execution), config).expect("memory"));
        let td = kernel.thread().expect("room for four");
        let jail = vnet_alloc(&td).expect("memory");
        let em0 = if_alloc(&td, IfType::Ether).expect("memory");
        if_initname(&em0, "em", Some(0)).expect("a good name");
        ether_ifattach(&td, &em0, [2, 0, 0, 0, 0, 1]).expect("memory");

        let (lender, owner) = (Arc::clone(&kernel), Arc::clone(&kernel));
        let lend = execution.spawn("lend", move |_| {
            let td = lender.thread().expect("room for four");
            // Lost the race: ENXIO or ENODEV.
            drop(if_vmove_loan(&td, "em0", &jail));
        });
        let detach = execution.spawn("detach", move |_| {
            let td = owner.thread().expect("room for four");
            ether_ifdetach(&td, &em0);
            if_free(&td, em0);
        });
        execution.join(&[lend, detach]);
        ifnet::invariants::check(&td)
            .map_err(|violation| OracleViolation { kind: violation.invariant.into(), message: violation.to_string() })
    })
}

fn explore(hazards: HazardSet, schedules: u64) -> Report {
    Explorer { schedules, ..Explorer::default() }.run(&seed_1(hazards), &Silent)
}

#[test]
fn the_historical_locking_panics() {
    let failure = explore(Hazard::DetachLockInternalOnly.set(), 5_000).failure.expect("found");
    assert_eq!(failure.kind, FailureKind::Panic);
    assert_eq!(failure.message, "em0: interface is not on the active list");
    assert_eq!(failure.preemptions, 1, "one switch at the wrong moment is enough");
}

#[test]
fn an_ignored_unlink_failure_leaves_a_freed_interface_on_a_list() {
    let failure = explore(Hazard::UnlinkFailureIgnored.set(), 5_000).failure.expect("found");
    assert!(matches!(&failure.kind, FailureKind::Violation(kind) if kind == "I1"), "{failure:?}");
}

#[test]
fn the_fix_holds() {
    let report = explore(HazardSet::empty(), 3_000);
    assert!(report.failure.is_none(), "{:?}", report.failure.map(|failure| failure.message));
}
