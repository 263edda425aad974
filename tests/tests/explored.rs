//! Every scenario under the explorer, with every hazard closed: no interleaving may break it.
//!
//! `cargo test` looks at a few schedules of each; `.ci/70-explore` looks at thousands, with the command.

use ifnet_std::explore::Explorer;
use ifnet_std::explore::progress::Silent;
use ifnet_std::runner::{Boot, program};
use ifnet_std::scenario::parse;
use ifnet_tests::scenarios;

/// Schedules for each scenario.
const SCHEDULES: u64 = if cfg!(debug_assertions) { 150 } else { 1_500 };

fn explore(kind: &str) {
    let mut explored = 0;
    for source in scenarios(kind) {
        let script = parse(&source).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        let explorer = Explorer { schedules: SCHEDULES, ..Explorer::default() };
        let report = explorer.run(&program(&source, &script, &Boot::default()), &Silent);
        if let Some(failure) = report.failure {
            panic!("{}: {}: {}", source.name, failure.kind, failure.message);
        }
        explored += 1;
    }
    assert!(explored > 1, "no scenarios in {kind}");
}

#[test]
fn freebsd() {
    explore("freebsd");
}

#[test]
fn hazards_closed() {
    explore("hazards");
}

#[test]
fn demo() {
    explore("demo");
}
