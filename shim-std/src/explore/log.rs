//! The log of an execution: plain data, in the order in which things happened.

use ifnet::platform::{LockEvent, ThreadId};

/// What happened, when, and in which thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Number of scheduling points before it.
    pub step: u64,
    /// The thread.
    pub thread: ThreadId,
    /// What.
    pub what: What,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A command of the scenario starts.
    Command(String),
    /// A command ended; what came of it (`ok`, an errno, what it printed).
    CommandEnd(String),
    /// A trace record of the core.
    Trace(String),
    /// Something happened with a lock.
    Lock {
        /// The lock's name.
        lock: String,
        /// What happened.
        event: LockEvent,
    },
    /// Two locks were taken against the order seen before.
    Reversal(String),
    /// A remark of the host: a thread started, an allocation was refused.
    Note(String),
    /// The execution failed here.
    Failed(String),
}
