//! `ifnet replay`: shows a failure again, from the token that `ifnet explore` printed, or from a fuzz artifact.

use std::path::Path;

use clap::{Args, ValueEnum as _};
use ifnet::TaskMode;
use ifnet::hazard::Hazard;

use super::{Exit, Tasks, artifact, style, tell};
use crate::explore::Explorer;
use crate::runner::{self, Boot};
use crate::scenario::{Source, parse};
use crate::story::{self, Story};
use crate::token::Token;

#[derive(Args)]
pub(super) struct Arguments {
    /// A token that `ifnet explore` printed, a file with one in it, or an artifact of a fuzz target.
    #[arg(value_name = "TOKEN|FILE")]
    what: String,
    #[command(flatten)]
    artifact: artifact::Options,
}

pub(super) fn replay(arguments: &Arguments) -> Exit {
    // A token is never the name of a file that exists by accident.
    let bytes = std::fs::read(&arguments.what).ok();
    if let Some(bytes) = &bytes
        && !bytes.trim_ascii().starts_with(b"ifn")
    {
        return match artifact::target_of(Path::new(&arguments.what), &arguments.artifact) {
            Some(target) => artifact::show(target, bytes, &arguments.artifact),
            None => {
                eprintln!("ifnet: {}: neither a token nor in the folder of a fuzz target (--target)", arguments.what);
                Exit::Usage
            }
        };
    }
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| arguments.what.clone());
    match replay_text(&text) {
        Ok(exit) => exit,
        Err(message) => {
            eprintln!("ifnet: {message}");
            Exit::Usage
        }
    }
}

fn replay_text(text: &str) -> Result<Exit, String> {
    let Token { name, text, hazards, options, schedule } =
        Token::decode(text.trim()).map_err(|error| error.to_string())?;
    let mut boot = Boot { tasks: tasks_of(&options)?, ..Boot::default() };
    for name in &hazards {
        boot.hazards |= Hazard::by_name(name).ok_or_else(|| format!("the token names an unknown hazard {name}"))?.set();
    }
    let source = Source::new(name, text);
    let program = match parse(&source) {
        Ok(script) => runner::program(&source, &script, &boot),
        Err(diagnostics) => return Ok(tell(&diagnostics)),
    };
    let Some(failure) = Explorer::default().replay(&program, &schedule) else {
        say!("{}: nothing failed; the schedule belongs to another version of ifnet", source.name);
        return Ok(Exit::Unexpected);
    };
    say!("{}: {}: {}\n", source.name, failure.kind, failure.message);
    super::put(format_args!("{}", story::text::render(&Story::of(&failure), style())));
    Ok(Exit::Broken)
}

/// When tasks ran, by the options of a token.
fn tasks_of(options: &[(String, String)]) -> Result<Option<TaskMode>, String> {
    options.iter().try_fold(None, |_, (name, value)| match name.as_str() {
        "tasks" => Tasks::from_str(value, false).map(|tasks| Some(tasks.into())),
        _ => Err(format!("the token has an unknown option {name}")),
    })
}
