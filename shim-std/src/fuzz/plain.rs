//! The targets whose inputs are plain: the `scenario` target takes any bytes as a scenario, `lifecycle` and
//! `unregister` as a program for the model, `frames` as one with oracles of its own.

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use ifnet::Config;
use ifnet::hazard::HazardSet;

use super::found::Found;
use super::{Target, frames};

use crate::explore::{Explorer, Failure, FailureKind};
use crate::model::{Program, Table, check_with};
use crate::runner::{Boot, program};
use crate::scenario::{Source, ast, parse};

/// As many statements are run, those in loops counted once; more are only parsed.
const STATEMENTS: usize = 100;

/// Plays the artifact of any target.
///
/// # Errors
/// How it fails, in words.
pub fn check(target: Target, bytes: &[u8], hazards: HazardSet) -> Result<(), String> {
    match target {
        Target::Schedule | Target::Oom => match Found::of(target, bytes, hazards).failure {
            Some(failure) => Err(format!("{}: {}", failure.kind, failure.message)),
            None => Ok(()),
        },
        Target::Scenario => scenario(bytes),
        Target::Lifecycle => modelled(Table::Lifecycle, bytes, hazards),
        Target::Unregister => modelled(Table::Unregister, bytes, hazards),
        Target::Frames => frames::check(bytes, hazards),
    }
}

/// The scenario that an input is. That of a played target is what a run comes to, since its operands count what is alive.
#[must_use]
pub fn text(target: Target, bytes: &[u8], hazards: HazardSet) -> String {
    match target {
        Target::Schedule | Target::Oom => Found::text(target, bytes, hazards),
        Target::Lifecycle => Program::from_bytes(Table::Lifecycle, bytes).to_string(),
        Target::Unregister => Program::from_bytes(Table::Unregister, bytes).to_string(),
        Target::Frames => frames::text(bytes),
        Target::Scenario => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn modelled(table: Table, bytes: &[u8], hazards: HazardSet) -> Result<(), String> {
    let config = Config::default().hazards(hazards);
    let program = Program::from_bytes(table, bytes);
    match catch_unwind(AssertUnwindSafe(|| check_with(&config, &program))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(difference)) => Err(difference.to_string()),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map_or("a panic", |text| text);
            Err(format!("{text}\n{program}"))
        }
    }
}

/// Takes out what is not needed to fail: lines of a text, operations of a program.
pub(super) fn minimize(target: Target, bytes: &[u8], hazards: HazardSet, budget: usize) -> Vec<u8> {
    let mut pieces: Vec<&[u8]> = match target {
        Target::Scenario => bytes.split_inclusive(|&byte| byte == b'\n').collect(),
        Target::Frames => bytes.chunks(frames::RECORD).collect(),
        _ => bytes.chunks(4).collect(),
    };
    let mut left = budget;
    let mut size = pieces.len();
    while size > 0 && left > 0 {
        let mut at = 0;
        while at < pieces.len() && left > 0 {
            left -= 1;
            let end = (at + size).min(pieces.len());
            let without = [&pieces[..at], &pieces[end..]].concat();
            if check(target, &without.concat(), hazards).is_err() {
                pieces = without;
            } else {
                at = end;
            }
        }
        size /= 2;
    }
    let smaller = pieces.concat();
    if check(target, &smaller, hazards).is_err() { smaller } else { bytes.to_vec() }
}

/// Reads bytes as a scenario, prints what was read and reads that again, and runs it with one schedule if it is small.
///
/// # Errors
/// What printing has changed, or the Rust panic of a run: a bug of the runner. How the emulated kernel takes it is the
/// business of other targets; a driver may use `kpi` wrongly, and a kernel panic is then right.
pub(super) fn scenario(bytes: &[u8]) -> Result<(), String> {
    let Ok(source) = Source::from_bytes("fuzz", bytes) else { return Ok(()) };
    let script = match parse(&source) {
        Ok(script) => script,
        Err(diagnostics) => {
            // What is told about it must be tellable.
            let _ = diagnostics.render(false);
            return Ok(());
        }
    };
    let printed = script.to_string();
    match parse(&Source::new("printed", printed.as_str())) {
        Ok(again) if again == script => {}
        Ok(_) => return Err(format!("what was printed means something else:\n{printed}")),
        Err(diagnostics) => return Err(format!("what was printed cannot be read: {diagnostics}\n{printed}")),
    }
    let (mut statements, mut loops) = (0, 0);
    ast::walk(&script.stmts, &mut |stmt| {
        statements += 1;
        loops += usize::from(matches!(stmt.kind, ast::StmtKind::For { .. }));
    });
    if statements > STATEMENTS || loops > 0 || source.text.contains("seq") {
        return Ok(());
    }
    let explorer = Explorer { max_steps: 20_000, ..Explorer::default() };
    let failure = explorer.replay(&program(&source, &script, &Boot::default()), &crate::explore::Schedule::default());
    match failure {
        Some(Failure { kind: FailureKind::Bug, message, .. }) => Err(message),
        _ => Ok(()),
    }
}
