//! Executions whose decisions come from outside, one at a time: for fuzz targets.
//!
//! The execution runs on the calling OS thread, which keeps the stacks for the next one. A thread of its own was tried: on a
//! busy machine the two wake-ups that each execution then needs cost a hundred times what they save.

use std::sync::Arc;

use super::engine::{self, Limits};
use super::execution::{Execution, ThreadIndex};
use super::strategy::{Decision, Strategy};
use super::{Explorer, Failure, Program, Verdict};

/// One execution: its program and its decisions.
pub trait Feed: Send + Sync + 'static {
    /// Runs the program.
    ///
    /// # Errors
    /// What an oracle saw.
    fn run(self: Arc<Self>, execution: &Execution) -> Verdict;

    /// Picks one of `candidates`, which are at least two and ascend. `current` ran last, if it may go on; when `yielding`
    /// it wants to be passed by.
    fn choose(&self, candidates: &[usize], current: Option<usize>, yielding: bool) -> usize;

    /// After a choice to let `current` go on: how many more decisions will be the same, while the same threads may run. It
    /// is told afterwards how many of these came, and not asked about them. [`Execution::reconsider`] takes it back.
    fn stays(&self, current: usize) -> u32 {
        let _ = current;
        0
    }

    /// So many decisions that [`stays`](Self::stays) has spoken of were made.
    fn stayed(&self, current: usize, count: u32) {
        let _ = (current, count);
    }
}

impl Explorer {
    /// Runs one execution to its end, with the limits of this explorer, and gives its failure; with its log if
    /// `recording`.
    #[must_use]
    pub fn play(&self, feed: &Arc<impl Feed>, recording: bool) -> Option<Failure> {
        let own = Arc::clone(feed);
        let program: Program = Arc::new(move |execution| Arc::clone(&own).run(execution));
        let mut strategy: Box<dyn Strategy> = Box::new(Once { feed: Arc::clone(feed), over: false });
        engine::run(&program, &mut strategy, Limits { recording, ..self.limits() }).failure
    }
}

/// The strategy of one execution.
struct Once<F> {
    feed: Arc<F>,
    over: bool,
}

impl<F: Feed> Strategy for Once<F> {
    fn begin(&mut self) -> bool {
        !core::mem::replace(&mut self.over, true)
    }

    fn choose(&mut self, Decision { candidates, current, yielding }: Decision<'_>) -> ThreadIndex {
        self.feed.choose(candidates, current, yielding)
    }

    fn stays(&mut self, current: ThreadIndex) -> u32 {
        self.feed.stays(current)
    }

    fn stayed(&mut self, current: ThreadIndex, count: u32) {
        self.feed.stayed(current, count);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::explore::FailureKind;

    /// Two threads of which the one that runs last must be the second.
    struct Race(usize, Mutex<usize>);

    impl Feed for Race {
        fn run(self: Arc<Self>, execution: &Execution) -> Verdict {
            let threads = [1, 2].map(|n| {
                let race = Arc::clone(&self);
                execution.spawn(n.to_string(), move |execution| {
                    execution.point();
                    *race.1.lock().unwrap() = n;
                })
            });
            execution.join(&threads);
            if *self.1.lock().unwrap() == 1 {
                execution.kernel_panic("the first was last");
            }
            Ok(())
        }

        fn choose(&self, candidates: &[usize], _: Option<usize>, _: bool) -> usize {
            if candidates.contains(&self.0) { self.0 } else { candidates[0] }
        }
    }

    #[test]
    fn one_execution_after_the_other_fails_or_not() {
        let explorer = Explorer::default();
        for _ in 0..50 {
            assert_eq!(explorer.play(&Arc::new(Race(1, Mutex::default())), false), None);
            let failure = explorer.play(&Arc::new(Race(2, Mutex::default())), false).expect("the first was last");
            assert_eq!((failure.kind, &*failure.message), (FailureKind::Panic, "the first was last"));
        }
    }
}
