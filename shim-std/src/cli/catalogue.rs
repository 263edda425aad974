//! The scenarios that are built in: one for each hazard, and the demonstration's.

use ifnet::hazard::Hazard;

use crate::scenario::Source;

macro_rules! scenarios {
    ($dir:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../tests/scenarios/", $dir, "/", $name, ".ifn")))),*]
    };
}

/// The scenarios of the hazards, by the hazard's name.
const HAZARDS: &[(&str, &str)] = scenarios!("hazards":
    "detach-lock-internal-only", "unlink-failure-ignored", "vnet-return-unlocked", "vnet-return-walks-list",
    "free-drops-ref-first", "ifcnt-drift", "reclaim-unlinks-first", "loan-weak-pointer", "move-name-toctou",
    "index-realloc-on-move", "dying-found-by-index", "free-without-grace", "bpf-detach-unlocked", "bpf-null-window",
    "bpf-follows-move", "linkstate-after-detach", "lladdr-after-detach", "clone-create-window",
    "sysuninit-lock-order", "group-race-on-move", "linkdown-uaf-epair",
    "destroy-waits-with-lock", "teardown-on-own-queue",
    "upper-deleted-twice", "upper-freed-before-lower-ref", "wait-on-own-executor", "queued-then-moved",
    "vnet-read-then-lock", "unregister-under-port-lock",
);

const DEMO: &[(&str, &str)] = scenarios!("demo":
    "seed1-driver-detach", "seed1-epair-jail", "seed2-ipvlan", "seed2-chain",
);

fn source(dir: &str, table: &[(&str, &str)], name: &str) -> Source {
    let text = table.iter().find(|(other, _)| *other == name).map_or("", |(_, text)| text);
    Source::new(format!("tests/scenarios/{dir}/{name}.ifn"), text)
}

/// The scenario that reaches a hazard.
pub(super) fn of_hazard(hazard: Hazard) -> Source {
    source("hazards", HAZARDS, hazard.name())
}

/// A scenario of the demonstration.
pub(super) fn demo(name: &str) -> Source {
    source("demo", DEMO, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hazard_has_its_scenario() {
        for &hazard in Hazard::ALL {
            assert!(!of_hazard(hazard).text.is_empty(), "{hazard}");
        }
    }
}
