//! Keeps the panic hook quiet while executions are explored.
//!
//! A panic inside an execution is a finding, not a message for the terminal; it is caught and classified. Shuttle
//! installs a hook of its own at its first run, which prints for every panic of the process. Both are replaced, once, by
//! a hook that notes the place of a panic of an explored thread and hands every other panic to the hook that was there
//! before.

use core::cell::{Cell, RefCell};
use std::panic;
use std::sync::Once;

use super::execution::Execution;

thread_local! {
    static EXPLORING: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Explored panics of this OS thread are silent while it lives.
#[derive(Debug)]
pub(super) struct Quiet(bool);

impl Quiet {
    pub(super) fn new() -> Self {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            let before = panic::take_hook();
            // Lets shuttle install its hook now, so that it is not put in front of ours later.
            shuttle::check_dfs(|| {}, Some(1));
            panic::set_hook(Box::new(move |info| {
                if EXPLORING.get() {
                    PLACE.set(info.location().map(ToString::to_string));
                    if let Some(execution) = Execution::current() {
                        execution.unwinding();
                    }
                } else {
                    before(info);
                }
            }));
        });
        Self(EXPLORING.replace(true))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        EXPLORING.set(self.0);
    }
}

/// Where the last panic of an explored thread was raised.
pub(super) fn take() -> Option<String> {
    PLACE.take()
}
