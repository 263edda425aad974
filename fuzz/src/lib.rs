//! What the targets share.
#![cfg_attr(fuzzing, feature(cfg_sanitize, linkage, sanitize))]

#[cfg(fuzzing)]
mod asan;
#[cfg(fuzzing)]
mod edges;

use std::sync::OnceLock;

use ifnet::Config;
use ifnet::hazard::HazardSet;
use ifnet_std::fuzz::{Found, Target, check, hazards, mutate, text};
use ifnet_std::model::{Program, check_with};
use libfuzzer_sys::fuzzer_mutate;

/// The historical bugs that `IFNET_HAZARDS` opens, so that a campaign can prove that it bites.
///
/// # Panics
/// If it names no hazard.
fn open() -> HazardSet {
    static OPEN: OnceLock<HazardSet> = OnceLock::new();
    *OPEN.get_or_init(|| {
        let names = std::env::var("IFNET_HAZARDS").unwrap_or_default();
        hazards(&names).unwrap_or_else(|what| panic!("IFNET_HAZARDS: {what}"))
    })
}

/// What every target does with an input. Where it chooses the schedule, or what fails, how often an edge is reached is nearly
/// always new, and says nothing.
fn execute(target: Target, input: impl FnOnce()) {
    #[cfg(fuzzing)]
    asan::watch();
    input();
    #[cfg(fuzzing)]
    edges::keep(match target {
        Target::Schedule | Target::Oom => edges::New::Reached,
        _ => edges::New::Times,
    });
    // Not instrumented: there is nothing to keep.
    let _ = target;
}

/// Plays an input of `schedule` or `oom`.
///
/// # Panics
/// If it fails; the message is the scenario and its replay token.
pub fn play(target: Target, bytes: &[u8]) {
    execute(target, || {
        let found = Found::of(target, bytes, open());
        if let Some(failure) = &found.failure {
            let token = found.token(failure);
            panic!("{}: {}\n\n{}\nifnet replay {token}", failure.kind, failure.message, found.source.text);
        }
    });
}

/// Plays an input of a target that has its oracles with it.
///
/// # Panics
/// If it fails; the message is what was wrong, and the scenario.
pub fn pass(target: Target, bytes: &[u8]) {
    execute(target, || check(target, bytes, open()).unwrap_or_else(|what| panic!("{what}")));
}

/// The scenario that an input of `schedule` or `oom` comes to when it is played.
#[must_use]
pub fn scenario_of(target: Target, bytes: &[u8]) -> String {
    text(target, bytes, open())
}

/// Runs a program beside the reference model.
///
/// # Panics
/// If they differ.
pub fn compare(program: &Program) {
    let config = Config::default().hazards(open());
    execute(Target::Lifecycle, || check_with(&config, program).unwrap_or_else(|difference| panic!("{difference}")));
}

/// Changes an input of `schedule` or `oom` in place and gives its new size, which is at most `max`.
pub fn change(data: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    match mutate(&data[..size], max.min(data.len()), seed.into()) {
        Some(changed) => {
            data[..changed.len()].copy_from_slice(&changed);
            changed.len()
        }
        None => fuzzer_mutate(data, size, max),
    }
}
