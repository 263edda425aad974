//! Random sequences of operations on the core, with the reference model of `ifnet_std::model` as the oracle.

use ifnet_std::model::{Program, check};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};

proptest! {
    #![proptest_config(Config {
        cases: 400,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    })]

    #[test]
    fn core_and_model_agree(picks in prop::collection::vec(any::<[u8; 4]>(), 0..60)) {
        check(&Program(picks)).map_err(|difference| TestCaseError::fail(difference.to_string()))?;
    }
}

/// One kernel for 20,000 operations: units, indices and generations go round many times.
#[test]
fn core_and_model_agree_for_long() {
    let mut state = 0x0056_3742_9299_3u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u32
    };
    let picks = (0..20_000).map(|_| random().to_le_bytes()).collect();
    if let Err(difference) = check(&Program(picks)) {
        let text = difference.to_string();
        let lines: Vec<&str> = text.lines().collect();
        panic!("…\n{}", lines[lines.len().saturating_sub(200)..].join("\n"));
    }
}

/// What the fuzzer starts from: every seed makes sense and agrees.
#[test]
fn seeds_of_the_fuzzer_agree() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/lifecycle");
    let mut count = 0;
    for entry in std::fs::read_dir(seeds).expect("the seeds are in the repository") {
        let path = entry.expect("a directory can be read").path();
        let program = Program::from_bytes(&std::fs::read(&path).expect("a seed can be read"));
        println!("# {}\n{program}", path.display());
        check(&program).expect("core and model agree");
        count += 1;
    }
    assert!(count >= 5, "only {count} seeds");
}
