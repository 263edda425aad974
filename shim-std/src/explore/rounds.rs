//! The search in rounds: pieces of work for several OS threads whose result does not depend on who does them.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::dfs::Dfs;
use super::engine::{self, Batch, Limits};
use super::progress::Progress;
use super::strategy::{Numbers, Pct, Random, Strategy};
use super::{Explorer, Failure, Program, Report, StrategyName, StrategyReport};

/// Schedules per strategy in the first round; each round is four times the one before, up to [`LAST_ROUND`].
const FIRST_ROUND: u64 = 64;
const LAST_ROUND: u64 = 16_384;

/// Pieces that a random strategy is cut into. The number is fixed: it is part of what makes a report reproducible.
const PIECES: u64 = 2;

/// Executions from which the length of the program is estimated.
const WALKS: u64 = 10;

/// One piece of the search: every `PIECES`-th execution of a strategy, or the whole of `dfs`.
struct Lane {
    name: StrategyName,
    piece: u64,
    pieces: u64,
    strategy: Box<dyn Strategy>,
    batch: Batch,
    schedules: u64,
    steps: u64,
    done: bool,
}

/// Searches. The failure in the report is as it was found.
pub(super) fn search(options: &Explorer, program: &Program, progress: &dyn Progress) -> Report {
    let mut lanes = lanes(options, program);
    let share = options.schedules.div_ceil(options.strategies.len().max(1) as u64);
    let done = AtomicU64::new(0);
    let (mut round, mut found) = (FIRST_ROUND, None);
    let mut spent = 0;
    while found.is_none() && spent < share && lanes.iter().any(|lane| !locked(lane).done) {
        let size = round.min(share - spent);
        run_round(options, program, &lanes, size, &done, progress);
        spent += size;
        round = (round * 4).min(LAST_ROUND);
        found = first_failure(&mut lanes);
    }
    report(options, lanes, found)
}

/// A lane that an OS thread can take.
type Shared = Mutex<Lane>;

fn locked(lane: &Shared) -> MutexGuard<'_, Lane> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lanes(options: &Explorer, program: &Program) -> Vec<Shared> {
    // A few walks tell how many decisions an execution has; change points are drawn from that.
    let mut walks: Box<dyn Strategy> = Box::new(Random::new(options.seed, Numbers { next: 0, stride: 1 }));
    let length = engine::run(program, &mut walks, Limits { schedules: WALKS, ..options.limits() }).longest;
    let lane = |name, piece, pieces, strategy| {
        Mutex::new(Lane { name, piece, pieces, strategy, batch: Batch::default(), schedules: 0, steps: 0, done: false })
    };
    let mut lanes = Vec::new();
    for &name in &options.strategies {
        if name == StrategyName::Dfs {
            let capacity = usize::try_from(options.schedules).unwrap_or(usize::MAX);
            lanes.push(lane(name, 0, 1, Box::new(Dfs::new(options.max_deviations, capacity)) as Box<dyn Strategy>));
            continue;
        }
        for piece in 0..PIECES {
            let numbers = Numbers { next: piece, stride: PIECES };
            let strategy: Box<dyn Strategy> = match name {
                StrategyName::Pct => Box::new(Pct::new(options.seed, numbers, length)),
                _ => Box::new(Random::new(options.seed, numbers)),
            };
            lanes.push(lane(name, piece, PIECES, strategy));
        }
    }
    lanes
}

fn run_round(
    options: &Explorer,
    program: &Program,
    lanes: &[Shared],
    size: u64,
    done: &AtomicU64,
    progress: &dyn Progress,
) {
    let next = AtomicUsize::new(0);
    let finished = AtomicUsize::new(0);
    let workers = if size <= FIRST_ROUND { 1 } else { options.os_threads.clamp(1, lanes.len().max(1)) };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(lane) = lanes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run_lane(options, program, &mut locked(lane), size, done);
                }
                finished.fetch_add(1, Ordering::Release);
            });
        }
        while finished.load(Ordering::Acquire) < workers {
            let pause = if workers == 1 { Duration::from_millis(1) } else { Duration::from_millis(20) };
            std::thread::sleep(pause);
            progress.update("exploring", done.load(Ordering::Relaxed).min(options.schedules), options.schedules);
        }
    });
    progress.update("exploring", done.load(Ordering::Relaxed).min(options.schedules), options.schedules);
}

/// Schedules between two reports of progress.
const SLICE: u64 = 256;

fn run_lane(options: &Explorer, program: &Program, lane: &mut Lane, size: u64, done: &AtomicU64) {
    let mut left = (size + lane.pieces - 1 - lane.piece) / lane.pieces;
    while left > 0 && !lane.done {
        let limits = Limits { schedules: left.min(SLICE), ..options.limits() };
        let batch = engine::run(program, &mut lane.strategy, limits);
        lane.schedules += batch.schedules;
        lane.steps += batch.steps;
        done.fetch_add(batch.schedules, Ordering::Relaxed);
        left -= batch.schedules.min(left);
        lane.done = batch.failure.is_some() || batch.schedules < limits.schedules;
        lane.batch = batch;
    }
}

/// The failure that took the fewest schedules of its strategy; the order of the strategies decides between equals.
fn first_failure(lanes: &mut [Shared]) -> Option<(StrategyName, u64, Failure)> {
    let number = |lane: &Lane| (lane.schedules - 1) * lane.pieces + lane.piece + 1;
    let mut lanes: Vec<_> = lanes.iter().map(locked).collect();
    let first = lanes.iter_mut().filter(|lane| lane.batch.failure.is_some()).min_by_key(|lane| number(lane))?;
    let (name, number) = (first.name, number(first));
    first.batch.failure.take().map(|failure| (name, number, failure))
}

fn report(options: &Explorer, lanes: Vec<Shared>, found: Option<(StrategyName, u64, Failure)>) -> Report {
    let strategies: Vec<_> = (options.strategies.iter())
        .map(|&name| {
            let of_name: Vec<_> = lanes.iter().map(locked).filter(|lane| lane.name == name).collect();
            StrategyReport {
                name,
                schedules: of_name.iter().map(|lane| lane.schedules).sum(),
                steps: of_name.iter().map(|lane| lane.steps).sum(),
                exhausted_bound: of_name.iter().find_map(|lane| lane.strategy.exhausted_bound()),
                complete: of_name.iter().any(|lane| lane.strategy.is_complete()),
                found_after: found.as_ref().filter(|(by, ..)| *by == name).map(|&(_, number, _)| number),
            }
        })
        .collect();
    Report {
        schedules: strategies.iter().map(|strategy| strategy.schedules).sum(),
        steps: strategies.iter().map(|strategy| strategy.steps).sum(),
        failure: found.map(|(.., failure)| failure),
        strategies,
    }
}
