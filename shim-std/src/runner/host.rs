//! What the runner needs of a host beyond what the core does.

use core::fmt;
use core::time::Duration;

use ifnet::Errno;
use ifnet::platform::{Platform, ThreadId};

use super::observe::Observer;
use crate::host::frame::Frame;

/// A host on which scenarios run.
pub trait Host: Platform<Buffer = Frame> {
    /// A thread that was started.
    type Join: Send;

    /// Starts a thread. Everything that `body` owns is dropped before the thread counts as ended.
    fn spawn(&self, name: String, body: Box<dyn FnOnce() + Send>) -> Self::Join;

    /// Waits until these threads have ended.
    fn join(&self, threads: &[Self::Join]);

    /// `sleep N`: lets the other threads run.
    fn pause(&self, length: Duration);

    /// Runs `body`, during which the calling thread is the emulated thread `thread`.
    fn enter<R>(&self, thread: ThreadId, body: impl FnOnce() -> R) -> R {
        let _ = thread;
        body()
    }

    /// For the worker: waits until there may be work, and returns `false` after [`close_work`](Self::close_work).
    fn wait_for_work(&self) -> bool;

    /// Lets the worker end.
    fn close_work(&self);

    /// Runs `observe`, an oracle or bookkeeping of the runner. Under the explorer no other thread runs meanwhile.
    fn undisturbed<R>(&self, observe: impl FnOnce() -> R) -> R {
        observe()
    }

    /// The thread called `thread` begins a command.
    fn command_started(&self, thread: &str, text: &dyn fmt::Display) {
        let _ = (thread, text);
    }

    /// The command has ended, with this error if it has failed; `Err(None)` is a failure without a number.
    fn command_finished(&self, thread: &str, text: &dyn fmt::Display, result: Result<(), Option<Errno>>) {
        let _ = (thread, text, result);
    }

    /// What was seen so far. The host shows it every record of the core.
    fn observer(&self) -> &Observer;

    /// The scenario prints a line.
    fn output(&self, line: &str);

    /// From here on the emulated kernel is expected to panic with `text`.
    fn expect_panic(&self, text: &str) {
        let _ = text;
    }

    /// The scenario is over; what follows takes down what it left and is not part of its trace.
    fn taking_down(&self) {}

    /// How many bytes of the host's memory are in use.
    fn live_bytes(memory: &Self::Allocator) -> usize;
}
