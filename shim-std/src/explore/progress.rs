//! Shows that long work goes on: a bar on a terminal, a line every few seconds elsewhere, nothing in tests.

use core::time::Duration;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

/// Receives how far a search is. Called from one thread, about ten times a second at most.
pub trait Progress: Send + Sync {
    /// `done` of at most `total` schedules of the work called `what`.
    fn update(&self, what: &str, done: u64, total: u64);

    /// The work has ended; whatever is on the screen goes away.
    fn finish(&self) {}
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn update(&self, _what: &str, _done: u64, _total: u64) {}
}

/// A bar on the terminal.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Progress for Bar {
    fn update(&self, what: &str, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_message(what.to_owned());
        self.0.set_position(done);
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// A line every few seconds.
#[derive(Debug)]
pub struct Lines {
    every: Duration,
    last: Mutex<Instant>,
}

impl Progress for Lines {
    fn update(&self, what: &str, done: u64, total: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= self.every {
            *last = Instant::now();
            eprintln!("{what}: {done} of {total} schedules");
        }
    }
}

/// What suits standard error: a bar on a terminal, lines otherwise.
#[must_use]
pub fn for_stderr() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} schedules {per_sec} {eta}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Box::new(Bar(bar))
    } else {
        Box::new(Lines { every: Duration::from_secs(5), last: Mutex::new(Instant::now()) })
    }
}
