//! Every scenario ends as it says, on real threads.

use ifnet_std::runner::{Options, Verdict, run};
use ifnet_tests::scenarios;

/// How often each is run: the schedule is the machine's, and differs.
const ROUNDS: usize = 3;

fn all_pass(dir: &str) {
    let mut failed = Vec::new();
    let scenarios = scenarios(dir);
    for source in &scenarios {
        for round in 1..=ROUNDS {
            let report = run(source, &Options { trace: true, ..Options::default() });
            if report.verdict != Verdict::Passed {
                let last = report.lines.len().saturating_sub(12);
                let last = report.lines[last..].join("\n");
                failed.push(format!("{} (round {round}): {}\n{last}", source.name, report.verdict));
                break;
            }
        }
    }
    assert!(failed.is_empty(), "{} of {} failed\n\n{}", failed.len(), scenarios.len(), failed.join("\n\n"));
    println!("{dir}: {} scenarios, {ROUNDS} times each", scenarios.len());
}

#[test]
fn freebsd() {
    all_pass("freebsd");
}

#[test]
fn hazards() {
    all_pass("hazards");
}

#[test]
fn demo() {
    all_pass("demo");
}
