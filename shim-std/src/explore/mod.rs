//! Looks for the schedule that breaks a program.
//!
//! A *program* is a closure that is run many times, each time with another interleaving of the threads it starts. The
//! explorer combines three ways to choose them, because they are good at different things:
//!
//! * [`StrategyName::Dfs`] runs every schedule in order of how far it deviates from a plain one. It finds the simplest failure first
//!   and, when it comes to an end, is a proof up to its bound; on long programs it does not get past one or two.
//! * [`StrategyName::Pct`] gives threads random priorities with few changes. It reaches deep into long programs and has a
//!   known chance per run for bugs that need few ordering constraints.
//! * [`StrategyName::Random`] walks at random, preferring to stay. It has no guarantee, and is there for what the others
//!   are too orderly to meet.
//!
//! # Determinism
//!
//! The same program, options and seed give the same report on every machine: the search goes in rounds, each round is cut
//! into pieces that depend on nothing but their number, pieces are spread over OS threads, and of several failures in a
//! round the one is taken that was found after the fewest schedules of its strategy.
//!
//! # Telling the story
//!
//! A failing schedule is made short ([`Explorer::shrink`]) and run once more with the log switched on. [`Failure`] then
//! holds all that [`story`](crate::story) needs, and [`replay`](Explorer::replay) of its schedule gives it again.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
//! use ifnet_std::explore::{Execution, Explorer, Program, progress::Silent};
//!
//! let program: Program = Arc::new(|execution| {
//!     let refs = Arc::new(AtomicU32::new(0));
//!     let threads = ["one", "two"].map(|name| {
//!         let refs = Arc::clone(&refs);
//!         execution.spawn(name, move |execution: &Execution| {
//!             let seen = refs.load(Relaxed);
//!             execution.point(); // another thread may run here
//!             refs.store(seen + 1, Relaxed);
//!         })
//!     });
//!     execution.join(&threads);
//!     if refs.load(Relaxed) != 2 {
//!         execution.violation("lost update", "a reference is missing");
//!     }
//!     Ok(())
//! });
//! let failure = Explorer::default().run(&program, &Silent).failure.expect("found");
//! assert_eq!((failure.message.as_str(), failure.preemptions), ("a reference is missing", 1));
//! ```

mod dfs;
mod engine;
mod execution;
mod fed;
mod hook;
mod log;
pub mod progress;
mod rounds;
mod schedule;
mod shrink;
mod strategy;
#[cfg(test)]
mod tests;

use core::fmt;
use core::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use ifnet::platform::ThreadId;

use engine::Limits;
pub use execution::Execution;
pub(crate) use execution::point;
pub use fed::Feed;
pub use log::{LogEntry, What};
use progress::Progress;
pub use schedule::Schedule;

/// What is explored. It must be deterministic but for the schedule: no clock, no addresses, no OS threads.
pub type Program = Arc<dyn Fn(&Execution) -> Verdict + Send + Sync>;

/// What a program says about an execution that came to its end.
pub type Verdict = Result<(), OracleViolation>;

/// Something that must not be was seen. It can also be the payload of a Rust panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OracleViolation {
    /// Which oracle: `use-after-free`, `I7`, `leak`.
    pub kind: String,
    /// What it saw.
    pub message: String,
}

/// How an execution failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The emulated kernel panicked.
    Panic,
    /// Every thread waits.
    Deadlock,
    /// The execution did not end within its bound of steps.
    NoProgress,
    /// An oracle was violated; its kind.
    Violation(String),
    /// Any other Rust panic: a bug of this program rather than of the emulated one.
    #[default]
    Bug,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic => f.write_str("panic"),
            Self::Deadlock => f.write_str("deadlock"),
            Self::NoProgress => f.write_str("no progress"),
            Self::Violation(kind) => f.write_str(kind),
            Self::Bug => f.write_str("bug"),
        }
    }
}

/// An execution that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How.
    pub kind: FailureKind,
    /// The text of the panic, or what the oracle saw.
    pub message: String,
    /// The thread in which it failed.
    pub thread: ThreadId,
    /// The decisions that lead there.
    pub schedule: Schedule,
    /// How often a thread was switched away from that could have gone on.
    pub preemptions: u32,
    /// Scheduling points passed.
    pub steps: u64,
    /// What happened, in order. Empty if the execution was not recorded.
    pub log: Vec<LogEntry>,
    /// The names of the threads, in order of their numbers.
    pub threads: Vec<String>,
}

impl Default for Failure {
    fn default() -> Self {
        Self {
            kind: FailureKind::default(),
            message: String::new(),
            thread: ThreadId(NonZeroU32::MIN),
            schedule: Schedule::default(),
            preemptions: 0,
            steps: 0,
            log: Vec::new(),
            threads: Vec::new(),
        }
    }
}

impl Failure {
    /// Whether the other one is the same failure, reached perhaps in another way.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.message == other.message
    }
}

/// A way to choose schedules. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StrategyName {
    /// Systematically, by number of deviations from a plain schedule.
    Dfs,
    /// Random priorities with few changes.
    Pct,
    /// A random walk.
    Random,
}

impl StrategyName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Dfs, Self::Pct, Self::Random];
}

impl fmt::Display for StrategyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dfs => "dfs",
            Self::Pct => "pct",
            Self::Random => "random",
        })
    }
}

/// What one strategy did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrategyReport {
    /// Which.
    pub name: StrategyName,
    /// Schedules that it ran.
    pub schedules: u64,
    /// Scheduling points in them.
    pub steps: u64,
    /// All schedules with at most so many deviations were run.
    pub exhausted_bound: Option<u32>,
    /// All schedules whatsoever were run.
    pub complete: bool,
    /// After how many of its schedules it failed.
    pub found_after: Option<u64>,
}

/// What came of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Schedules run, without those that shortened the failure.
    pub schedules: u64,
    /// Scheduling points in them.
    pub steps: u64,
    /// By strategy.
    pub strategies: Vec<StrategyReport>,
    /// The failure, shortened and recorded.
    pub failure: Option<Failure>,
}

/// The options of a search. All fields have usable defaults.
#[derive(Clone, Debug)]
pub struct Explorer {
    /// Which strategies share the budget.
    pub strategies: Vec<StrategyName>,
    /// How many schedules in all.
    pub schedules: u64,
    /// What the random strategies start from.
    pub seed: u64,
    /// How many OS threads to use. The report does not depend on it.
    pub os_threads: usize,
    /// The largest number of deviations that `dfs` tries.
    pub max_deviations: u32,
    /// Scheduling points after which an execution counts as making no progress.
    pub max_steps: u64,
    /// Bytes of stack for an emulated thread.
    pub stack: usize,
    /// How many executions may be spent on shortening a failure; 0 leaves it as it was found.
    pub shrink_budget: u64,
}

impl Default for Explorer {
    fn default() -> Self {
        Self {
            strategies: StrategyName::ALL.to_vec(),
            schedules: 10_000,
            seed: 1,
            os_threads: processors().min(8),
            max_deviations: 4,
            max_steps: 100_000,
            stack: 256 * 1024,
            shrink_budget: 5_000,
        }
    }
}

/// How many threads run at the same time on this machine. Asked once: the answer is in files.
fn processors() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

impl Explorer {
    /// Searches until the budget is spent, everything has been tried, or a failure is found; the failure is shortened
    /// and recorded.
    #[must_use]
    pub fn run(&self, program: &Program, progress: &dyn Progress) -> Report {
        let mut report = rounds::search(self, program, progress);
        if let Some(failure) = report.failure.take() {
            let failure = self.shrink(program, failure);
            report.failure = Some(self.replay(program, &failure.schedule).unwrap_or(failure));
        }
        progress.finish();
        report
    }

    /// A shorter schedule that fails in the same way; the given one, if there is none.
    #[must_use]
    pub fn shrink(&self, program: &Program, failure: Failure) -> Failure {
        shrink::shrink(program, failure, self.limits(), self.shrink_budget)
    }

    /// Runs one schedule and records it. `None` if nothing fails.
    #[must_use]
    pub fn replay(&self, program: &Program, schedule: &Schedule) -> Option<Failure> {
        shrink::replay(program, schedule.clone(), Limits { recording: true, ..self.limits() })
    }

    fn limits(&self) -> Limits {
        Limits { schedules: 1, max_steps: self.max_steps, stack: self.stack, recording: false }
    }
}
