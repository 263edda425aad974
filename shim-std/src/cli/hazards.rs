//! `ifnet hazards`: the catalogue of historical bugs, and the scoreboard that says whether the checkers find them.

use clap::Args;
use ifnet::hazard::{Hazard, HazardSet};

use super::{Exit, catalogue, explore, tell};
use crate::explore::progress::for_stderr;
use crate::explore::{Explorer, Report};
use crate::runner::Boot;
use crate::scenario::Diagnostics;

#[derive(Args)]
pub(super) struct Arguments {
    /// Open each hazard in turn and look for it; then explore with all of them closed.
    #[arg(long)]
    check: bool,
    /// How many schedules to run with all hazards closed, spread over the scenarios.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    schedules: u64,
}

pub(super) fn hazards(arguments: &Arguments) -> Exit {
    if !arguments.check {
        list();
        return Exit::Fine;
    }
    match check(arguments.schedules) {
        Ok(exit) => exit,
        Err(diagnostics) => tell(&diagnostics),
    }
}

fn list() {
    for hazard in Hazard::ALL {
        say!("{}\n    {}\n    {}; upstream: {}", hazard.name(), hazard.hole(), hazard.source(), hazard.upstream());
    }
}

/// How many schedules may be spent to find an open hazard.
const OPEN_BUDGET: u64 = 30_000;

fn check(closed_schedules: u64) -> Result<Exit, Diagnostics> {
    let each = closed_schedules.div_ceil(Hazard::ALL.len() as u64);
    say!("{:<28} {:<9} {:<62} closed", "hazard", "open", "found as");
    let (mut wrong, mut clean) = (0, 0);
    for &hazard in Hazard::ALL {
        let open = explored(hazard, hazard.set(), OPEN_BUDGET, 1)?;
        let closed = explored_closed(hazard, each)?;
        let found = match &open.failure {
            Some(failure) => {
                format!("{:<9} {}", open.schedules, shorten(&format!("{}: {}", failure.kind, failure.message), 62))
            }
            None => {
                wrong += 1;
                format!("{:<9} {:<62}", "-", format!("NOT FOUND in {}", open.schedules))
            }
        };
        let closed = match &closed.failure {
            None => {
                clean += closed.schedules;
                format!("clean after {}", closed.schedules)
            }
            Some(failure) => {
                wrong += 1;
                format!("FAILS: {}: {}", failure.kind, failure.message)
            }
        };
        say!("{:<28} {found:<72} {closed}", hazard.name());
    }
    say!("{} hazards, {clean} schedules clean with all of them closed", Hazard::ALL.len());
    if wrong > 0 {
        say!("{wrong} lines are not as they should be");
    }
    Ok(if wrong == 0 { Exit::Fine } else { Exit::Unexpected })
}

/// Runs at least so many schedules with every hazard closed, or until something is found. A search can end before its
/// budget, when one of its strategies has tried everything; then another follows from another seed.
fn explored_closed(hazard: Hazard, schedules: u64) -> Result<Report, Diagnostics> {
    let mut report = explored(hazard, HazardSet::empty(), schedules, 1)?;
    let mut seed = 1;
    while report.failure.is_none() && report.schedules < schedules {
        seed += 1;
        let more = explored(hazard, HazardSet::empty(), schedules - report.schedules, seed)?;
        report = Report { schedules: report.schedules + more.schedules, ..more };
    }
    Ok(report)
}

fn explored(hazard: Hazard, open: HazardSet, schedules: u64, seed: u64) -> Result<Report, Diagnostics> {
    let source = catalogue::of_hazard(hazard);
    let boot = Boot { hazards: open, ..Boot::default() };
    // The scoreboard needs no story: the failure is not shortened.
    let explorer = Explorer { schedules, seed, shrink_budget: 0, ..Explorer::default() };
    explore::search(&source, &boot, &explorer, &*for_stderr())
}

/// At most `width` characters, and exactly as many columns.
fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return format!("{text:<width$}");
    }
    text.chars().take(width - 1).chain(['…']).collect()
}
