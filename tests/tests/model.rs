//! Random sequences of operations on the core, with the reference model of `ifnet_std::model` as the oracle.

use ifnet::hazard::Hazard;
use ifnet::{Config, TaskMode};
use ifnet_std::model::{Program, Table, check, check_with};
use ifnet_std::scenario::{Source, parse};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn core_and_model_agree(picks in prop::collection::vec(any::<[u8; 4]>(), 0..60)) {
        for table in [Table::Lifecycle, Table::Unregister] {
            let program = Program { table, picks: picks.clone() };
            for tasks in [TaskMode::Deferred, TaskMode::Immediate] {
                check_with(&Config::default().tasks(tasks), &program)
                    .map_err(|difference| TestCaseError::fail(difference.to_string()))?;
            }
        }
    }
}

/// A program of Marsaglia's xorshift.
fn random_program(length: usize, seed: u64) -> Program {
    let mut state = 0x2545_f491_4f6c_dd1d ^ seed;
    let picks = (0..length).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 24) as u32).to_le_bytes()
    });
    Program::new(picks.collect())
}

/// One kernel for 20,000 operations: units, indices and generations go round many times.
#[test]
fn core_and_model_agree_for_long() {
    for table in [Table::Lifecycle, Table::Unregister] {
        let program = Program { table, ..random_program(20_000, 56374) };
        if let Err(difference) = check(&program) {
            let text = difference.to_string();
            let lines: Vec<&str> = text.lines().collect();
            panic!("…\n{}", lines[lines.len().saturating_sub(200)..].join("\n"));
        }
    }
}

/// The oracle is worth something: it finds the historical bugs that need no second thread.
#[test]
fn historical_bugs_differ_from_the_model() {
    for hazard in [Hazard::IndexReallocOnMove, Hazard::DyingFoundByIndex, Hazard::BpfFollowsMove] {
        let open = Config::default().hazards(hazard.set());
        let found = (1..100).any(|seed| check_with(&open, &random_program(60, seed)).is_err());
        assert!(found, "{} was not found", hazard.name());
    }
}

/// Of random operations enough succeed, and enough fail; they print as a scenario.
#[test]
fn random_operations_make_sense() {
    let text = random_program(2000, 1).to_string();
    let parsed = parse(&Source::new("program", &text));
    assert!(parsed.is_ok(), "{}", parsed.unwrap_err());
    let refused = text.lines().filter(|line| line.starts_with('!')).count();
    assert!((400..1400).contains(&refused), "{refused} of 2000 are refused");
    for command in ["vnet j", "-vnet", " create", " destroy", "if_vmove", "ether_ifattach", "jail -r", "tcpdump"] {
        let done = text.lines().filter(|line| !line.starts_with('!') && line.contains(command)).count();
        assert!(done > 10, "{command} succeeds {done} times");
    }
}
