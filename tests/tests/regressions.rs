//! What fuzzing has found, as scenarios: on threads, and in some hundred schedules each.
//!
//! `ifnet minimize ARTIFACT --scenario tests/scenarios/regressions/NAME.ifn` puts one there; nothing else is to be done.

use ifnet::hazard::HazardSet;
use ifnet_std::explore::Explorer;
use ifnet_std::explore::progress::Silent;
use ifnet_std::fuzz::{Target, check};
use ifnet_std::runner::{Boot, Options, Verdict, program, run};
use ifnet_std::scenario::parse;
use ifnet_tests::scenarios;

/// Schedules for each.
const SCHEDULES: u64 = 300;

#[test]
fn regressions_pass_on_threads_and_explored() {
    for source in scenarios("regressions") {
        let report = run(&source, &Options::default());
        assert_eq!(report.verdict, Verdict::Passed, "{}", source.name);
        let script = parse(&source).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        let explorer = Explorer { schedules: SCHEDULES, ..Explorer::default() };
        let report = explorer.run(&program(&source, &script, &Boot::default()), &Silent);
        assert_eq!(report.failure, None, "{}", source.name);
    }
}

/// Some of them are finds that no scenario shows.
#[test]
fn seeds_of_the_fuzzer_pass() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds");
    for target in Target::ALL {
        let mut count = 0;
        for entry in std::fs::read_dir(format!("{seeds}/{target}")).expect("the seeds are in the repository") {
            let path = entry.expect("a directory can be read").path();
            let seed = std::fs::read(&path).expect("a seed can be read");
            assert_eq!(check(target, &seed, HazardSet::empty()), Ok(()), "{}", path.display());
            count += 1;
        }
        let least = if target == Target::Lifecycle { 5 } else { 3 };
        assert!(count >= least, "only {count} seeds of {target}");
    }
}
