//! What is known of an execution while it runs: its threads, and who of them may run.

use std::borrow::Cow;

use super::grant::Grant;
use crate::explore::FailureKind;
use crate::explore::log::LogEntry;

pub(in crate::explore) type ThreadIndex = usize;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) threads: Vec<Thread>,
    pub(super) current: ThreadIndex,
    pub(super) steps: u64,
    pub(super) log: Vec<LogEntry>,
    pub(super) failure: Option<(FailureKind, String, ThreadIndex)>,
    /// The thread that unwinds a Rust panic: it runs whenever it can, so that its guards are dropped.
    pub(super) unwinding: Option<ThreadIndex>,
    /// The program has returned.
    pub(super) finished: bool,
    /// The panic of the emulated kernel that is a good end, and whether it has come.
    pub(super) expected: Option<String>,
    pub(super) expected_came: bool,
    /// The next switch is an artefact of shuttle, not a scheduling point.
    pub(super) quiet: bool,
    /// Who runs after the next switch, which was decided before it.
    pub(super) decided: Option<ThreadIndex>,
    /// The points that the running thread may pass without asking.
    pub(super) grant: Grant,
    /// How many threads may run: neither blocked nor finished.
    pub(super) able: usize,
    /// Which, at a decision; kept for its memory.
    pub(super) candidates: Vec<ThreadIndex>,
}

#[derive(Debug)]
pub(super) struct Thread {
    pub(super) name: String,
    pub(super) blocked: bool,
    pub(super) finished: bool,
    /// What a sleeper waits for: the channel, and whether it was woken since it last looked.
    pub(super) sleep: Option<(usize, bool)>,
    /// The address of the mutex that it waits for.
    pub(super) mutex: Option<usize>,
    /// The words for what it waits for, if it is no lock that was announced.
    pub(super) waits_for: Option<Cow<'static, str>>,
    pub(super) waits_lock: Option<&'static str>,
    /// It is observing, not part of what is explored: its points are none.
    pub(super) undisturbed: bool,
    /// The threads whose end it waits for.
    pub(super) joins: Vec<ThreadIndex>,
    pub(super) holds: Vec<(&'static str, bool)>,
}

impl Thread {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            blocked: false,
            finished: false,
            sleep: None,
            mutex: None,
            waits_for: None,
            waits_lock: None,
            undisturbed: false,
            joins: Vec::new(),
            holds: Vec::new(),
        }
    }
}

impl State {
    pub(super) fn add(&mut self, thread: Thread) {
        self.threads.push(thread);
        self.able += 1;
    }

    pub(super) fn set_blocked(&mut self, thread: ThreadIndex, blocked: bool) {
        let thread = &mut self.threads[thread];
        if !thread.finished && thread.blocked != blocked {
            self.able = if blocked { self.able - 1 } else { self.able + 1 };
        }
        thread.blocked = blocked;
    }
}
