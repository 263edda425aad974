//! Makes a failing schedule short: the fewest preemptions, then the fewest switches, then the fewest steps.
//!
//! Two ways, both bounded by a number of executions and therefore deterministic. First the failing schedule is thinned
//! out: runs are removed one by one, and the rest is followed leniently, which is quick and works for long programs.
//! Then the systematic search looks for the same failure with fewer preemptions than what is left; where it gets to the
//! end of a bound, the result is the minimum.

use super::dfs::Dfs;
use super::engine::{self, Limits};
use super::strategy::{Replay, Strategy};
use super::{Failure, Program, Schedule};

/// What is made small, most important first.
fn cost(failure: &Failure) -> (u32, usize, u64) {
    (failure.preemptions, failure.schedule.runs.len(), failure.steps)
}

/// The shortest schedule found that ends in the same kind of failure with the same message.
pub(super) fn shrink(program: &Program, failure: Failure, limits: Limits, budget: u64) -> Failure {
    let mut best = failure;
    let mut left = budget / 2;
    thin_out(program, &mut best, limits, &mut left);
    search(program, &mut best, limits, budget / 2);
    thin_out(program, &mut best, limits, &mut left);
    best
}

fn thin_out(program: &Program, best: &mut Failure, limits: Limits, left: &mut u64) {
    // Larger pieces first: halves, quarters, … single runs; again from the start after each success at the finest level.
    let mut piece = best.schedule.runs.len().div_ceil(2).max(1);
    loop {
        let mut improved = false;
        let mut at = 0;
        while at < best.schedule.runs.len() {
            if *left == 0 {
                return;
            }
            *left -= 1;
            match replay(program, cut(&best.schedule, at, piece), limits) {
                Some(found) if found.is_same(best) && cost(&found) < cost(best) => {
                    *best = found;
                    improved = true;
                }
                _ => at += piece,
            }
        }
        match (piece, improved) {
            (1, false) => return,
            (1, true) => {}
            _ => piece = piece.div_ceil(2),
        }
    }
}

fn cut(schedule: &Schedule, at: usize, piece: usize) -> Schedule {
    let last = (at + piece).min(schedule.runs.len());
    (at..last).rev().fold(schedule.clone(), |rest, run| if run < rest.runs.len() { rest.without(run) } else { rest })
}

/// Looks for the same failure with fewer preemptions, from none upwards.
fn search(program: &Program, best: &mut Failure, limits: Limits, mut left: u64) {
    let Some(bound) = best.preemptions.checked_sub(1) else { return };
    let mut dfs: Box<dyn Strategy> = Box::new(Dfs::new(bound, left as usize));
    while left > 0 {
        let batch = engine::run(program, &mut dfs, Limits { schedules: left, recording: false, ..limits });
        left -= batch.schedules.min(left);
        match batch.failure {
            Some(found) if found.is_same(best) => {
                *best = found;
                return;
            }
            Some(_) => {}
            None => return,
        }
    }
}

/// Follows a schedule and returns the failure that it leads to, if any.
pub(super) fn replay(program: &Program, schedule: Schedule, limits: Limits) -> Option<Failure> {
    let mut strategy: Box<dyn Strategy> = Box::new(Replay::new(schedule));
    engine::run(program, &mut strategy, Limits { schedules: 1, ..limits }).failure
}
