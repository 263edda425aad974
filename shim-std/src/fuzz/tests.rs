use ifnet::hazard::{Hazard, HazardSet};

use super::input::{Input, Record};
use super::plain::scenario;
use super::*;
use crate::explore::{Explorer, Failure, FailureKind};
use crate::runner::{Boot, program};
use crate::scenario::parse;

/// The device is detached while it is lent to a jail.
fn seed1(leave: u8) -> Vec<u8> {
    let lend = Record { who: 1, pick: [15, 0, 0, 1], leave: [0, 0], to: 0 };
    let detach = Record { who: 0, pick: [12, 0, 0, 0], leave: [leave, 0], to: 0 };
    let noise = Record { who: 1, pick: [28, 0, 0, 0], leave: [0, 0], to: 0 };
    Input { start: 0b101, records: vec![detach, lend, noise], ..Input::default() }.to_bytes()
}

fn found(hazards: HazardSet) -> Vec<(Vec<u8>, Found)> {
    let all = (0..200).map(|leave| (seed1(leave), Found::of(Target::Schedule, &seed1(leave), hazards)));
    all.filter(|(_, found)| found.failure.is_some()).collect()
}

#[test]
fn a_switch_at_the_right_place_is_seed_1_and_a_scenario_with_a_schedule() {
    let open = found(Hazard::DetachLockInternalOnly.set());
    let (bytes, first) = open.first().expect("one of the places is the right one");
    let failure = first.failure.as_ref().expect("filtered");
    assert_eq!(failure.kind, FailureKind::Panic);
    assert!(failure.message.contains("is not on the active list"), "{}", failure.message);
    // The scenario passes the very same scheduling points.
    let boot = Boot { tasks: Some(ifnet::TaskMode::Deferred), hazards: first.hazards };
    let scenario = program(&first.source, &parse(&first.source).expect("it is one"), &boot);
    let explorer = Explorer { max_steps: 50_000, ..Explorer::default() };
    let same = explorer.replay(&scenario, &failure.schedule).expect("it fails");
    assert_eq!((same.steps, same.preemptions), (failure.steps, failure.preemptions));
    assert_eq!((&same.schedule, &same.message), (&failure.schedule, &failure.message));
    // The runner does the same with the same decisions.
    let again = first.replay().expect("the scenario fails as the input did");
    assert!(again.is_same(failure), "{}", again.message);
    assert!(crate::token::Token::decode(&first.token(&again)).is_ok());

    let small = minimize(Target::Schedule, bytes, first.hazards, 500);
    assert!(small.len() < bytes.len(), "the noise is gone");
    let small = Found::of(Target::Schedule, &small, first.hazards);
    assert!(small.failure.is_some_and(|found| found.is_same(failure)));
}

/// While the log is kept, each point asks who runs; otherwise most are granted in advance.
#[test]
fn what_is_decided_in_advance_is_what_would_have_been_decided() {
    let open = Hazard::DetachLockInternalOnly.set();
    let failed = found(open);
    assert!(failed.len() > 1, "{}", failed.len());
    for (bytes, found) in failed {
        let recorded = Found::recorded(Target::Schedule, &bytes, open).expect("it fails");
        assert_eq!(found.failure, Some(Failure { log: Vec::new(), ..recorded }));
    }
}

#[test]
fn what_a_driver_has_from_the_start_is_freed_while_another_thread_looks_it_up() {
    let free = Record { who: 1, pick: [48, 0, 0, 0], ..Record::default() };
    let places = |lookup: u8, hazards| {
        let fails = |leave: &u8| {
            let lookup = Record { who: 0, pick: [lookup, 0, 0, 1], leave: [*leave, 0], to: 0 };
            let input = Input { start: 1 << 10, records: vec![lookup, free], ..Input::default() };
            Found::of(Target::Schedule, &input.to_bytes(), hazards).failure.is_some()
        };
        (1..60).filter(fails).count()
    };
    // The section keeps the memory; the reference is not taken on what is gone.
    let counts = [5, 14].map(|lookup| {
        [HazardSet::empty(), HazardSet::FREE_WITHOUT_GRACE, HazardSet::FREE_DROPS_REF_FIRST]
            .map(|it| places(lookup, it))
    });
    assert!(counts[0][0] == 0 && counts[1][0] == 0, "{counts:?}");
    assert!(counts[0][1] > 0 && counts[1][2] > 0, "{counts:?}");
}

#[test]
fn a_hang_is_found_though_the_teardown_would_resolve_it() {
    // A pair whose other end is in another vnet and has an upper in a third.
    let delete = |leave| {
        let records = vec![Record { who: 0, pick: [46, 0, 0, 0], leave: [leave, 0], to: 0 }];
        Input { start: 1 << 0 | 1 << 3 | 1 << 13 | 1 << 14, records, ..Input::default() }.to_bytes()
    };
    let failures = |hazards| (1..=255).filter_map(move |it| Found::of(Target::Schedule, &delete(it), hazards).failure);
    let hang = failures(HazardSet::WAIT_ON_OWN_EXECUTOR).next().expect("the worker waits for itself");
    assert!(matches!(hang.kind, FailureKind::NoProgress | FailureKind::Deadlock), "{}", hang.message);
    assert_eq!(failures(HazardSet::empty()).next(), None);
}

#[test]
fn with_the_hazard_closed_no_place_is_wrong() {
    let failed = found(HazardSet::empty());
    assert!(failed.is_empty(), "{:?}", failed[0].1);
}

#[test]
fn what_oom_finds_is_a_scenario_that_says_which_allocations_were_refused() {
    let hazards = Hazard::UnregisterUnderPortLock.set();
    // A stack on an epair, for which there is no memory at first; the epair goes.
    let stack = Record { pick: [45, 0, 0, 0], leave: [3, 0], ..Record::default() };
    let destroy = Record { pick: [46, 0, 0, 0], ..Record::default() };
    let bytes = Input { start: 0b10, records: vec![stack, destroy], ..Input::default() }.to_bytes();
    let found = Found::of(Target::Oom, &bytes, hazards);
    let failure = found.failure.as_ref().expect("the departure runs into its own lock");
    assert!(found.source.text.contains("nomem 3 0 ip link add up0 link epair0a"), "{}", found.source.text);
    let again = found.replay().expect("the scenario fails as the input did");
    assert!(again.is_same(failure), "{}", again.message);
    assert!(crate::token::Token::decode(&found.token(&again)).is_ok());
    // The same text without the failure.
    assert_eq!(text(Target::Oom, &bytes, HazardSet::empty()), found.source.text);
}

/// Bytes that look random, the same every time.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn noise_breaks_nothing_and_is_deterministic() {
    for target in [Target::Schedule, Target::Oom] {
        for seed in 0..150 {
            let bytes = noise(seed, 8 + seed as usize % 160);
            let found = Found::of(target, &bytes, HazardSet::empty());
            assert!(found.failure.is_none(), "{target} {seed}: {:?}\n{}", found.failure, found.source.text);
        }
    }
}

#[test]
fn plain_artifacts_lose_what_is_not_needed() {
    // A lifecycle of which the model knows nothing: with this hazard a move to another vnet changes the index.
    let hazards = Hazard::IndexReallocOnMove.set();
    let program = [0, 0, 0, 0, 31, 0, 0, 0, 3, 0, 0, 0, 31, 0, 0, 0, 16, 0, 1, 1, 31, 0, 0, 0];
    assert!(check(Target::Lifecycle, &program, hazards).is_err());
    assert_eq!(check(Target::Lifecycle, &program, HazardSet::empty()), Ok(()));
    let small = minimize(Target::Lifecycle, &program, hazards, 100);
    assert!(small.len() < program.len() && check(Target::Lifecycle, &small, hazards).is_err());
}

#[test]
fn text_of_any_kind_is_read_or_refused() {
    for text in ["", "ifconfig epair0 create; ( ifconfig epair0a destroy ) &", "kpi if_detach x", "\u{1f980} (", "((("]
    {
        assert_eq!(scenario(text.as_bytes()), Ok(()));
    }
    assert_eq!(scenario(&[0xff, 0xfe]), Ok(()));
    assert_eq!(scenario(&b"(".repeat(10_000)), Ok(()));
    assert_eq!(scenario(&b"x ".repeat(1 << 19)), Ok(()));
}

#[test]
fn hazards_are_read_by_name() {
    assert_eq!(hazards(""), Ok(HazardSet::empty()));
    assert_eq!(hazards("ifcnt-drift, bpf-null-window,"), Ok(HazardSet::IFCNT_DRIFT | HazardSet::BPF_NULL_WINDOW));
    assert_eq!(hazards("nosuch"), Err("no hazard nosuch".to_owned()));
}
