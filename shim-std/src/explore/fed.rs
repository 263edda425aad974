//! Executions whose decisions come from outside, one after the other on the same stacks: for fuzz targets.
//!
//! A fuzzer runs thousands of tiny executions a second. To make a runner, with its stacks, for each of them costs more than
//! the execution. So one OS thread keeps a runner, and the fuzzer's thread hands it one [`Feed`] after the other.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::engine::{self, Limits};
use super::execution::{Execution, ThreadIndex};
use super::strategy::{Decision, Strategy};
use super::{Explorer, Failure, Program, Verdict};

/// One execution: its program and its decisions.
pub trait Feed: Send + Sync {
    /// Runs the program.
    ///
    /// # Errors
    /// What an oracle saw.
    fn run(self: Arc<Self>, execution: &Execution) -> Verdict;

    /// Picks one of `candidates`, which are at least two and ascend. `current` ran last, if it may go on; when `yielding`
    /// it wants to be passed by.
    fn choose(&self, candidates: &[usize], current: Option<usize>, yielding: bool) -> usize;
}

/// Runs executions one by one. Dropping it ends its thread.
#[derive(Debug)]
pub struct Player {
    feeds: Sender<Arc<dyn Feed>>,
    ends: Receiver<Option<Failure>>,
}

impl Player {
    /// A player with the limits of `explorer`: steps, and bytes of a stack.
    #[must_use]
    pub fn new(explorer: &Explorer) -> Self {
        Self::with(Limits { schedules: u64::MAX, ..explorer.limits() })
    }

    /// The same, with the log of what failed.
    #[must_use]
    pub fn recording(explorer: &Explorer) -> Self {
        Self::with(Limits { schedules: u64::MAX, recording: true, ..explorer.limits() })
    }

    fn with(limits: Limits) -> Self {
        let (feeds, inbox) = channel::<Arc<dyn Feed>>();
        let (outbox, ends) = channel();
        thread::spawn(move || {
            let now: Arc<Mutex<Option<Arc<dyn Feed>>>> = Arc::default();
            let of_now = Arc::clone(&now);
            let program: Program = Arc::new(move |execution| {
                let feed = of_now.lock().unwrap_or_else(PoisonError::into_inner).clone();
                feed.map_or(Ok(()), |feed| feed.run(execution))
            });
            let fed = Fed { inbox, outbox: outbox.clone(), now, running: None, over: false };
            let fed = Arc::new(Mutex::new(fed));
            while !fed.lock().unwrap_or_else(PoisonError::into_inner).over {
                let mut strategy: Box<dyn Strategy> = Box::new(Handle(Arc::clone(&fed)));
                let failure = engine::run(&program, &mut strategy, limits).failure;
                let mut fed = fed.lock().unwrap_or_else(PoisonError::into_inner);
                // An execution that failed ends the batch; the next one begins another.
                if fed.running.take().is_some() {
                    fed.over |= outbox.send(failure).is_err();
                }
            }
        });
        Self { feeds, ends }
    }

    /// Runs one execution to its end and gives its failure.
    #[must_use]
    pub fn play(&self, feed: Arc<dyn Feed>) -> Option<Failure> {
        // The thread lives as long as this does.
        let _ = self.feeds.send(feed);
        self.ends.recv().ok().flatten()
    }
}

struct Fed {
    inbox: Receiver<Arc<dyn Feed>>,
    outbox: Sender<Option<Failure>>,
    now: Arc<Mutex<Option<Arc<dyn Feed>>>>,
    running: Option<Arc<dyn Feed>>,
    over: bool,
}

/// The strategy of a batch; the state outlives it.
struct Handle(Arc<Mutex<Fed>>);

impl Strategy for Handle {
    /// What ran before has not failed, or this would not be called.
    fn begin(&mut self) -> bool {
        let mut fed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if fed.running.take().is_some() && fed.outbox.send(None).is_err() {
            fed.over = true;
        }
        let Ok(feed) = fed.inbox.recv() else {
            fed.over = true;
            return false;
        };
        *fed.now.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&feed));
        fed.running = Some(feed);
        true
    }

    fn choose(&mut self, Decision { candidates, current, yielding }: Decision<'_>) -> ThreadIndex {
        let fed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fed.running.as_ref().map_or(candidates[0], |feed| feed.choose(candidates, current, yielding))
    }
}

#[cfg(test)]
mod tests {
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
    fn a_player_goes_on_after_a_failure() {
        let player = Player::new(&Explorer::default());
        for _ in 0..50 {
            assert_eq!(player.play(Arc::new(Race(1, Mutex::default()))), None);
            let failure = player.play(Arc::new(Race(2, Mutex::default()))).expect("the first was last");
            assert_eq!((failure.kind, &*failure.message), (FailureKind::Panic, "the first was last"));
        }
    }
}
