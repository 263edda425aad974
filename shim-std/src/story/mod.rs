//! A failing execution as a story: one lane per thread, rows in the order in which things happened.
//!
//! The log of an execution says everything; a story says what matters. Locks that nobody had to wait for and that nobody
//! holds at the end are left out, taking a lock is one row, and a remark says how much was left out. What remains is in
//! order, shows each switch of threads, and who holds and who waits for a lock at every moment.
//!
//! [`Story`] is plain data. [`text`] renders it for a terminal, [`html`] as a page, [`json`] for programs.

pub mod html;
pub mod json;
pub mod text;

use std::collections::BTreeSet;

use ifnet::platform::LockEvent;

use crate::explore::{Failure, FailureKind, LogEntry, What};

/// A failing execution, ready to be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// How it failed: `panic`, `deadlock`, …
    pub kind: String,
    /// The text of the failure.
    pub message: String,
    /// The lanes, left to right.
    pub lanes: Vec<String>,
    /// What happened, top to bottom.
    pub rows: Vec<Row>,
    /// The locks at the end, in words.
    pub locks: Vec<String>,
    /// Switches away from a thread that could have gone on.
    pub preemptions: u32,
    /// Scheduling points.
    pub steps: u64,
    /// Lock operations that were left out.
    pub left_out: usize,
}

/// One row of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Number of scheduling points before it.
    pub step: u64,
    /// The lane in which it happened.
    pub lane: usize,
    /// What kind of row.
    pub class: Class,
    /// The words.
    pub text: String,
    /// The state of each lane after it.
    pub lanes: Vec<Lane>,
}

/// What kind of row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Another thread goes on; `text` is empty, `lane` is the new one.
    Switch {
        /// The lane that ran before.
        from: usize,
    },
    /// A command starts.
    Command,
    /// A command ended.
    End,
    /// The core reported an event.
    Trace,
    /// A lock was taken, waited for, or released.
    Lock,
    /// A remark, or a reversal of lock order.
    Note,
    /// The failure.
    Failed,
}

/// The state of a thread at a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// It is between its first and its last row.
    pub alive: bool,
    /// The locks it holds, in the order in which they were taken. A shared one is marked.
    pub holds: Vec<String>,
    /// The lock it waits for.
    pub waits: Option<String>,
}

impl Story {
    /// Makes the story of a recorded failure.
    #[must_use]
    pub fn of(failure: &Failure) -> Self {
        Builder::new(failure).build()
    }
}

/// Walks through the log once.
struct Builder<'a> {
    failure: &'a Failure,
    /// Lane of each thread; threads without an entry have none.
    lane_of: Vec<Option<usize>>,
    shown_locks: BTreeSet<&'a str>,
    /// First and last entry of each lane.
    spans: Vec<(usize, usize)>,
    lanes: Vec<Lane>,
    rows: Vec<Row>,
    left_out: usize,
}

impl<'a> Builder<'a> {
    fn new(failure: &'a Failure) -> Self {
        let mut lane_of = vec![None; failure.threads.len()];
        let mut spans = Vec::new();
        for (of, lane) in lane_of.iter_mut().enumerate() {
            let first = failure.log.iter().position(|entry| thread(entry) == of);
            if let (Some(first), Some(last)) = (first, failure.log.iter().rposition(|entry| thread(entry) == of)) {
                *lane = Some(spans.len());
                spans.push((first, last));
            }
        }
        let lanes = vec![Lane::default(); spans.len()];
        Self { failure, lane_of, shown_locks: interesting(&failure.log), spans, lanes, rows: vec![], left_out: 0 }
    }

    fn build(mut self) -> Story {
        let log = &self.failure.log;
        let mut at = 0;
        while at < log.len() {
            at += self.entry(at).max(1);
        }
        let Failure { kind, message, threads, preemptions, steps, .. } = self.failure;
        let mut names = vec![String::new(); self.lanes.len()];
        for (thread, lane) in self.lane_of.iter().enumerate() {
            if let Some(lane) = *lane {
                names[lane].clone_from(&threads[thread]);
            }
        }
        let locks = locks_at_end(&names, &self.lanes);
        Story {
            kind: kind.to_string(),
            message: message.clone(),
            lanes: names,
            rows: collapse(self.rows),
            locks,
            preemptions: *preemptions,
            steps: *steps,
            left_out: self.left_out,
        }
    }

    /// Tells the entry at this place; returns how many entries that covers.
    fn entry(&mut self, at: usize) -> usize {
        let entry = &self.failure.log[at];
        let Some(lane) = self.lane_of.get(thread(entry)).copied().flatten() else { return 1 };
        let (class, text) = match &entry.what {
            What::Command(text) => (Class::Command, format!("$ {text}")),
            What::CommandEnd(text) => (Class::End, format!("-> {text}")),
            What::Trace(text) => (Class::Trace, text.clone()),
            What::Note(text) => (Class::Note, text.clone()),
            What::Reversal(text) => (Class::Note, format!("lock order reversal: {text}")),
            What::Failed(text) => {
                // A deadlock belongs to no thread: no switch to the one that happened to run last.
                let deadlock = self.failure.kind == FailureKind::Deadlock;
                let lane = self.rows.last().filter(|_| deadlock).map_or(lane, |row| row.lane);
                self.row(at, lane, Class::Failed, text.clone());
                return 1;
            }
            What::Lock { lock, event } => return self.lock(at, lane, lock, *event),
        };
        self.row(at, lane, class, text);
        1
    }

    fn lock(&mut self, at: usize, lane: usize, lock: &str, event: LockEvent) -> usize {
        // Waiting and acquiring with nothing in between is one thing: taking.
        let log = &self.failure.log;
        let taken_at_once = |next: &LogEntry| {
            thread(next) == thread(&log[at])
                && matches!(&next.what, What::Lock { lock: other, event: LockEvent::Acquired { .. } } if other == lock)
        };
        let (event, covered) = match (event, log.get(at + 1)) {
            (LockEvent::Waiting, Some(next)) if taken_at_once(next) => match next.what {
                What::Lock { event, .. } => (event, 2),
                _ => (event, 1),
            },
            _ => (event, 1),
        };
        let text = match event {
            LockEvent::Waiting => {
                let holder = (self.lanes.iter()).position(|lane| lane.holds.iter().any(|held| plain(held) == lock));
                self.lanes[lane].waits = Some(lock.into());
                match holder.and_then(|holder| self.lane_of.iter().position(|&lane| lane == Some(holder))) {
                    Some(thread) => format!("waits for {lock}, held by {}", self.failure.threads[thread]),
                    None => format!("waits for {lock}"),
                }
            }
            LockEvent::Acquired { exclusive } => {
                let had_to_wait = self.lanes[lane].waits.take().is_some();
                let shared = if exclusive { "" } else { " (shared)" };
                let other = if exclusive { format!("{lock} (shared)") } else { lock.to_owned() };
                let verb = match self.lanes[lane].holds.iter().position(|held| *held == other) {
                    // An upgrade or a downgrade; otherwise it is another lock of that name.
                    Some(held) => {
                        self.lanes[lane].holds.remove(held);
                        if exclusive { "upgrades" } else { "downgrades to" }
                    }
                    None if had_to_wait => "gets",
                    None => "takes",
                };
                self.lanes[lane].holds.push(format!("{lock}{shared}"));
                format!("{verb} {lock}{shared}")
            }
            LockEvent::Released => {
                let holds = &mut self.lanes[lane].holds;
                if let Some(held) = holds.iter().rposition(|held| plain(held) == lock) {
                    holds.remove(held);
                }
                format!("releases {lock}")
            }
        };
        if self.shown_locks.contains(lock) {
            self.row(at, lane, Class::Lock, text);
        } else {
            self.left_out += 1;
        }
        covered
    }

    fn row(&mut self, at: usize, lane: usize, class: Class, text: String) {
        let mut lanes = self.lanes.clone();
        for (state, &(first, last)) in lanes.iter_mut().zip(&self.spans) {
            let stuck = state.waits.is_some() || !state.holds.is_empty();
            state.alive = first <= at && (at <= last || stuck);
        }
        let step = self.failure.log[at].step;
        if let Some(from) = self.rows.last().map(|row| row.lane).filter(|&from| from != lane) {
            let class = Class::Switch { from };
            self.rows.push(Row { step, lane, class, text: String::new(), lanes: lanes.clone() });
        }
        self.rows.push(Row { step, lane, class, text, lanes });
    }
}

/// How many events in a row are told in full.
const FULL: usize = 8;

/// Shortens long runs of events in one lane to their ends: what led to a failure is rarely in the middle of them.
fn collapse(rows: Vec<Row>) -> Vec<Row> {
    let mut short: Vec<Row> = Vec::new();
    let same = |a: &Row, b: &Row| a.class == Class::Trace && b.class == Class::Trace && a.lane == b.lane;
    for run in rows.chunk_by(same) {
        if run.len() <= FULL {
            short.extend_from_slice(run);
            continue;
        }
        let (head, tail) = (&run[..FULL / 2], &run[run.len() - FULL / 2 + 1..]);
        short.extend_from_slice(head);
        let text = format!("… {} more events …", run.len() - head.len() - tail.len());
        short.push(Row { class: Class::Note, text, ..run[FULL / 2].clone() });
        short.extend_from_slice(tail);
    }
    short
}

fn thread(entry: &LogEntry) -> usize {
    entry.thread.0.get() as usize - 1
}

fn plain(held: &str) -> &str {
    held.strip_suffix(" (shared)").unwrap_or(held)
}

/// The locks that somebody had to wait for, or that are held or wanted at the end.
fn interesting(log: &[LogEntry]) -> BTreeSet<&str> {
    let mut shown = BTreeSet::new();
    let mut open: Vec<(usize, &str)> = Vec::new();
    for (at, entry) in log.iter().enumerate() {
        let What::Lock { lock, event } = &entry.what else { continue };
        let me = (thread(entry), &**lock);
        match event {
            LockEvent::Waiting => {
                let next = log[at + 1..].iter().find(|next| thread(next) == me.0);
                let contended = open.iter().any(|&(other, held)| other != me.0 && held == me.1);
                let got = next.is_some_and(
                    |next| matches!(&next.what, What::Lock { lock: l, event: LockEvent::Acquired { .. } } if l == lock),
                );
                if contended || !got {
                    shown.insert(me.1);
                }
            }
            LockEvent::Acquired { .. } => open.push(me),
            LockEvent::Released => {
                if let Some(held) = open.iter().rposition(|&held| held == me) {
                    open.remove(held);
                }
            }
        }
    }
    shown.extend(open.into_iter().map(|(_, lock)| lock));
    shown
}

fn locks_at_end(names: &[String], lanes: &[Lane]) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, lane) in names.iter().zip(lanes) {
        if !lane.holds.is_empty() {
            lines.push(format!("{name} holds {}", lane.holds.join(", ")));
        }
        if let Some(lock) = &lane.waits {
            lines.push(format!("{name} waits for {lock}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests;
