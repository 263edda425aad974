//! Systematic search in order of the number of deviations from one plain schedule.
//!
//! The plain schedule lets a thread run until it has to wait, and then takes the first thread that can run. To preempt a
//! thread that could go on, or to take another one than the first, is a *deviation*. Most races need one or two of them,
//! however long the program is and however many threads wait, and the number of schedules with at most `k` deviations
//! grows with the length only as its `k`-th power. (Counting preemptions alone leaves every choice after a wait free, and
//! with a handful of threads that is already too much to try.) So the plain schedule is run first, then all with one
//! deviation, and so on: the first failure found has the fewest possible, and a search that is cut short can still say
//! "all schedules with at most k deviations".
//!
//! An execution follows a *prefix* of choices and then goes on plainly. Each alternative that it passes becomes a prefix
//! of its own: in the list of the same bound if it is free (the current thread yields, in a waiting loop), in the list
//! of the next bound otherwise. Two different prefixes never lead to the same schedule, so each is run exactly once.

use std::sync::Arc;

use super::execution::ThreadIndex;
use super::schedule::Schedule;
use super::strategy::{Decision, Strategy};

/// The first `len` choices of an execution that was run, then another one.
#[derive(Clone, Debug)]
struct Prefix {
    /// The choices of the execution that passed it, shared with the other prefixes found there.
    path: Arc<[u16]>,
    len: usize,
    then: u16,
}

/// The search. See the [module](self).
#[derive(Debug)]
pub(super) struct Dfs {
    /// Prefixes with the number of deviations that is searched now; the last is run next.
    now: Vec<Prefix>,
    /// Prefixes with one deviation more.
    next: Vec<Prefix>,
    bound: u32,
    max_bound: u32,
    /// How many prefixes may wait; alternatives beyond that are dropped, and the search is not complete.
    capacity: usize,
    dropped: Dropped,
    started: bool,
    /// The execution that runs: its prefix, the choices made, and the alternatives passed (decision, thread, free).
    follow: Option<Prefix>,
    at: usize,
    passed: Vec<(usize, u16, bool)>,
}

/// Which list had to drop a prefix.
#[derive(Clone, Copy, Debug, Default)]
struct Dropped {
    now: bool,
    next: bool,
}

impl Dfs {
    pub(super) fn new(max_bound: u32, capacity: usize) -> Self {
        Self {
            now: Vec::new(),
            next: Vec::new(),
            bound: 0,
            max_bound,
            capacity,
            dropped: Dropped::default(),
            started: false,
            follow: None,
            at: 0,
            passed: Vec::new(),
        }
    }

    /// The bound that `now` belongs to has no prefix left.
    fn next_bound(&mut self) -> bool {
        while self.now.is_empty() {
            if self.dropped.now {
                return false;
            }
            if self.bound == self.max_bound || (self.next.is_empty() && !self.dropped.next) {
                return false;
            }
            self.bound += 1;
            core::mem::swap(&mut self.now, &mut self.next);
            self.now.reverse();
            self.dropped = Dropped { now: self.dropped.next, next: false };
        }
        true
    }
}

impl Strategy for Dfs {
    fn begin(&mut self) -> bool {
        if self.started && !self.next_bound() {
            return false;
        }
        self.started = true;
        self.follow = self.now.pop();
        self.at = 0;
        self.passed.clear();
        true
    }

    fn choose(&mut self, Decision { candidates, current, yielding }: Decision<'_>) -> ThreadIndex {
        let at = self.at;
        self.at += 1;
        if let Some(Prefix { path, len, then }) = &self.follow
            && at <= *len
        {
            return usize::from(if at < *len { path[at] } else { *then });
        }
        let preferred = match current {
            Some(current) if !yielding => current,
            // Passing by: never the one that yields, so that a waiting loop cannot be unrolled for ever.
            _ => candidates.iter().copied().find(|&c| Some(c) != current).unwrap_or(candidates[0]),
        };
        for &other in candidates {
            if other != preferred && !(yielding && Some(other) == current) {
                self.passed.push((at, other as u16, yielding));
            }
        }
        preferred
    }

    fn end(&mut self, schedule: &Schedule) {
        let path: Arc<[u16]> = schedule.choices().map(|thread| thread as u16).collect();
        for &(len, then, free) in self.passed.iter().rev() {
            let waiting = self.now.len() + self.next.len();
            let (list, dropped) = match free {
                true => (&mut self.now, &mut self.dropped.now),
                false => (&mut self.next, &mut self.dropped.next),
            };
            // One step beyond the last bound nothing will be run; it is enough to know that there is something.
            if waiting >= self.capacity || (!free && self.bound == self.max_bound) {
                *dropped = true;
            } else {
                list.push(Prefix { path: Arc::clone(&path), len, then });
            }
        }
    }

    fn exhausted_bound(&self) -> Option<u32> {
        match self.started && self.now.is_empty() && !self.dropped.now {
            true => Some(self.bound),
            false => self.bound.checked_sub(1),
        }
    }

    fn is_complete(&self) -> bool {
        self.exhausted_bound() == Some(self.bound) && self.next.is_empty() && !self.dropped.next
    }
}
