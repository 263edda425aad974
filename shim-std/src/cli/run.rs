//! `ifnet run`: a scenario on real threads.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use ifnet::hazard::Hazard;
use serde_json::json;

use super::{Exit, Tasks, parse_hazard, read_source, set_of, tell};
use crate::runner::{self, Options, Report, Verdict};

#[derive(Args)]
pub(super) struct Arguments {
    /// The scenario.
    file: PathBuf,
    /// Print one line for each event, in the form of the logs of a real FreeBSD 15.1 kernel.
    #[arg(long)]
    trace: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// When queued tasks run: immediately if the scenario has no concurrent part, otherwise deferred.
    #[arg(long, value_enum)]
    tasks: Option<Tasks>,
    /// Open a historical bug; may be repeated.
    #[arg(long = "hazard", value_name = "NAME", value_parser = parse_hazard)]
    hazards: Vec<Hazard>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let source = match read_source(&arguments.file) {
        Ok(source) => source,
        Err(exit) => return exit,
    };
    let mut options = Options {
        hazards: set_of(&arguments.hazards),
        tasks: arguments.tasks.map(Into::into),
        trace: arguments.trace,
        ..Options::default()
    };
    if !arguments.json {
        options.sink = Some(Arc::new(|line| say!("{line}")));
    }
    let report = runner::run(&source, &options);
    if arguments.json {
        say!("{}", as_json(&report));
    }
    let exit = exit_of(&report.verdict);
    match &report.verdict {
        Verdict::Passed => {}
        Verdict::Syntax(diagnostics) => return tell(diagnostics),
        Verdict::Expectation(all) => {
            for diagnostics in all {
                tell(diagnostics);
            }
        }
        broken => eprintln!("ifnet: {}: {broken}", source.name),
    }
    exit
}

fn exit_of(verdict: &Verdict) -> Exit {
    match verdict.exit_status() {
        0 => Exit::Fine,
        1 => Exit::Unexpected,
        2 => Exit::Usage,
        _ => Exit::Broken,
    }
}

fn as_json(report: &Report) -> serde_json::Value {
    json!({
        "verdict": report.verdict.to_string(),
        "exit": report.verdict.exit_status(),
        "lines": report.lines,
    })
}
