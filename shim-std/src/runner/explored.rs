//! A scenario as a program for the [explorer](crate::explore).

use core::time::Duration;
use std::sync::Arc;

use ifnet::Errno;
use ifnet::platform::ThreadId;

use super::{Boot, Failure, Host, execute};
use crate::explore::{Execution, OracleViolation, Program, What};
use crate::host::shuttle::{Arena, ShuttleHost};
use crate::scenario::{Diagnostics, Source, parse};

/// Makes a program of a scenario: each execution boots a kernel of its own and runs the scenario in it, with the threads
/// switched as the explorer chooses.
///
/// # Errors
/// What is wrong with the text.
pub fn program(source: &Source, boot: &Boot) -> Result<Program, Diagnostics> {
    let script = parse(source)?;
    let (source, boot) = (source.clone(), boot.clone());
    Ok(Arc::new(move |execution| {
        execute(ShuttleHost::new(execution), &source, &script, &boot).map_err(|failure| violation(&failure))
    }))
}

/// A failure in the words of the explorer.
fn violation(failure: &Failure) -> OracleViolation {
    let kind = match failure {
        Failure::Syntax(_) => "syntax",
        Failure::Expectation(_) => "expectation",
        Failure::Boot(_) => "boot",
        Failure::Invariant(_) => "invariant",
        Failure::Leak(_) => "leak",
    };
    OracleViolation { kind: kind.into(), message: failure.to_string() }
}

impl Host for ShuttleHost {
    type Join = ThreadId;

    fn spawn(&self, name: String, body: Box<dyn FnOnce() + Send>) -> ThreadId {
        self.execution().spawn(name, move |_: &Execution| body())
    }

    fn join(&self, threads: &[ThreadId]) {
        self.execution().join(threads);
    }

    fn pause(&self, _length: Duration) {
        self.execution().yield_now();
    }

    fn wait_for_work(&self) -> bool {
        Self::wait_for_work(self)
    }

    fn close_work(&self) {
        Self::close_work(self);
    }

    fn command_started(&self, _thread: &str, text: &str) {
        self.execution().log(|| What::Command(text.to_owned()));
    }

    fn command_finished(&self, _thread: &str, text: &str, result: Result<(), Option<Errno>>) {
        self.execution().log(|| {
            What::CommandEnd(match result {
                Ok(()) => text.to_owned(),
                Err(Some(errno)) => format!("{text}: {}", errno.name()),
                Err(None) => format!("{text}: failed"),
            })
        });
    }

    fn output(&self, line: &str) {
        self.execution().log(|| What::Note(line.to_owned()));
    }

    fn expect_panic(&self, text: &str) {
        self.execution().expect_panic(text);
    }

    fn live_bytes(memory: &Arena) -> usize {
        memory.usage().live_bytes
    }
}
