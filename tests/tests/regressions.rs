//! What fuzzing has found, as scenarios: on threads, and in some hundred schedules each.
//!
//! `ifnet minimize ARTIFACT --scenario tests/scenarios/regressions/NAME.ifn` puts one there; nothing else is to be done.

use ifnet_std::explore::Explorer;
use ifnet_std::explore::progress::Silent;
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
