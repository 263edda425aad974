//! A schedule: which thread ran at each decision, as runs of equal choices.

use super::execution::ThreadIndex;

/// The decisions of one execution, as runs: this thread was chosen at so many decisions in a row.
///
/// Points at which only one thread could run are not in it. Together with the program it determines the execution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// The runs: thread (0 is the first) and number of decisions, at least 1; neighbours differ.
    pub runs: Vec<(u32, u32)>,
}

impl Schedule {
    /// The thread chosen at each decision.
    pub(super) fn choices(&self) -> impl Iterator<Item = u32> {
        self.runs.iter().flat_map(|&(thread, count)| core::iter::repeat_n(thread, count as usize))
    }

    /// Appends a run, joining it with the last one when the thread is the same.
    pub(super) fn push(&mut self, thread: u32, count: u32) {
        match self.runs.last_mut() {
            Some((last, n)) if *last == thread => *n = n.saturating_add(count),
            _ => self.runs.push((thread, count)),
        }
    }

    /// Number of decisions.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.runs.iter().map(|&(_, count)| u64::from(count)).sum()
    }

    /// Whether there was nothing to decide.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The schedule without one run.
    pub(super) fn without(&self, run: usize) -> Self {
        let mut rest = Self::default();
        for (i, &(thread, count)) in self.runs.iter().enumerate() {
            if i != run {
                rest.push(thread, count);
            }
        }
        rest
    }
}

/// Walks along a schedule, leniently: a run whose thread cannot run is skipped, and after the end the current thread goes
/// on for as long as it can. On the execution that it was recorded from it repeats each choice.
#[derive(Debug)]
pub(super) struct Follow {
    schedule: Schedule,
    run: usize,
    used: u32,
}

impl Follow {
    pub(super) fn new(schedule: Schedule) -> Self {
        Self { schedule, run: 0, used: 0 }
    }

    pub(super) fn next(&mut self, candidates: &[ThreadIndex], current: Option<ThreadIndex>) -> ThreadIndex {
        while let Some(&(thread, count)) = self.schedule.runs.get(self.run) {
            if self.used < count && candidates.contains(&(thread as usize)) {
                self.used += 1;
                return thread as usize;
            }
            self.run += 1;
            self.used = 0;
        }
        current.unwrap_or(candidates[0])
    }
}
