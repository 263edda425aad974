//! What an execution died of, in words.

use core::any::Any;

use super::Thread;
use crate::explore::{FailureKind, OracleViolation, hook};
use crate::host::threads::KernelPanic;

/// What every thread waits for, in words that do not depend on the schedule.
pub(super) fn deadlock(threads: &[Thread]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for thread in threads.iter().filter(|thread| !thread.finished) {
        let mut line = thread.name.clone();
        let held: Vec<&str> = thread.holds.iter().map(|&(lock, _)| lock).collect();
        if !held.is_empty() {
            line += &format!(" holds {} and", held.join(", "));
        }
        line += match (thread.waits_lock, &thread.waits_for) {
            (Some(lock), _) => format!(" waits for {lock}"),
            (None, Some(words)) => format!(" waits for {words}"),
            (None, None) => " waits".into(),
        }
        .as_str();
        lines.push(line);
    }
    format!("deadlock: {}", lines.join("; "))
}

/// What a Rust panic that reached the end of a thread stands for.
pub(super) fn classify(payload: &(dyn Any + Send)) -> (FailureKind, String) {
    let bug = hook::take();
    if let Some(KernelPanic { message, .. }) = payload.downcast_ref() {
        (FailureKind::Panic, message.clone())
    } else if let Some(OracleViolation { kind, message }) = payload.downcast_ref() {
        (FailureKind::Violation(kind.clone()), message.clone())
    } else {
        let text = (payload.downcast_ref::<&str>().copied().map(String::from))
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic with a payload of an unknown type".into());
        (FailureKind::Bug, bug.map_or_else(|| text.clone(), |place| format!("{text} ({place})")))
    }
}
