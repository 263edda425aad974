//! Running a scenario under the explorer.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use ifnet::platform::ThreadId;
use ifnet::{Errno, Platform as _};

use super::host::Host;
use super::{Boot, Failure, Observer, execute};
use crate::explore::{Execution, OracleViolation, Program, What};
use crate::host::shuttle::{Arena, ShuttleHost};
use crate::scenario::{Script, Source};

/// The program that runs a scenario, which was parsed from `source`, once for each schedule.
///
/// ```
/// use ifnet::hazard::Hazard;
/// use ifnet_std::explore::{Explorer, progress::Silent};
/// use ifnet_std::runner::{Boot, program};
/// use ifnet_std::scenario::{Source, parse};
///
/// let text = "ifconfig epair0 create\n( ifconfig epair0a destroy || true ) &\nifconfig epair0b destroy || true";
/// let source = Source::new("t", text);
/// let program = program(&source, &parse(&source)?, &Boot::default());
/// let report = Explorer { schedules: 50, ..Explorer::default() }.run(&program, &Silent);
/// assert_eq!(report.failure, None);
/// # Ok::<(), ifnet_std::scenario::Diagnostics>(())
/// ```
#[must_use]
pub fn program(source: &Source, script: &Script, boot: &Boot) -> Program {
    let (source, script, boot) = (source.clone(), script.clone(), boot.clone());
    Arc::new(move |execution: &Execution| {
        execute(ShuttleHost::new(execution), &source, &script, &boot).map_err(|failure| violation(&failure))
    })
}

/// What the explorer calls a failure.
pub(crate) fn violation(failure: &Failure) -> OracleViolation {
    let kind = match failure {
        Failure::Syntax(_) => "syntax",
        Failure::Expectation(_) => "expectation",
        Failure::Boot(_) => "boot",
        // It begins with the number of the invariant.
        Failure::Invariant(what) => what.split(':').next().unwrap_or("invariant"),
        Failure::Leak(_) => "leak",
    };
    OracleViolation { kind: kind.to_owned(), message: failure.to_string() }
}

impl Host for ShuttleHost {
    type Join = ThreadId;

    fn spawn(&self, name: String, body: Box<dyn FnOnce() + Send>) -> ThreadId {
        self.execution().spawn(name, move |_| body())
    }

    fn join(&self, threads: &[ThreadId]) {
        self.execution().join(threads);
    }

    fn pause(&self, _: Duration) {
        self.relax();
    }

    fn wait_for_work(&self) -> bool {
        Self::wait_for_work(self)
    }

    fn close_work(&self) {
        Self::close_work(self);
    }

    fn undisturbed<R>(&self, observe: impl FnOnce() -> R) -> R {
        self.execution().undisturbed(observe)
    }

    fn command_started(&self, _: &str, text: &dyn fmt::Display) {
        self.execution().log(|| What::Command(text.to_string()));
    }

    fn command_finished(&self, _: &str, _: &dyn fmt::Display, result: Result<(), Option<Errno>>) {
        self.execution().log(|| {
            What::CommandEnd(match result {
                Ok(()) => "ok".into(),
                Err(Some(errno)) => errno.name().into(),
                Err(None) => "failed".into(),
            })
        });
    }

    fn observer(&self) -> &Observer {
        Self::observer(self)
    }

    fn output(&self, line: &str) {
        self.execution().log(|| What::Note(line.to_owned()));
    }

    fn expect_panic(&self, text: &str) {
        self.execution().expect_panic(text);
    }

    fn taking_down(&self) {
        self.execution().log(|| What::Note("the scenario is over; what it left is taken down".into()));
    }

    fn live_bytes(memory: &Arena) -> usize {
        memory.usage().live_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::progress::Silent;
    use crate::explore::{Explorer, Failure as Found, FailureKind, StrategyName};
    use crate::scenario::parse;
    use ifnet::hazard::{Hazard, HazardSet};

    fn explore(text: &str, hazards: HazardSet, schedules: u64) -> Option<Found> {
        let source = Source::new("t", text);
        let program = program(&source, &parse(&source).unwrap(), &Boot { hazards, ..Boot::default() });
        let explorer = Explorer { schedules, strategies: vec![StrategyName::Pct], ..Explorer::default() };
        explorer.run(&program, &Silent).failure
    }

    const RACE: &str = "jail -c name=j1 vnet persist
        devctl attach em0
        ( ifconfig em0 vnet j1 || true ) &
        ( devctl detach em0 ) &
        wait
        [ \"$(ifconfig -l)\" = lo0 ]
        jail -r j1";

    #[test]
    fn the_race_of_seed_1_is_found_when_open_and_not_when_closed() {
        let found = explore(RACE, Hazard::DetachLockInternalOnly.set(), 2000).expect("found");
        assert_eq!(found.kind, FailureKind::Panic, "{}", found.message);
        assert!(found.message.contains("is not on the active list"), "{}", found.message);
        assert!(found.log.iter().any(|entry| entry.what == What::Command("devctl detach em0".into())));
        assert_eq!(explore(RACE, HazardSet::empty(), 300), None);
    }

    #[test]
    fn what_a_script_expects_is_an_oracle() {
        let found =
            explore("( sleep 1; ifconfig lo1 create ) &\n!ENXIO ifconfig lo1 destroy", HazardSet::empty(), 3000);
        let found = found.expect("found");
        assert_eq!(found.kind, FailureKind::Violation("expectation".into()));
        assert_eq!(found.message, "t:2:1: expected ENXIO, got success");
    }

    #[test]
    fn an_expected_panic_is_a_good_end() {
        let text = "expect panic \"em0: interface is not on the active list\"\nkpi if_alloc em0\nkpi if_detach em0";
        assert_eq!(explore(text, HazardSet::empty(), 10), None);
    }

    #[test]
    fn readers_and_waiters_dead_lock() {
        let found = explore("( sleep 1; kpi epoch_wait ) &\nnet_epoch { wait; }", HazardSet::empty(), 200);
        assert_eq!(found.expect("found").kind, FailureKind::Deadlock);
    }

    #[test]
    fn a_module_is_unloaded_from_a_dying_vnet_too() {
        let text = "jail -c name=j1 vnet persist; jexec j1 ifconfig epair create
            ( kldunload if_epair ) &
            ( jail -r j1 ) &
            wait; [ \"$(ifconfig -l)\" = lo0 ]";
        assert_eq!(explore(text, HazardSet::empty(), 300), None);
    }
}
