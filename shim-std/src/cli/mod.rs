//! The `ifnet` command: what its words mean and what it exits with.
//!
//! | exit | means |
//! |---|---|
//! | 0 | everything as expected |
//! | 1 | an expectation of a scenario failed, or a line of the scoreboard is not as it should be |
//! | 2 | bad usage, or a scenario with an error in it |
//! | 3 | the emulated kernel panicked, dead-locked or broke an invariant |

/// Prints a line on standard output.
macro_rules! say {
    () => { super::put(format_args!("\n")) };
    ($format:literal $($rest:tt)*) => { super::put(format_args!("{}\n", format_args!($format $($rest)*))) };
}

mod artifact;
mod catalogue;
mod demo;
mod explore;
mod hazards;
mod replay;
mod run;

use core::fmt;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use ifnet::TaskMode;
use ifnet::hazard::{Hazard, HazardSet};

use crate::scenario::{Diagnostics, Source};
use crate::story::text::Style;

/// The interface life cycle of FreeBSD, out of the kernel. Without a command: the demonstration.
#[derive(Parser)]
#[command(name = "ifnet", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run a scenario on real threads.
    Run(run::Arguments),
    /// Look for a schedule that breaks a scenario.
    Explore(explore::Arguments),
    /// See a failure again, from a token or from the artifact of a fuzz target.
    Replay(replay::Arguments),
    /// Make the artifact of a fuzz target small: fewer operations, fewer switches, smaller numbers.
    Minimize(artifact::Arguments),
    /// The catalogue of historical bugs; with --check, the scoreboard.
    Hazards(hazards::Arguments),
}

/// When queued tasks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tasks {
    /// Before the call that queued them returns.
    Immediate,
    /// When a worker comes to them.
    Deferred,
}

impl From<Tasks> for TaskMode {
    fn from(tasks: Tasks) -> Self {
        match tasks {
            Tasks::Immediate => Self::Immediate,
            Tasks::Deferred => Self::Deferred,
        }
    }
}

impl From<TaskMode> for Tasks {
    fn from(mode: TaskMode) -> Self {
        match mode {
            TaskMode::Immediate => Self::Immediate,
            TaskMode::Deferred => Self::Deferred,
        }
    }
}

impl fmt::Display for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Immediate => "immediate",
            Self::Deferred => "deferred",
        })
    }
}

/// What a run of the command comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Fine = 0,
    Unexpected = 1,
    Usage = 2,
    Broken = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs the command with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let wanted = !error.use_stderr();
            // A closed pipe leaves nobody to tell.
            let _ = error.print();
            return if wanted { Exit::Fine } else { Exit::Usage }.into();
        }
    };
    let exit = match arguments.command {
        None => demo::demo(),
        Some(Command::Run(arguments)) => run::run(&arguments),
        Some(Command::Explore(arguments)) => explore::explore(&arguments),
        Some(Command::Replay(arguments)) => replay::replay(&arguments),
        Some(Command::Minimize(arguments)) => artifact::minimize(&arguments),
        Some(Command::Hazards(arguments)) => hazards::hazards(&arguments),
    };
    exit.into()
}

/// Reads a scenario file; on an error it has been told.
fn read_source(path: &Path) -> Result<Source, Exit> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        eprintln!("ifnet: {name}: {error}");
        Exit::Usage
    })?;
    Source::from_bytes(&name, &bytes).map_err(|diagnostics| tell(&diagnostics))
}

/// Prints diagnostics.
fn tell(diagnostics: &Diagnostics) -> Exit {
    eprint!("{}", diagnostics.render(std::io::stderr().is_terminal()));
    Exit::Usage
}

/// Writes a file that was asked for; on an error it has been told.
fn write_file(path: &PathBuf, text: &str) -> Result<(), Exit> {
    std::fs::write(path, text).map_err(|error| {
        eprintln!("ifnet: {}: {error}", path.display());
        Exit::Usage
    })
}

/// Writes to standard output. Nobody reads on if it is closed: the command ends, as one in C would by `SIGPIPE`.
fn put(text: fmt::Arguments<'_>) {
    use std::io::Write as _;
    if std::io::stdout().write_fmt(text).is_err() {
        std::process::exit(141);
    }
}

/// How a story is drawn on standard output.
fn style() -> Style {
    let width = std::env::var("COLUMNS").ok().and_then(|width| width.parse().ok()).unwrap_or(120);
    Style { width, colour: std::io::stdout().is_terminal() }
}

/// Reads the name of a hazard, for clap.
fn parse_hazard(name: &str) -> Result<Hazard, String> {
    Hazard::by_name(name).ok_or_else(|| "no such hazard; `ifnet hazards` lists them".to_owned())
}

/// The set of some hazards.
fn set_of(hazards: &[Hazard]) -> HazardSet {
    hazards.iter().map(|hazard| hazard.set()).collect()
}
