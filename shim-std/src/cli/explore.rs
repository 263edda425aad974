//! `ifnet explore`: looks for a schedule that breaks a scenario, and tells the shortest one that it found.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ifnet::hazard::Hazard;
use serde_json::json;

use super::{Exit, Tasks, parse_hazard, read_source, set_of, style, tell, write_file};
use crate::explore::progress::{Progress, for_stderr};
use crate::explore::{Explorer, Failure, Report, StrategyName};
use crate::runner::{self, Boot};
use crate::scenario::{Diagnostics, Source, parse};
use crate::story::{self, Story};
use crate::token::Token;

/// How schedules are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Strategy {
    /// Random priorities with few changes.
    Pct,
    /// Systematically, by number of deviations from a plain schedule.
    Dfs,
    /// A random walk.
    Random,
    /// All of them, with a third of the schedules each.
    All,
}

#[derive(Args)]
pub(super) struct Arguments {
    /// The scenario.
    file: PathBuf,
    /// Open a historical bug; may be repeated.
    #[arg(long = "hazard", value_name = "NAME", value_parser = parse_hazard)]
    hazards: Vec<Hazard>,
    /// How to choose schedules.
    #[arg(long, value_enum, default_value_t = Strategy::All)]
    strategy: Strategy,
    /// How many schedules to run at most.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    schedules: u64,
    /// What the random strategies start from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// When queued tasks run.
    #[arg(long, value_enum)]
    tasks: Option<Tasks>,
    /// Write the story as a page.
    #[arg(long, value_name = "OUT")]
    html: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn explore(arguments: &Arguments) -> Exit {
    match read_source(&arguments.file) {
        Ok(source) => explore_source(arguments, &source),
        Err(exit) => exit,
    }
}

fn explore_source(arguments: &Arguments, source: &Source) -> Exit {
    let boot = Boot { hazards: set_of(&arguments.hazards), tasks: arguments.tasks.map(Into::into) };
    let explorer = Explorer {
        strategies: match arguments.strategy {
            Strategy::Pct => vec![StrategyName::Pct],
            Strategy::Dfs => vec![StrategyName::Dfs],
            Strategy::Random => vec![StrategyName::Random],
            Strategy::All => StrategyName::ALL.to_vec(),
        },
        schedules: arguments.schedules,
        seed: arguments.seed,
        ..Explorer::default()
    };
    let report = match search(source, &boot, &explorer, &*for_stderr()) {
        Ok(report) => report,
        Err(diagnostics) => return tell(&diagnostics),
    };
    let token = report.failure.as_ref().map(|failure| token_of(source, &boot, failure));
    if arguments.json {
        say!("{}", as_json(&report, token.as_deref()));
    } else {
        super::put(format_args!("{}", summary(&report)));
    }
    let (Some(failure), Some(token)) = (&report.failure, &token) else { return Exit::Fine };
    if !arguments.json {
        super::put(format_args!(
            "\n{}\nreplay: ifnet replay {token}\n",
            story::text::render(&Story::of(failure), style())
        ));
    }
    if let Some(path) = &arguments.html {
        let page = story::html::render(&Story::of(failure), &source.name, Some(token));
        if let Err(exit) = write_file(path, &page) {
            return exit;
        }
    }
    Exit::Broken
}

/// Explores a scenario.
pub(super) fn search(
    source: &Source,
    boot: &Boot,
    explorer: &Explorer,
    progress: &dyn Progress,
) -> Result<Report, Diagnostics> {
    let program = runner::program(source, &parse(source)?, boot);
    Ok(explorer.run(&program, progress))
}

/// What shows a failure again.
pub(super) fn token_of(source: &Source, boot: &Boot, failure: &Failure) -> String {
    Token {
        name: source.name.clone(),
        text: source.text.clone(),
        hazards: Hazard::ALL
            .iter()
            .filter(|hazard| boot.hazards.contains(hazard.set()))
            .map(|hazard| hazard.name().to_owned())
            .collect(),
        options: boot.tasks.map(|tasks| ("tasks".to_owned(), Tasks::from(tasks).to_string())).into_iter().collect(),
        schedule: failure.schedule.clone(),
    }
    .encode()
}

/// What was explored, and what came of it, in a few lines.
pub(super) fn summary(report: &Report) -> String {
    use core::fmt::Write as _;
    let mut text = String::new();
    for strategy in &report.strategies {
        // Writing to a string cannot fail.
        let _ = write!(text, "{:<7}{:>10} schedules", strategy.name.to_string(), strategy.schedules);
        let _ = match (strategy.complete, strategy.exhausted_bound, strategy.found_after) {
            (_, _, Some(after)) => writeln!(text, ", found after {after}"),
            (true, ..) => writeln!(text, ": all there are"),
            (false, Some(bound), _) => writeln!(text, ", among them all with at most {bound} deviations"),
            (false, None, None) => writeln!(text),
        };
    }
    let _ = match &report.failure {
        None => writeln!(text, "nothing found in {} schedules", report.schedules),
        Some(failure) => writeln!(
            text,
            "found: {}: {} (shortest schedule: {} preemptions)",
            failure.kind, failure.message, failure.preemptions
        ),
    };
    text
}

fn as_json(report: &Report, token: Option<&str>) -> serde_json::Value {
    json!({
        "schedules": report.schedules,
        "steps": report.steps,
        "strategies": report.strategies.iter().map(|strategy| json!({
            "name": strategy.name.to_string(),
            "schedules": strategy.schedules,
            "complete": strategy.complete,
            "exhausted_bound": strategy.exhausted_bound,
            "found_after": strategy.found_after,
        })).collect::<Vec<_>>(),
        "failure": report.failure.as_ref().map(|failure| json!({
            "kind": failure.kind.to_string(),
            "message": failure.message,
            "preemptions": failure.preemptions,
            "token": token,
            "story": story::json::render(&Story::of(failure)),
        })),
    })
}
