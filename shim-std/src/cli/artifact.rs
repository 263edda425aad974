//! Artifacts of the fuzz targets: `ifnet replay FILE` shows one again, `ifnet minimize FILE` makes it small.

use std::path::{Path, PathBuf};

use clap::Args;
use ifnet::hazard::{Hazard, HazardSet};

use super::{Exit, parse_hazard, set_of, style, write_file};
use crate::fuzz::{self, Found, Target};
use crate::story::{self, Story};

/// How an artifact is taken.
#[derive(Args)]
pub(super) struct Options {
    /// The fuzz target that an artifact is of; without it, the one whose name is in the path.
    #[arg(long, value_name = "NAME", value_parser = parse_target)]
    target: Option<Target>,
    /// Open a historical bug, as `IFNET_HAZARDS` did for the target; may be repeated. A token has its own.
    #[arg(long = "hazard", value_name = "NAME", value_parser = parse_hazard)]
    hazards: Vec<Hazard>,
    /// Save what an artifact does as a scenario.
    #[arg(long, value_name = "OUT.ifn")]
    scenario: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Arguments {
    /// The artifact.
    file: PathBuf,
    /// Where the smaller one is written; by default beside the file, with `.min` at its end.
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// How many executions it may take.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    budget: u64,
    #[command(flatten)]
    options: Options,
}

fn parse_target(name: &str) -> Result<Target, String> {
    let names: Vec<_> = Target::ALL.iter().map(|target| target.name()).collect();
    Target::by_name(name).ok_or_else(|| format!("no such target; there are {}", names.join(", ")))
}

/// The target that a file is of: by the option, or by the name of a folder on its path, the last that is one.
pub(super) fn target_of(path: &Path, options: &Options) -> Option<Target> {
    let by_path = || path.components().rev().find_map(|part| Target::by_name(part.as_os_str().to_str()?));
    options.target.or_else(by_path)
}

pub(super) fn minimize(arguments: &Arguments) -> Exit {
    let Arguments { file, output, budget, options } = arguments;
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => return usage(&format!("{}: {error}", file.display())),
    };
    let Some(target) = target_of(file, options) else {
        return usage(&format!("{}: which target it is of is not in its path; name it with --target", file.display()));
    };
    let hazards = set_of(&options.hazards);
    let smaller = fuzz::minimize(target, &bytes, hazards, usize::try_from(*budget).unwrap_or(usize::MAX));
    let exit = show(target, &smaller, options);
    if exit != Exit::Broken {
        return exit;
    }
    let output = output.clone().unwrap_or_else(|| {
        let mut name = file.clone().into_os_string();
        name.push(".min");
        name.into()
    });
    match std::fs::write(&output, &smaller) {
        Ok(()) => {
            say!("{}: {} bytes in place of {}", output.display(), smaller.len(), bytes.len());
            exit
        }
        Err(error) => usage(&format!("{}: {error}", output.display())),
    }
}

fn usage(message: &str) -> Exit {
    eprintln!("ifnet: {message}");
    Exit::Usage
}

/// Plays an artifact and tells how it fails.
pub(super) fn show(target: Target, bytes: &[u8], options: &Options) -> Exit {
    let hazards = set_of(&options.hazards);
    match target {
        Target::Schedule | Target::Oom => show_played(target, bytes, hazards, options.scenario.as_ref()),
        Target::Scenario | Target::Lifecycle | Target::Unregister | Target::Frames => {
            match fuzz::check(target, bytes, hazards) {
                Ok(()) => passes(target),
                Err(what) => {
                    say!("{target}: {what}");
                    let Some(path) = &options.scenario else { return Exit::Broken };
                    write_file(path, &fuzz::text(target, bytes)).err().unwrap_or(Exit::Broken)
                }
            }
        }
    }
}

fn passes(target: Target) -> Exit {
    say!("{target}: nothing fails");
    Exit::Fine
}

fn show_played(target: Target, bytes: &[u8], hazards: HazardSet, scenario: Option<&PathBuf>) -> Exit {
    let found = Found::of(target, bytes, hazards);
    let Some(failure) = &found.failure else { return passes(target) };
    say!("{target}: {}: {}\n\n{}", failure.kind, failure.message, found.source.text);
    let told = found.replay().map(|failure| (found.token(&failure), failure));
    let recorded = || Found::recorded(target, bytes, hazards);
    if let Some(failure) = told.as_ref().map(|(_, failure)| failure.clone()).or_else(recorded) {
        super::put(format_args!("{}", story::text::render(&Story::of(&failure), style())));
    }
    if let Some((token, _)) = &told {
        say!("\nreplay: ifnet replay {token}");
    }
    let Some(path) = scenario else { return Exit::Broken };
    let open: Vec<_> = Hazard::ALL.iter().filter(|it| hazards.contains(it.set())).map(|it| it.name()).collect();
    let mut text = format!("# Found by the fuzz target {target}: {}: {}\n", failure.kind, failure.message);
    if !open.is_empty() {
        text += &format!("# Open then: {}\n", open.join(", "));
    }
    if let Some((token, _)) = &told {
        text += &format!("# Replay: {token}\n");
    }
    write_file(path, &(text + &found.source.text)).err().unwrap_or(Exit::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options { target: None, hazards: Vec::new(), scenario: None }
    }

    #[test]
    fn the_target_is_in_the_path_or_named() {
        let path = Path::new("fuzz/artifacts/schedule/crash-1");
        assert_eq!(target_of(path, &options()), Some(Target::Schedule));
        assert_eq!(target_of(path, &Options { target: Some(Target::Oom), ..options() }), Some(Target::Oom));
        assert_eq!(target_of(Path::new("schedules/crash-1"), &options()), None);
        assert!(parse_target("schedul").unwrap_err().contains("schedule, oom"));
    }

    #[test]
    fn what_does_not_fail_is_fine() {
        for target in Target::ALL {
            assert_eq!(show(target, &[1, 2, 3], &options()), Exit::Fine);
        }
    }
}
