//! A lower interface goes away while an upper one is being put on it, moved and destroyed: in every schedule both sides
//! agree in the end (I16), and nothing that is gone is touched.

use std::sync::Arc;

use ifnet::drivers::{bridge_addm, lagg_addport, vlan_config};
use ifnet::{
    Config, IfFlags, Kernel, Thread, if_clone_create, if_clone_destroy, if_setflags, if_transmit, if_vmove_loan,
    ifunit, ifunit_ref, vnet_alloc,
};
use ifnet_std::explore::progress::Silent;
use ifnet_std::explore::{Explorer, OracleViolation, Program};
use ifnet_std::host::shuttle::ShuttleHost;

type Td<'k> = Thread<'k, ShuttleHost>;

/// Puts the upper interface of this kind on `epair0a`; the race may be lost.
fn stack(td: &Td<'_>, upper: &'static str) {
    let (Some(ifp), Some(lower)) = (ifunit_ref(td, upper), ifunit_ref(td, "epair0a")) else { return };
    let _ = match upper {
        "vlan0" => vlan_config(td, &ifp, &lower, 10),
        "bridge0" => bridge_addm(td, &ifp, &lower),
        _ => lagg_addport(td, &ifp, &lower),
    };
}

/// A packet in each direction.
fn send(td: &Td<'_>, upper: &'static str) {
    for name in [upper, "epair0b"] {
        let section = td.net_epoch_enter();
        if let Some(ifp) = ifunit(td, name) {
            // Whatever is left of the stack takes it or refuses it.
            let _ = if_transmit(td, &ifp, vec![0; 60].into(), &section);
        }
    }
}

/// Threads that stack, send, move the upper interface, and destroy the lower one.
fn program(upper: &'static str) -> Program {
    Arc::new(move |execution| {
        let kernel = Kernel::boot(ShuttleHost::new(execution), Config::default().threads(6)).expect("memory");
        let kernel = Arc::new(kernel);
        let td = kernel.thread().expect("room");
        let jail = vnet_alloc(&td).expect("memory");
        for name in ["epair0", upper] {
            if_clone_create(&td, name).expect(name);
        }
        for name in ["epair0a", "epair0b", upper] {
            let ifp = ifunit_ref(&td, name).expect(name);
            if_setflags(&td, &ifp, ifp.flags() | IfFlags::UP).expect(name);
        }
        let threads: Vec<_> = ["stack", "send", "move", "destroy"]
            .into_iter()
            .map(|what| {
                let (kernel, jail) = (Arc::clone(&kernel), jail.clone());
                execution.spawn(what, move |_| {
                    let td = kernel.thread().expect("room");
                    match what {
                        "stack" => stack(&td, upper),
                        "send" => send(&td, upper),
                        "move" => drop(if_vmove_loan(&td, upper, &jail)),
                        _ => if_clone_destroy(&td, "epair0b").expect("it is there"),
                    }
                })
            })
            .collect();
        execution.join(&threads);
        ifnet::invariants::check(&td)
            .map_err(|violation| OracleViolation { kind: violation.invariant.into(), message: violation.to_string() })
    })
}

fn is_clean(upper: &'static str) {
    let report = Explorer { schedules: 1_500, ..Explorer::default() }.run(&program(upper), &Silent);
    assert!(report.failure.is_none(), "{upper}: {:?}", report.failure.map(|failure| failure.message));
}

#[test]
fn the_parent_of_a_vlan_goes_while_the_vlan_is_configured_moved_and_used() {
    is_clean("vlan0");
}

#[test]
fn a_member_goes_while_its_bridge_gets_it_moves_and_is_used() {
    is_clean("bridge0");
}

#[test]
fn a_port_goes_while_its_aggregate_gets_it_moves_and_is_used() {
    is_clean("lagg0");
}
