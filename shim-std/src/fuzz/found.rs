//! Plays inputs and tells what they are: as a scenario, with its schedule.

use ifnet::TaskMode;
use ifnet::hazard::{Hazard, HazardSet};

use super::input::{Input, Record};
use super::play::{Mode, Play};
use super::{Target, plain};
use crate::explore::{Explorer, Failure};
use crate::runner::{Boot, program};
use crate::scenario::{Source, parse};
use crate::token::Token;

/// Scheduling points after which an execution makes no progress; the programs are short.
const MAX_STEPS: u64 = 50_000;

/// What an input of `schedule` or `oom` came to.
#[derive(Clone, Debug)]
pub struct Found {
    /// The target it was played for.
    pub target: Target,
    /// What was done.
    pub source: Source,
    /// The hazards that were open.
    pub hazards: HazardSet,
    /// How it failed, without a log.
    pub failure: Option<Failure>,
}

impl Found {
    /// Plays an input; `target` is `schedule` or `oom`.
    #[must_use]
    pub fn of(target: Target, bytes: &[u8], hazards: HazardSet) -> Self {
        Self::play(target, Input::from_bytes(bytes), hazards)
    }

    /// How it fails, with the log of what happened.
    #[must_use]
    pub fn recorded(target: Target, bytes: &[u8], hazards: HazardSet) -> Option<Failure> {
        explorer().play(&Play::new(Input::from_bytes(bytes), hazards, mode(target)), true)
    }

    fn play(target: Target, input: Input, hazards: HazardSet) -> Self {
        let play = Play::new(input, hazards, mode(target));
        let failure = explorer().play(&play, false);
        // The text is needed only of what failed.
        let text = if failure.is_some() { play.text() } else { String::new() };
        Self { target, source: Source::new(target.name(), text), hazards, failure }
    }

    /// How the same scenario fails, run by the runner with the same decisions: shortened and with its log. `None` if it
    /// does not, as when memory was refused, which a scenario cannot do.
    #[must_use]
    pub fn replay(&self) -> Option<Failure> {
        let boot = Boot { tasks: Some(TaskMode::Deferred), hazards: self.hazards };
        let program = program(&self.source, &parse(&self.source).ok()?, &boot);
        let explorer = explorer();
        let found = explorer.replay(&program, &self.failure.as_ref()?.schedule)?;
        let shorter = explorer.shrink(&program, found);
        explorer.replay(&program, &shorter.schedule)
    }

    /// What shows it again, wherever: the scenario with these decisions.
    #[must_use]
    pub fn token(&self, failure: &Failure) -> String {
        let open = Hazard::ALL.iter().filter(|hazard| self.hazards.contains(hazard.set()));
        Token {
            name: self.source.name.clone(),
            text: self.source.text.clone(),
            hazards: open.map(|hazard| hazard.name().to_owned()).collect(),
            options: vec![("tasks".to_owned(), "deferred".to_owned())],
            schedule: failure.schedule.clone(),
        }
        .encode()
    }
}

fn mode(target: Target) -> Mode {
    if target == Target::Oom { Mode::Oom } else { Mode::Schedule }
}

fn explorer() -> Explorer {
    Explorer { max_steps: MAX_STEPS, shrink_budget: 2_000, ..Explorer::default() }
}

/// A smaller input that fails in the same way, after at most `budget` executions: fewer operations, then fewer switches, then
/// smaller numbers. The same bytes, if they do not fail.
#[must_use]
pub fn minimize(target: Target, bytes: &[u8], hazards: HazardSet, budget: usize) -> Vec<u8> {
    if !matches!(target, Target::Schedule | Target::Oom) {
        return plain::minimize(target, bytes, hazards, budget);
    }
    let mut best = Input::from_bytes(bytes);
    let Some(failure) = Found::play(target, best.clone(), hazards).failure else { return bytes.to_vec() };
    let mut left = budget;
    let mut fails = |input: &Input| {
        let failed = |found: Failure| found.kind == failure.kind && found.message == failure.message;
        left = left.saturating_sub(1);
        left > 0 && Found::play(target, input.clone(), hazards).failure.is_some_and(failed)
    };
    loop {
        let before = best.clone();
        // Later operations first: earlier ones make what they act on.
        for at in (0..best.records.len()).rev() {
            let mut without = best.clone();
            without.records.remove(at);
            try_with(&mut best, without, &mut fails);
        }
        for bit in 0..8 {
            let less = Input { start: best.start & !(1 << bit), ..best.clone() };
            try_with(&mut best, less, &mut fails);
        }
        let plain = Input { worker: [0; 2], forced: [0; 5], ..best.clone() };
        try_with(&mut best, plain, &mut fails);
        for at in 0..best.records.len() {
            let changes: [fn(&mut Record); 7] = [
                |it| (it.leave, it.to) = ([0; 2], 0),
                |it| it.leave[1] = 0,
                |it| it.to = 0,
                |it| it.pick[1] = 0,
                |it| it.pick[2] = 0,
                |it| it.pick[3] = 0,
                |it| it.who %= 8,
            ];
            for change in changes {
                let mut changed = best.clone();
                change(&mut changed.records[at]);
                try_with(&mut best, changed, &mut fails);
            }
        }
        if best == before {
            return best.to_bytes();
        }
    }
}

fn try_with(best: &mut Input, other: Input, fails: &mut impl FnMut(&Input) -> bool) {
    if *best != other && fails(&other) {
        *best = other;
    }
}
