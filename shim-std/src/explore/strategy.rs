//! How the next thread is chosen. Each strategy is a pure function of its seed and of the number of the execution, so a
//! search can be cut into pieces for several OS threads and still finds the same thing.

use super::execution::ThreadIndex;
use super::schedule::{Follow, Schedule};

/// A decision that has to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision<'a> {
    /// The threads that may run, ascending; at least two.
    pub(super) candidates: &'a [ThreadIndex],
    /// The thread that ran last, if it may go on. Choosing another one is a preemption, unless it is yielding.
    pub(super) current: Option<ThreadIndex>,
    /// The current thread is in a waiting loop and wants others to run.
    pub(super) yielding: bool,
}

/// A way to choose.
pub(super) trait Strategy: Send {
    /// An execution begins. `false`: nothing is left to be tried.
    fn begin(&mut self) -> bool;

    /// Picks one of the candidates.
    fn choose(&mut self, decision: Decision<'_>) -> ThreadIndex;

    /// After a choice to let `current` go on: how many more decisions will be the same, while the same threads may run. It
    /// is told afterwards how many of these came, and not asked about them.
    fn stays(&mut self, current: ThreadIndex) -> u32 {
        let _ = current;
        0
    }

    /// So many decisions that [`stays`](Self::stays) has spoken of were made.
    fn stayed(&mut self, current: ThreadIndex, count: u32) {
        let _ = (current, count);
    }

    /// The execution has ended; this was decided in it.
    fn end(&mut self, schedule: &Schedule) {
        let _ = schedule;
    }

    /// All schedules with at most so many deviations have been run.
    fn exhausted_bound(&self) -> Option<u32> {
        None
    }

    /// All schedules have been run.
    fn is_complete(&self) -> bool {
        false
    }
}

/// A small random number generator (splitmix64): the same numbers on every machine and in every version.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        rng.next();
        rng
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// The numbers of the executions that one piece of a search runs: every `stride`-th from `next`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) next: u64,
    pub(super) stride: u64,
}

impl Numbers {
    fn take(&mut self) -> u64 {
        let number = self.next;
        self.next += self.stride;
        number
    }
}

/// Probabilistic concurrency testing: threads have random priorities, the highest runs, and at `depth - 1` random
/// moments the running thread falls to the bottom. Finds a bug of depth d in n threads and k steps with probability at
/// least `1 / (n * k^(d-1))`. The depth cycles through 1 to 4.
#[derive(Debug)]
pub(super) struct Pct {
    seed: u64,
    numbers: Numbers,
    /// The number of decisions that change points are drawn from.
    length: usize,
    rng: Rng,
    priorities: Vec<u64>,
    change_points: Vec<usize>,
    decisions: usize,
    lowest: u64,
}

impl Pct {
    /// The deepest bug that is looked for.
    const MAX_DEPTH: u64 = 4;

    pub(super) fn new(seed: u64, numbers: Numbers, length: usize) -> Self {
        let rng = Rng::new(seed, 0);
        Self { seed, numbers, length, rng, priorities: vec![], change_points: vec![], decisions: 0, lowest: 0 }
    }
}

impl Strategy for Pct {
    fn begin(&mut self) -> bool {
        let number = self.numbers.take();
        self.rng = Rng::new(self.seed, number);
        self.priorities.clear();
        self.decisions = 0;
        self.lowest = 1 << 32;
        self.change_points.clear();
        for _ in 0..number % Self::MAX_DEPTH {
            let point = self.rng.below(self.length.max(1));
            self.change_points.push(point);
        }
        true
    }

    fn choose(&mut self, Decision { candidates, current, yielding }: Decision<'_>) -> ThreadIndex {
        let last = candidates[candidates.len() - 1];
        while self.priorities.len() <= last {
            let priority = self.rng.next() | 1 << 63;
            self.priorities.push(priority);
        }
        if let Some(current) = current
            && (yielding || self.change_points.contains(&self.decisions))
        {
            self.lowest -= 1;
            self.priorities[current] = self.lowest;
        }
        self.decisions += 1;
        candidates.iter().copied().max_by_key(|&thread| self.priorities[thread]).unwrap_or(last)
    }
}

/// A random walk that likes to stay: the current thread goes on with a probability that differs between executions, so
/// that both quick alternation and long runs occur.
#[derive(Debug)]
pub(super) struct Random {
    seed: u64,
    numbers: Numbers,
    rng: Rng,
    /// One in so many decisions leaves the current thread.
    leave: usize,
}

impl Random {
    pub(super) fn new(seed: u64, numbers: Numbers) -> Self {
        Self { seed, numbers, rng: Rng::new(seed, 0), leave: 2 }
    }
}

impl Strategy for Random {
    fn begin(&mut self) -> bool {
        let number = self.numbers.take();
        self.rng = Rng::new(self.seed, number);
        self.leave = 2 << (number % 5);
        true
    }

    fn choose(&mut self, Decision { candidates, current, yielding }: Decision<'_>) -> ThreadIndex {
        match current {
            Some(current) if !yielding && self.rng.below(self.leave) != 0 => current,
            _ => candidates[self.rng.below(candidates.len())],
        }
    }
}

/// Follows one schedule, once.
#[derive(Debug)]
pub(super) struct Replay(Option<Schedule>, Follow);

impl Replay {
    pub(super) fn new(schedule: Schedule) -> Self {
        Self(Some(schedule), Follow::new(Schedule::default()))
    }
}

impl Strategy for Replay {
    fn begin(&mut self) -> bool {
        self.0.take().map(|schedule| self.1 = Follow::new(schedule)).is_some()
    }

    fn choose(&mut self, decision: Decision<'_>) -> ThreadIndex {
        self.1.next(decision.candidates, decision.current)
    }
}
